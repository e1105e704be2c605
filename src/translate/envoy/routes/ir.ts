/**
 * HTTP rules in one form, whatever kind they were written in. VirtualService, HTTPRoute and GRPCRoute
 * are read into it; Envoy's routes are written from it.
 */
import type { ConsistentHash, CorsPolicy, HttpRetryPolicy } from '../../../model/index.ts'
import type { core } from '../../../proto/envoy.ts'
import type { ClusterRef } from '../clusters/names.ts'
import type { TextMatch } from '../values.ts'

export interface PathMatch {
  /** `segments` is a prefix that ends at a slash or the path's end. */
  readonly kind: 'exact' | 'prefix' | 'segments' | 'regex'
  readonly value: string
  readonly ignoreCase: boolean
}

export interface FieldMatch {
  readonly name: string
  /** Undefined: being there is enough. */
  readonly value: TextMatch | undefined
  readonly invert: boolean
}

export interface ClaimMatch {
  /** The claim's name, and those inside it. */
  readonly claim: readonly string[]
  readonly value: TextMatch | undefined
  readonly invert: boolean
}

export interface HttpMatch {
  readonly path: PathMatch | undefined
  /** Also of pseudo-headers, like `:method`. */
  readonly headers: readonly FieldMatch[]
  readonly query: readonly FieldMatch[]
  readonly claims: readonly ClaimMatch[]
  readonly grpc: boolean
}

export interface HeaderChange {
  readonly kind: 'set' | 'add' | 'remove'
  readonly name: string
  readonly value: string
}

export interface HeaderChanges {
  readonly request: readonly HeaderChange[]
  readonly response: readonly HeaderChange[]
}

export const noChanges: HeaderChanges = { request: [], response: [] }

export interface Target {
  /** Undefined: a backend that can't be used; its share is answered with an error. */
  readonly cluster: ClusterRef | undefined
  readonly weight: number
  readonly headers: HeaderChanges
  /** How its cluster keeps clients at one endpoint. */
  readonly hash: ConsistentHash | undefined
}

export interface Mirror {
  readonly cluster: ClusterRef
  readonly percent: number
}

export type PathRewrite =
  /** Replaces what the rule's path match matched. */
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'full'; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string }

export interface Fault {
  readonly delay: { readonly ms: number; readonly percent: number } | undefined
  readonly abort:
    | { readonly status: number; readonly grpc: boolean; readonly percent: number }
    | undefined
}

export interface Retry {
  readonly attempts: number
  readonly perTryMs: number | undefined
  readonly on: string
  readonly codes: readonly number[]
  readonly remoteLocalities: boolean
  readonly ignorePreviousHosts: boolean
  readonly backoffMs: number | undefined
}

export type HttpAction =
  | {
      readonly kind: 'forward'
      readonly targets: readonly Target[]
      readonly mirrors: readonly Mirror[]
      readonly rewrite: PathRewrite | undefined
      readonly authority: string | undefined
      /** 0: no limit. */
      readonly timeoutMs: number
      /** Undefined: none. */
      readonly retry: Retry | undefined
      /** What a request for a cluster that does not exist gets. */
      readonly missing: 500 | 503
    }
  | {
      readonly kind: 'redirect'
      readonly path: PathRewrite | undefined
      readonly authority: string | undefined
      readonly port: number | undefined
      readonly scheme: string | undefined
      readonly code: number
    }
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly body: Uint8Array | string | undefined
    }

export interface HttpRule {
  readonly name: string
  /** API path of the object, and the field in it. */
  readonly config: string
  readonly path: string
  readonly match: HttpMatch
  readonly action: HttpAction
  readonly headers: HeaderChanges
  readonly cors: CorsPolicy | undefined
  readonly fault: Fault | undefined
  /** Groups the statistics of the rule. */
  readonly statPrefix: string
}

export interface VirtualHost {
  readonly name: string
  readonly domains: readonly string[]
  readonly rules: readonly HttpRule[]
  /** API path of the object that made it; undefined for what the mesh itself adds. */
  readonly config: string | undefined
  readonly requireTls: boolean
  /** Added to whatever its rules do. */
  readonly requestHeaders?: readonly core.HeaderValueOption[]
}

export const anyRequest: HttpMatch = {
  path: { kind: 'prefix', value: '/', ignoreCase: false },
  headers: [],
  query: [],
  claims: [],
  grpc: false,
}

/** Whether no request can get past the rule. */
export function isCatchAll({ path, headers, query, claims, grpc }: HttpMatch): boolean {
  const open = path === undefined || (path.kind === 'prefix' && path.value === '/')
  const whole = open || (path?.kind === 'regex' && (path.value === '.*' || path.value === '*'))
  return whole && headers.length + query.length + claims.length === 0 && !grpc
}

/** The clusters that rules may send to, each once. */
export function clustersOf(rules: Iterable<HttpRule>): Map<string, ClusterRef> {
  const found = new Map<string, ClusterRef>()
  for (const { action } of rules) {
    if (action.kind !== 'forward') continue
    for (const { cluster } of [...action.targets, ...action.mirrors]) {
      if (cluster !== undefined) found.set(cluster.name, cluster)
    }
  }
  return found
}

/** The mesh's own policy where nobody wrote one. */
export const defaultRetryOn = 'connect-failure,refused-stream,unavailable,cancelled'
const defaultAttempts = 2

export function retryOf(
  policy: HttpRetryPolicy | undefined,
  meshDefault: HttpRetryPolicy | undefined,
  parseMs: (text: string | undefined) => number | undefined,
): Retry | undefined {
  const chosen = policy ?? meshDefault ?? { attempts: defaultAttempts }
  const attempts = chosen.attempts ?? 0
  if (attempts <= 0) return undefined
  const tokens = (chosen.retryOn || meshDefault?.retryOn || defaultRetryOn)
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '')
  const codes = tokens.filter((token) => /^\d{3}$/.test(token)).map(Number)
  const on = tokens.filter((token) => !/^\d{3}$/.test(token))
  if (codes.length > 0 && !on.includes('retriable-status-codes')) on.push('retriable-status-codes')
  return {
    attempts,
    perTryMs: parseMs(chosen.perTryTimeout) || undefined,
    on: on.join(','),
    codes,
    remoteLocalities: chosen.retryRemoteLocalities ?? false,
    ignorePreviousHosts: chosen.retryIgnorePreviousHosts ?? true,
    backoffMs: parseMs(chosen.backoff) || undefined,
  }
}
