/** Hash policies of a route: which number decides the endpoint, and the cookie that keeps it. */
import type { routeComponents as api, hashPolicy } from '../../../proto/envoy.ts'
import { xxHash64 } from '../balance/xxhash64.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileReplacement } from '../match/text.ts'
import { durationMs } from '../values.ts'

/** A cookie that a client without one gets, so that its next request finds the same endpoint. */
export interface HashCookie {
  readonly name: string
  readonly value: string
  readonly path: string
  /** Zero: for the session. */
  readonly ttlSeconds: number
  readonly attributes: readonly { readonly name: string; readonly value: string }[]
}

export interface HashResult {
  /** Undefined: no policy applied. */
  readonly hash: bigint | undefined
  readonly cookies: readonly HashCookie[]
}

type Hasher = (exchange: Exchange, cookies: HashCookie[]) => bigint | undefined

const mask = (1n << 64n) - 1n

export type HashFunction = (exchange: Exchange) => HashResult

/** Undefined when the route has no policy. */
export function compileHash(
  policies: readonly api.RouteAction_HashPolicy[],
  place: Place,
): HashFunction | undefined {
  if (policies.length === 0) return undefined
  const hashers = policies.map((policy, index) => ({
    hasher: compilePolicy(policy, place.at('hash_policy', index)),
    terminal: policy.terminal,
  }))
  return (exchange) => {
    let hash: bigint | undefined
    const cookies: HashCookie[] = []
    for (const { hasher, terminal } of hashers) {
      const next = hasher(exchange, cookies)
      if (next !== undefined) {
        const before = hash ?? 0n
        // Rotated by one bit, so that equal values of two policies do not cancel out.
        hash = hash === undefined ? next : (((before << 1n) | (before >> 63n)) & mask) ^ next
      }
      if (terminal && hash !== undefined) break
    }
    return { hash, cookies }
  }
}

function compilePolicy(policy: api.RouteAction_HashPolicy, place: Place): Hasher {
  const { policySpecifier: specifier } = policy
  switch (specifier.case) {
    case 'header': {
      const name = specifier.value.headerName.toLowerCase()
      const { regexRewrite } = specifier.value
      const replace =
        regexRewrite === undefined
          ? undefined
          : compileReplacement(regexRewrite, place.at('header.regex_rewrite'))
      return (exchange) => {
        const value = exchange.header(name)
        return value === undefined ? undefined : xxHash64(replace?.(value) ?? value)
      }
    }
    case 'cookie':
      return cookieHasher(specifier.value)
    case 'connectionProperties':
      return specifier.value.sourceIp ? (exchange) => xxHash64(exchange.remoteIp) : () => undefined
    case 'queryParameter': {
      const { name } = specifier.value
      return (exchange) => {
        const value = exchange.parameter(name)
        return value === undefined ? undefined : xxHash64(value)
      }
    }
    case 'filterState': {
      const { key } = specifier.value
      return (exchange) => {
        const value = exchange.filterState(key)
        return value === undefined ? undefined : xxHash64(value)
      }
    }
    default:
      place.refuse('a hash policy without a kind')
      return () => undefined
  }
}

function cookieHasher(cookie: api.RouteAction_HashPolicy_Cookie): Hasher {
  const { name, path, attributes } = cookie
  const ttlMs = durationMs(cookie.ttl)
  return (exchange, cookies) => {
    const given = cookieOf(exchange.header('cookie'), name)
    if (given !== undefined && given !== '') return xxHash64(given)
    if (ttlMs === undefined) return undefined
    const { sourceIp, sourcePort } = exchange.request.connection
    const value = xxHash64(`${sourceIp}:${sourcePort}/${exchange.draw}`).toString(16)
    cookies.push({ name, value, path, ttlSeconds: Math.floor(ttlMs / 1000), attributes })
    return xxHash64(value)
  }
}

/** The value of a cookie; quotes around it go. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  for (const part of header.split(/[;,]/)) {
    const equals = part.indexOf('=')
    if (equals < 0 || part.slice(0, equals).trim() !== name) continue
    const value = part.slice(equals + 1).trim()
    return /^".*"$/.test(value) ? value.slice(1, -1) : value
  }
  return undefined
}

/** Hash policies of a TCP proxy. */
export function compileStreamHash(
  policies: readonly hashPolicy.HashPolicy[],
  place: Place,
): ((source: { ip: string; state: (key: string) => string | undefined }) => bigint) | undefined {
  const [policy] = policies
  if (policy === undefined) return undefined
  if (policies.length > 1) place.at('hash_policy').refuse('only one is possible')
  const { policySpecifier: specifier } = policy
  if (specifier.case === 'sourceIp') return ({ ip }) => xxHash64(ip)
  if (specifier.case === 'filterState') {
    const { key } = specifier.value
    return ({ state }) => xxHash64(state(key) ?? '')
  }
  place.at('hash_policy', 0).refuse('a hash policy without a kind')
  return undefined
}
