/** RouteConfigurations → route tables. */
import {
  type routeComponents as api,
  route as routeApi,
  type stringMatcher,
} from '../proto/envoy.ts'
import { fromBinary } from '../proto/index.ts'
import { durationMs, unsupported } from './compile.ts'
import type { Route, RouteAction, RouteMatch, RouteTable, VirtualHost } from './types.ts'

export function compileRoutes(bytes: Uint8Array): RouteTable {
  const config = fromBinary(routeApi.RouteConfigurationSchema, bytes)
  const exact = new Map<string, VirtualHost>()
  const suffixes: { text: string; host: VirtualHost }[] = []
  const prefixes: { text: string; host: VirtualHost }[] = []
  let any: VirtualHost | undefined
  refuseMore(config, ['responseHeadersToAdd', 'responseHeadersToRemove'], `route ${config.name}`)
  for (const virtualHost of config.virtualHosts) {
    const what = `route ${config.name}, virtual host ${virtualHost.name}`
    refuseMore(virtualHost, [...hostModifiers, 'retryPolicy', 'requestMirrorPolicies'], what)
    const added = virtualHost.requestHeadersToAdd.find(({ header }) => header?.key !== peerHeader)
    if (added !== undefined) throw unsupported(what, 'requestHeadersToAdd', added.header?.key ?? '')
    const host: VirtualHost = {
      name: virtualHost.name,
      routes: virtualHost.routes.map((route) => compileRoute(route, what)),
      includeAttemptCount: virtualHost.includeRequestAttemptCount,
    }
    for (const domain of virtualHost.domains) {
      const name = domain.toLowerCase()
      if (name === '*') any = host
      else if (name.startsWith('*')) suffixes.push({ text: name.slice(1), host })
      else if (name.endsWith('*')) prefixes.push({ text: name.slice(0, -1), host })
      else exact.set(name, host)
    }
  }
  const longestFirst = (left: { text: string }, right: { text: string }): number =>
    right.text.length - left.text.length
  return {
    name: config.name,
    ignorePort: config.ignorePortInHostMatching,
    exact,
    suffixes: suffixes.toSorted(longestFirst),
    prefixes: prefixes.toSorted(longestFirst),
    any,
  }
}

/** Fields of hosts and routes that change what passes. */
const modifiers = [
  'typedPerFilterConfig',
  'requestHeadersToAdd',
  'requestHeadersToRemove',
  'responseHeadersToAdd',
  'responseHeadersToRemove',
] as const

const hostModifiers = modifiers.filter((field) => field !== 'requestHeadersToAdd')
/** For the other end's metrics; the node proxy tells them who is calling. */
const peerHeader = 'x-envoy-peer-metadata'

/** Fields of an action that change where a request goes, or what it is when it arrives. */
const rewrites = [
  'requestMirrorPolicies',
  'hashPolicy',
  'prefixRewrite',
  'regexRewrite',
  'pathRewritePolicy',
  'pathRewrite',
] as const

/** Refuses fields that are set and that this proxy does not honour. */
function refuseMore<T extends object>(
  message: T,
  fields: readonly (keyof T & string)[],
  where: string,
): void {
  for (const field of fields) {
    const value: unknown = message[field]
    const isSet = typeof value === 'object' && value !== null && Object.keys(value).length > 0
    if (isSet || (typeof value === 'string' && value !== '')) throw unsupported(where, field, 'it')
  }
}

function compileRoute(route: api.Route, what: string): Route {
  const where = `${what}, route ${route.name}`
  refuseMore(route, modifiers, where)
  return {
    name: route.name === '' ? 'default' : route.name,
    match: compileMatch(route.match, where),
    action: compileAction(route.action, where),
  }
}

function compileMatch(match: api.RouteMatch | undefined, where: string): RouteMatch {
  if (match === undefined) throw unsupported(where, 'match', 'none')
  if (match.runtimeFraction !== undefined) throw unsupported(where, 'match', 'runtime_fraction')
  return {
    path: compilePath(match, where),
    headers: match.headers.map((matcher) => compileHeader(matcher, where)),
    query: match.queryParameters.map((matcher) => compileQuery(matcher, where)),
  }
}

function compilePath(match: api.RouteMatch, where: string): (path: string) => boolean {
  const { pathSpecifier } = match
  const fold = match.caseSensitive === false
  const plain = (path: string): string => (fold ? path.toLowerCase() : path)
  switch (pathSpecifier.case) {
    case 'prefix': {
      const value = plain(pathSpecifier.value)
      return value === '/' ? () => true : (path) => plain(path).startsWith(value)
    }
    case 'path': {
      const value = plain(pathSpecifier.value)
      return (path) => plain(path) === value
    }
    case 'pathSeparatedPrefix': {
      const value = plain(pathSpecifier.value)
      const folder = `${value}/`
      return (path) => plain(path) === value || plain(path).startsWith(folder)
    }
    case 'safeRegex': {
      const pattern = compileRegex(pathSpecifier.value.regex, where)
      return (path) => pattern.test(path)
    }
    default:
      throw unsupported(where, 'match', pathSpecifier.case ?? 'no path')
  }
}

/** Whole-text match, as Envoy does. */
function compileRegex(source: string, where: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`)
  } catch {
    throw unsupported(where, 'safe_regex', source)
  }
}

function compileText(
  matcher: stringMatcher.StringMatcher,
  where: string,
): (text: string) => boolean {
  const { matchPattern, ignoreCase } = matcher
  const plain = (text: string): string => (ignoreCase ? text.toLowerCase() : text)
  if (matchPattern.case === 'safeRegex') {
    const pattern = compileRegex(matchPattern.value.regex, where)
    return (text) => pattern.test(text)
  }
  if (matchPattern.case === undefined || matchPattern.case === 'custom') {
    throw unsupported(where, 'string_match', matchPattern.case ?? 'none')
  }
  const value = plain(matchPattern.value)
  switch (matchPattern.case) {
    case 'exact':
      return (text) => plain(text) === value
    case 'prefix':
      return (text) => plain(text).startsWith(value)
    case 'suffix':
      return (text) => plain(text).endsWith(value)
    case 'contains':
      return (text) => plain(text).includes(value)
    default:
      throw unsupported(where, 'string_match', 'unknown pattern')
  }
}

function compileHeader(matcher: api.HeaderMatcher, where: string): RouteMatch['headers'][number] {
  const { name, headerMatchSpecifier: specifier, invertMatch, treatMissingHeaderAsEmpty } = matcher
  const read = (headers: { method: string; get(name: string): string | undefined }) =>
    name === ':method' ? headers.method : headers.get(name)
  if (specifier.case === 'presentMatch') {
    const wanted = specifier.value !== invertMatch
    return (headers) => (read(headers) !== undefined) === wanted
  }
  if (specifier.case === undefined)
    return (headers) => (read(headers) !== undefined) !== invertMatch
  if (specifier.case !== 'stringMatch') throw unsupported(where, 'headers', specifier.case)
  const test = compileText(specifier.value, where)
  return (headers) => {
    const value = read(headers) ?? (treatMissingHeaderAsEmpty ? '' : undefined)
    // An absent header never matches, not even inverted (Envoy's rule).
    return value !== undefined && test(value) !== invertMatch
  }
}

function compileQuery(
  matcher: api.QueryParameterMatcher,
  where: string,
): (query: URLSearchParams) => boolean {
  const { name, queryParameterMatchSpecifier: specifier } = matcher
  if (specifier.case === 'stringMatch') {
    const test = compileText(specifier.value, where)
    return (query) => {
      const value = query.get(name)
      return value !== null && test(value)
    }
  }
  const wanted = specifier.case === 'presentMatch' ? specifier.value : true
  return (query) => query.has(name) === wanted
}

function compileAction(action: api.Route['action'], where: string): RouteAction {
  if (action.case === 'directResponse') {
    const { status, body } = action.value
    const text = body?.specifier.case === 'inlineString' ? body.specifier.value : ''
    return { kind: 'direct', status, body: text }
  }
  if (action.case !== 'route') throw unsupported(where, 'action', action.case ?? 'none')
  const { clusterSpecifier, retryPolicy, timeout, hostRewriteSpecifier } = action.value
  refuseMore(action.value, rewrites, where)
  const rewrite = hostRewriteSpecifier.case
  if (rewrite !== undefined) throw unsupported(where, 'host_rewrite_specifier', rewrite)
  const targets = targetsOf(clusterSpecifier, where)
  const retryOn = (retryPolicy?.retryOn ?? '').split(',').map((item) => item.trim())
  return {
    kind: 'forward',
    targets,
    totalWeight: targets.reduce((sum, target) => sum + target.weight, 0),
    notFoundStatus: notFoundStatuses[action.value.clusterNotFoundResponseCode] ?? 503,
    timeoutMs: durationMs(timeout) ?? 15_000,
    retries: retryPolicy === undefined ? 0 : (retryPolicy.numRetries ?? 1),
    retriesConnectFailures: ['connect-failure', '5xx', 'gateway-error'].some((item) =>
      retryOn.includes(item),
    ),
  }
}

/** By ClusterNotFoundResponseCode: SERVICE_UNAVAILABLE, NOT_FOUND, INTERNAL_SERVER_ERROR. */
const notFoundStatuses = [503, 404, 500]

function targetsOf(
  specifier: api.RouteAction['clusterSpecifier'],
  where: string,
): { cluster: string; weight: number }[] {
  if (specifier.case === 'cluster') return [{ cluster: specifier.value, weight: 1 }]
  if (specifier.case !== 'weightedClusters') {
    throw unsupported(where, 'cluster_specifier', specifier.case ?? 'none')
  }
  return specifier.value.clusters.map((target) => {
    refuseMore(target, modifiers, `${where}, cluster ${target.name}`)
    return { cluster: target.name, weight: target.weight ?? 0 }
  })
}
