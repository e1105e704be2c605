/** A bucket of tokens in this process. Buckets are filled by the clock that the decision is given. */
import type { localRateLimit } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileMutation, type Mutation } from '../headers/mutate.ts'
import { durationMs, runtimeShare } from '../values.ts'
import type { HttpFilter } from './filter.ts'
import { reply, type Stop } from './reply.ts'

export class TokenBucket {
  readonly most: number
  readonly #perFill: number
  readonly #intervalMs: number
  #tokens: number
  #filledMs: number | undefined

  constructor(most: number, perFill: number, intervalMs: number) {
    this.most = most
    this.#perFill = perFill
    this.#intervalMs = intervalMs
    this.#tokens = most
  }

  /** Takes a token if there is one. */
  take(nowMs: number): boolean {
    this.#filledMs ??= nowMs
    const fills = Math.floor((nowMs - this.#filledMs) / this.#intervalMs)
    if (fills > 0) {
      this.#tokens = Math.min(this.most, this.#tokens + fills * this.#perFill)
      this.#filledMs += fills * this.#intervalMs
    }
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  get remaining(): number {
    return this.#tokens
  }
}

export interface Limiter {
  /** Undefined: nothing is limited. */
  readonly bucket: TokenBucket | undefined
  readonly status: number
  readonly enabledShare: number
  readonly enforcedShare: number
  readonly responseHeaders: Mutation | undefined
  readonly unenforcedHeaders: Mutation | undefined
  readonly resourceExhausted: boolean
  readonly showsLimits: boolean
}

/** Envoy fills no more often. */
const shortestFillMs = 50

export function compileLimiter(message: localRateLimit.LocalRateLimit, place: Place): Limiter {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['descriptors', message.descriptors.length > 0],
    ['rate_limits', message.rateLimits.length > 0],
    ['local_cluster_rate_limit', message.localClusterRateLimit !== undefined],
    ['local_rate_limit_per_downstream_connection', message.localRateLimitPerDownstreamConnection],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
  const status = message.status?.code ?? 0
  const none = { add: place.at('headers'), remove: place.at('headers') }
  return {
    bucket: bucketOf(message.tokenBucket, place.at('token_bucket')),
    // Envoy: what is not an error becomes 429.
    status: status < 400 ? 429 : status,
    enabledShare: runtimeShare(message.filterEnabled, 0),
    enforcedShare: runtimeShare(message.filterEnforced, 0),
    responseHeaders: compileMutation(message.responseHeadersToAdd, [], none),
    unenforcedHeaders: compileMutation(message.requestHeadersToAddWhenNotEnforced, [], none),
    resourceExhausted: message.rateLimitedAsResourceExhausted,
    showsLimits: message.enableXRatelimitHeaders !== 0,
  }
}

function bucketOf(
  bucket: localRateLimit.LocalRateLimit['tokenBucket'],
  place: Place,
): TokenBucket | undefined {
  if (bucket === undefined) return undefined
  const intervalMs = durationMs(bucket.fillInterval) ?? 0
  if (intervalMs < shortestFillMs) {
    place.at('fill_interval').refuse(`has to be at least ${shortestFillMs} ms`)
  }
  if (bucket.maxTokens === 0) place.at('max_tokens').refuse('has to be above zero')
  return new TokenBucket(bucket.maxTokens, bucket.tokensPerFill ?? 1, intervalMs)
}

export function compileLocalRateLimit(
  name: string,
  message: localRateLimit.LocalRateLimit,
  place: Place,
): HttpFilter {
  const configured = compileLimiter(message, place)
  return {
    name,
    run: (exchange) => {
      const override = exchange.override(name)?.config
      return limit(override?.kind === 'limiter' ? override.limiter : configured, exchange, name)
    },
  }
}

function limit(limiter: Limiter, exchange: Exchange, by: string): Stop | undefined {
  const { bucket, responseHeaders } = limiter
  if (bucket === undefined || !exchange.inShare(limiter.enabledShare)) return undefined
  const passes = bucket.take(exchange.context.now())
  if (limiter.showsLimits) {
    const { remaining } = bucket
    exchange.responseHooks.push(() => [
      { kind: 'set', name: 'x-ratelimit-limit', value: String(bucket.most) },
      { kind: 'set', name: 'x-ratelimit-remaining', value: String(remaining) },
    ])
  }
  exchange.notes?.push({ by, verdict: passes ? 'below the limit' : 'above the limit' })
  if (passes) return undefined
  if (!exchange.inShare(limiter.enforcedShare)) {
    limiter.unenforcedHeaders?.request(exchange)
    return undefined
  }
  if (responseHeaders !== undefined) {
    exchange.responseHooks.push((own, response) => [...responseHeaders.response(own, response)])
  }
  return reply({
    status: limiter.status,
    body: 'local_rate_limited',
    details: 'local_rate_limited',
    flag: 'RL',
    grpcStatus: limiter.resourceExhausted ? 8 : undefined,
    by,
  })
}
