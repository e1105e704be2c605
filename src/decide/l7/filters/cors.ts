/** CORS: answers preflight requests, and tells browsers about the others in the response. */
import type { cors } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileString, type TextTest } from '../match/text.ts'
import type { HeaderOperation } from '../types.ts'
import { runtimeShare } from '../values.ts'
import type { HttpFilter } from './filter.ts'
import { type Reply, reply } from './reply.ts'

export interface CorsPolicy {
  readonly origins: readonly TextTest[]
  readonly methods: string
  readonly headers: string
  readonly exposed: string
  readonly maxAge: string
  readonly credentials: boolean | undefined
  readonly privateNetwork: boolean | undefined
  readonly forwardUnmatched: boolean | undefined
  readonly enabledShare: number
}

export function compileCorsPolicy(message: cors.CorsPolicy, place: Place): CorsPolicy {
  return {
    origins: message.allowOriginStringMatch.map((matcher, index) =>
      compileString(matcher, place.at('allow_origin_string_match', index)),
    ),
    methods: message.allowMethods,
    headers: message.allowHeaders,
    exposed: message.exposeHeaders,
    maxAge: message.maxAge,
    credentials: message.allowCredentials,
    privateNetwork: message.allowPrivateNetworkAccess,
    forwardUnmatched: message.forwardNotMatchingPreflights,
    enabledShare: runtimeShare(message.filterEnabled, 1),
  }
}

export function compileCors(name: string): HttpFilter {
  return {
    name,
    run: (exchange) => {
      const policies = policiesOf(name, exchange)
      const [most] = policies
      if (most === undefined || !exchange.inShare(most.enabledShare)) return undefined
      const origin = exchange.header('origin')
      if (origin === undefined || origin === '') return undefined
      const origins = first(policies, ({ origins: list }) => (list.length > 0 ? list : undefined))
      const allowed = (origins ?? []).some((test) => test('*') || test(origin))
      exchange.notes?.push({ by: name, verdict: allowed ? 'origin allowed' : 'origin not allowed' })
      if (allowed) exchange.responseHooks.push(() => told(policies, origin))
      const asked = exchange.header('access-control-request-method') ?? ''
      if (exchange.request.method !== 'OPTIONS' || asked === '') return undefined
      const forwards = first(policies, ({ forwardUnmatched }) => forwardUnmatched) ?? true
      if (!allowed && forwards) return undefined
      return preflight(policies, exchange, allowed ? origin : undefined)
    },
  }
}

/** Of the route first; what it leaves open, its host says. */
function policiesOf(name: string, exchange: Exchange): CorsPolicy[] {
  const { route } = exchange
  if (route === undefined || route.route.action.kind !== 'forward') return []
  const levels = [
    ...(route.target === undefined ? [] : [route.target.overrides]),
    ...route.route.overrides,
  ]
  return levels.flatMap((level) => {
    const config = level.get(name)?.config
    return config?.kind === 'cors' ? [config.policy] : []
  })
}

function first<T>(
  policies: readonly CorsPolicy[],
  read: (policy: CorsPolicy) => T | undefined,
): T | undefined {
  for (const policy of policies) {
    const value = read(policy)
    if (value !== undefined && value !== '') return value
  }
  return undefined
}

function told(policies: readonly CorsPolicy[], origin: string): HeaderOperation[] {
  const operations: HeaderOperation[] = [
    { kind: 'set', name: 'access-control-allow-origin', value: origin },
  ]
  if (first(policies, ({ credentials }) => credentials) === true) {
    operations.push({ kind: 'set', name: 'access-control-allow-credentials', value: 'true' })
  }
  const exposed = first(policies, (policy) => policy.exposed)
  if (exposed !== undefined) {
    operations.push({ kind: 'set', name: 'access-control-expose-headers', value: exposed })
  }
  return operations
}

function preflight(
  policies: readonly CorsPolicy[],
  exchange: Exchange,
  origin: string | undefined,
): Reply {
  const headers: [string, string][] = []
  const add = (key: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') headers.push([`access-control-${key}`, value])
  }
  const echoed = (value: string | undefined, from: string): string | undefined =>
    value === '*' ? exchange.header(from) : value
  add('allow-origin', origin)
  const credentials = first(policies, (policy) => policy.credentials) === true
  add('allow-credentials', credentials ? 'true' : undefined)
  const methods = first(policies, (policy) => policy.methods)
  add('allow-methods', echoed(methods, 'access-control-request-method'))
  const names = first(policies, (policy) => policy.headers)
  add('allow-headers', echoed(names, 'access-control-request-headers'))
  add(
    'max-age',
    first(policies, (policy) => policy.maxAge),
  )
  const asks = exchange.header('access-control-request-private-network') === 'true'
  const network = first(policies, (policy) => policy.privateNetwork) === true
  add('allow-private-network', network && asks ? 'true' : undefined)
  return reply({ status: 200, headers, details: 'cors_response', by: 'cors' })
}
