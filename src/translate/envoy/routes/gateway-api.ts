/** Rules of HTTPRoute and GRPCRoute, in the order that Gateway API prescribes. */
import type {
  ConfigObject,
  GRPCRouteRuleSpec,
  GRPCRouteSpec,
  HeaderMatchSpec,
  HTTPBackendRefSpec,
  HTTPRouteFilterSpec,
  HTTPRouteMatchSpec,
  HTTPRouteRuleSpec,
  HTTPRouteSpec,
} from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'
import { durationMs } from '../values.ts'
import { type Referrer, resolveBackend } from './backends.ts'
import { hashOf, type RouteContext, serviceRef } from './context.ts'
import {
  defaultRetryOn,
  type FieldMatch,
  type HttpAction,
  type HttpMatch,
  type HttpRule,
  type PathMatch,
  type Retry,
  retryOf,
  type Target,
} from './ir.ts'
import { pathModifier, type RuleFilters, ruleFilters } from './route-filters.ts'

/** A rule with what its place among others depends on. */
export interface RankedRule extends HttpRule {
  readonly createdAt: number
  readonly namespace: string
  readonly object: string
  readonly ruleIndex: number
}

export type HttpRouteObject =
  | { readonly kind: 'HTTPRoute'; readonly object: ConfigObject<HTTPRouteSpec> }
  | { readonly kind: 'GRPCRoute'; readonly object: ConfigObject<GRPCRouteSpec> }

export function gatewayApiRules(context: RouteContext, route: HttpRouteObject): RankedRule[] {
  if (route.kind === 'HTTPRoute') {
    // A route without rules has one that matches everything and goes nowhere.
    const rules = route.object.spec.rules ?? [{}]
    return rules.flatMap((rule, index) => {
      const matches = rule.matches === undefined || rule.matches.length === 0 ? [{}] : rule.matches
      return ranked(context, route, rule, index, matches.map(httpMatch))
    })
  }
  return (route.object.spec.rules ?? [{}]).flatMap((rule, index) => {
    const matches = rule.matches === undefined || rule.matches.length === 0 ? [{}] : rule.matches
    return ranked(context, route, rule, index, matches.map(grpcMatch))
  })
}

function ranked(
  context: RouteContext,
  { kind, object }: HttpRouteObject,
  rule: HTTPRouteRuleSpec | GRPCRouteRuleSpec,
  ruleIndex: number,
  matches: readonly HttpMatch[],
): RankedRule[] {
  const { namespace, name, createdAt } = object
  const from = { kind, namespace }
  const filters = ruleFilters(context, from, rule.filters ?? [])
  const action = actionOf(context, from, rule, filters)
  return matches.map((match, matchIndex) => ({
    name: rule.name || `${namespace}.${name}.${ruleIndex}.${matchIndex}`,
    config: configPath(object),
    path: `/spec/rules/${ruleIndex}`,
    match,
    action,
    headers: filters.headers,
    cors: filters.cors,
    fault: undefined,
    statPrefix: '',
    createdAt,
    namespace,
    object: name,
    ruleIndex,
  }))
}

export function httpMatch(match: HTTPRouteMatchSpec): HttpMatch {
  const headers = fieldMatches(match.headers)
  if (match.method !== undefined && match.method !== '') {
    headers.push({
      name: ':method',
      value: { kind: 'exact', value: match.method },
      invert: false,
    })
  }
  const { type = 'PathPrefix', value = '/' } = match.path ?? {}
  const kind = type === 'Exact' ? 'exact' : type === 'RegularExpression' ? 'regex' : 'segments'
  return {
    path: { kind, value, ignoreCase: false },
    headers,
    query: fieldMatches(match.queryParams, true),
    claims: [],
    grpc: false,
  }
}

type GrpcMatch = NonNullable<GRPCRouteRuleSpec['matches']>[number]

export function grpcMatch(match: GrpcMatch): HttpMatch {
  return {
    path: grpcPath(match.method),
    headers: fieldMatches(match.headers),
    query: [],
    claims: [],
    grpc: false,
  }
}

function grpcPath(method: GrpcMatch['method']): PathMatch {
  const { service = '', method: name = '', type } = method ?? {}
  if (service === '' && name === '') return { kind: 'prefix', value: '/', ignoreCase: false }
  if (type === 'RegularExpression') {
    const value = `/${service || '[^/]+'}/${name || '[^/]+'}`
    return { kind: 'regex', value, ignoreCase: false }
  }
  if (name === '') return { kind: 'prefix', value: `/${service}/`, ignoreCase: false }
  if (service === '') return { kind: 'regex', value: `/[^/]+/${name}`, ignoreCase: false }
  return { kind: 'exact', value: `/${service}/${name}`, ignoreCase: false }
}

/** Of equal names the first counts; names of headers are compared without case. */
function fieldMatches(
  matches: readonly HeaderMatchSpec[] = [],
  caseSensitive = false,
): FieldMatch[] {
  const found = new Map<string, FieldMatch>()
  for (const { name = '', value = '', type } of matches) {
    const key = caseSensitive ? name : name.toLowerCase()
    if (found.has(key)) continue
    const kind = type === 'RegularExpression' ? 'regex' : 'exact'
    found.set(key, { name, value: { kind, value }, invert: false })
  }
  return [...found.values()]
}

const brokenRule: HttpAction = { kind: 'answer', status: 500, body: undefined }

function actionOf(
  context: RouteContext,
  from: Referrer,
  rule: HTTPRouteRuleSpec | GRPCRouteRuleSpec,
  filters: RuleFilters,
): HttpAction {
  // A filter that can't be obeyed must not be skipped silently.
  if (filters.unsupported !== undefined) return brokenRule
  if (filters.redirect !== undefined) return redirectOf(filters.redirect, context.port)
  const backends = (rule.backendRefs ?? []).filter(({ weight = 1 }) => weight > 0)
  const targets = backends.map((backend) => targetOf(context, from, backend))
  if (!targets.some(({ cluster }) => cluster !== undefined)) return brokenRule
  const timeouts = 'timeouts' in rule ? rule.timeouts : undefined
  const perTryMs = durationMs(timeouts?.backendRequest) || undefined
  const whole = durationMs(timeouts?.request)
  const written = 'retry' in rule ? rule.retry : undefined
  const retry = written === undefined ? meshRetry(context) : retryOfRule(written)
  return {
    kind: 'forward',
    targets,
    mirrors: filters.mirrors,
    rewrite: filters.rewrite,
    authority: filters.authority,
    // Without retries one try is all there is, so its limit is the whole's as well.
    timeoutMs: whole ?? (retry === undefined ? (perTryMs ?? 0) : 0),
    retry: retry === undefined || perTryMs === undefined ? retry : { ...retry, perTryMs },
    missing: 500,
  }
}

function meshRetry(context: RouteContext): Retry | undefined {
  return retryOf(undefined, context.scope.reader.mesh().defaultHttpRetryPolicy, durationMs)
}

const defaultAttempts = 2

function retryOfRule(retry: NonNullable<HTTPRouteRuleSpec['retry']>): Retry | undefined {
  const { attempts = defaultAttempts, codes = [], backoff } = retry
  if (attempts <= 0) return undefined
  return {
    attempts,
    perTryMs: undefined,
    on: codes.length === 0 ? defaultRetryOn : `${defaultRetryOn},retriable-status-codes`,
    codes,
    remoteLocalities: false,
    ignorePreviousHosts: true,
    backoffMs: durationMs(backoff) || undefined,
  }
}

function targetOf(context: RouteContext, from: Referrer, backend: HTTPBackendRefSpec): Target {
  const { weight = 1, filters = [] } = backend
  const resolved = resolveBackend(context.scope.reader, from, backend)
  const own = ruleFilters(context, from, filters)
  // What a backend's own filters may do is change headers; anything else makes it unusable.
  const isHeaders = filters.every((filter) => isHeaderFilter(filter))
  if (resolved.problem !== undefined || !isHeaders) {
    return { cluster: undefined, weight, headers: own.headers, hash: undefined }
  }
  const cluster = serviceRef(context, resolved.service, resolved.port.port)
  return { cluster, weight, headers: own.headers, hash: hashOf(context.scope, cluster) }
}

function isHeaderFilter({ type }: HTTPRouteFilterSpec): boolean {
  return type === 'RequestHeaderModifier' || type === 'ResponseHeaderModifier'
}

function redirectOf(
  redirect: NonNullable<RuleFilters['redirect']>,
  listenerPort: number,
): HttpAction {
  const { scheme, hostname, path, statusCode } = redirect
  const usual = scheme === 'https' ? 443 : scheme === 'http' ? 80 : undefined
  // The port of a scheme that is given is that scheme's own; else clients stay at their listener.
  const port = redirect.port ?? usual ?? listenerPort
  const isImplied = (port === 80 && scheme !== 'https') || (port === 443 && scheme !== 'http')
  return {
    kind: 'redirect',
    path: pathModifier(path),
    authority: hostname,
    port: isImplied ? undefined : port,
    scheme,
    code: statusCode ?? 302,
  }
}

/** Kind of path match, longest path, method, most headers, most parameters, oldest route, name, rule. */
export function compareRules(left: RankedRule, right: RankedRule): number {
  const rightRank = rank(right)
  for (const [index, value] of rank(left).entries()) {
    const difference = (rightRank[index] ?? 0) - value
    if (difference !== 0) return difference
  }
  if (left.createdAt !== right.createdAt) return left.createdAt - right.createdAt
  const leftKey = `${left.namespace}/${left.object}`
  const rightKey = `${right.namespace}/${right.object}`
  if (leftKey !== rightKey) return leftKey < rightKey ? -1 : 1
  return left.ruleIndex - right.ruleIndex
}

function rank({ match }: RankedRule): number[] {
  const hasMethod = match.headers.some(({ name }) => name === ':method')
  return [
    pathRank(match),
    match.path?.value.length ?? 0,
    hasMethod ? 1 : 0,
    match.headers.length - (hasMethod ? 1 : 0),
    match.query.length,
  ]
}

/** What matches everything comes last, also after regular expressions, which would be lost behind it. */
function pathRank({ path, headers, query }: HttpMatch): number {
  if (path?.kind === 'exact') return 3
  if (path?.kind === 'regex') return 1
  return (path?.value ?? '/') === '/' && headers.length + query.length === 0 ? 0 : 2
}
