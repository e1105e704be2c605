/** Retry and hedge policies: data for the proxy that sends requests. */
import {
  type routeComponents as api,
  previousHosts,
  previousPriorities,
} from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { Exchange } from '../exchange.ts'
import { type Condition, compileHeader } from '../match/headers.ts'
import type { HeaderReader } from '../types.ts'
import { durationMs, shareOf, typeOf, unpack } from '../values.ts'

export interface RetryPolicy {
  readonly on: ReadonlySet<string>
  readonly retries: number
  /** Undefined: the time of the whole request. */
  readonly perTryMs: number | undefined
  readonly perTryIdleMs: number | undefined
  readonly statusCodes: ReadonlySet<number>
  readonly backoffBaseMs: number
  readonly backoffMaxMs: number
  /** Endpoints that were tried are not tried again while there are others. */
  readonly avoidsPreviousHosts: boolean
  readonly hostSelectionAttempts: number
  /** Attempts after which priorities that failed are left out; undefined: never. */
  readonly priorityUpdateFrequency: number | undefined
  /** Headers of the answer by which the server says when to come back. */
  readonly resetHeaders: readonly { readonly name: string; readonly unix: boolean }[]
  readonly resetMaxMs: number
  /** Whether a response's headers ask for a retry (`retriable-headers`). */
  retriable(headers: HeaderReader): boolean
  /** Whether requests with these headers may be retried at all. */
  appliesTo(exchange: Exchange): boolean
}

const known = new Set([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
])

const defaults = { retries: 1, backoffMs: 25, backoffGrowth: 10, resetMaxMs: 300_000 } as const

export function compileRetry(
  policy: api.RetryPolicy | undefined,
  place: Place,
): RetryPolicy | undefined {
  if (policy === undefined) return undefined
  const baseMs = durationMs(policy.retryBackOff?.baseInterval) ?? defaults.backoffMs
  const maxMs = durationMs(policy.retryBackOff?.maxInterval) ?? baseMs * defaults.backoffGrowth
  if (baseMs <= 0) place.at('retry_back_off.base_interval').refuse('has to be above zero')
  if (maxMs < baseMs) place.at('retry_back_off.max_interval').refuse('is below base_interval')
  for (const [index, option] of policy.retryOptionsPredicates.entries()) {
    place.at('retry_options_predicates', index).refuse(`${option.name} is not supported`)
  }
  const answers = conditions(policy.retriableHeaders, place.at('retriable_headers'))
  const requests = conditions(policy.retriableRequestHeaders, place.at('retriable_request_headers'))
  const on = policy.retryOn.split(',').map((word) => word.trim())
  return {
    // Envoy ignores words it does not know.
    on: new Set(on.filter((word) => known.has(word))),
    retries: policy.numRetries ?? defaults.retries,
    perTryMs: durationMs(policy.perTryTimeout),
    perTryIdleMs: durationMs(policy.perTryIdleTimeout),
    statusCodes: new Set(policy.retriableStatusCodes),
    backoffBaseMs: baseMs,
    backoffMaxMs: maxMs,
    avoidsPreviousHosts: compilePredicates(policy, place),
    hostSelectionAttempts: Number(policy.hostSelectionRetryMaxAttempts),
    priorityUpdateFrequency: compilePriority(policy, place.at('retry_priority')),
    resetHeaders: (policy.rateLimitedRetryBackOff?.resetHeaders ?? []).map(({ name, format }) => ({
      name: name.toLowerCase(),
      unix: format === 1,
    })),
    resetMaxMs: durationMs(policy.rateLimitedRetryBackOff?.maxInterval) ?? defaults.resetMaxMs,
    retriable: (headers) => {
      if (answers.length === 0) return false
      const view = viewOf(headers)
      return answers.some(({ holds }) => holds(view))
    },
    appliesTo: (exchange) => requests.length === 0 || requests.some(({ holds }) => holds(exchange)),
  }
}

function conditions(matchers: readonly api.HeaderMatcher[], place: Place): Condition[] {
  return matchers.map((matcher, index) => compileHeader(matcher, place.at('', index)))
}

/** Headers of a response in the form that matchers read. */
function viewOf(headers: HeaderReader): Exchange {
  const connection = { sourceIp: '', sourcePort: 0, destinationIp: '', destinationPort: 0 }
  const request = { method: '', scheme: '', authority: '', path: '', headers, connection }
  return new Exchange(request, { random: () => 0, now: () => 0 })
}

function compilePredicates(policy: api.RetryPolicy, place: Place): boolean {
  let previous = false
  for (const [index, { name, configType }] of policy.retryHostPredicate.entries()) {
    const schema = previousHosts.PreviousHostsPredicateSchema
    if (typeOf(configType.value) === schema.typeName) previous = true
    else place.at('retry_host_predicate', index).refuse(`${name} is not supported`)
  }
  return previous
}

function compilePriority(policy: api.RetryPolicy, place: Place): number | undefined {
  const { retryPriority } = policy
  if (retryPriority === undefined) return undefined
  const schema = previousPriorities.PreviousPrioritiesConfigSchema
  const message = unpack(retryPriority.configType.value, schema, place)
  if (message === undefined) place.refuse(`${retryPriority.name} is not supported`)
  return message?.updateFrequency
}

export interface HedgePolicy {
  readonly initialRequests: number
  readonly additionalShare: number
  readonly onPerTryTimeout: boolean
}

export function compileHedge(policy: api.HedgePolicy | undefined): HedgePolicy | undefined {
  if (policy === undefined) return undefined
  return {
    initialRequests: policy.initialRequests ?? 1,
    additionalShare: shareOf(policy.additionalRequestChance),
    onPerTryTimeout: policy.hedgeOnPerTryTimeout,
  }
}
