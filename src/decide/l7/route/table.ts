/** RouteConfigurations: virtual hosts by name, routes in order, and what each level adds to a request. */
import { routeComponents as api, type route as routeApi } from '../../../proto/envoy.ts'
import { type Compiled, Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileMutation, type Mutation } from '../headers/mutate.ts'
import { limits } from '../limits.ts'
import type { Origin } from '../types.ts'
import { originOf } from '../values.ts'
import { type Action, type ActionDefaults, compileAction } from './action.ts'
import { addDomain, type Domains, emptyDomains, findHost } from './domains.ts'
import { type CompiledMatch, compileMatch } from './match.ts'
import { compileMirrors } from './mirror.ts'
import { PathIndex } from './path-index.ts'
import { compileOverrides, type FilterOverrides, overrideChain } from './per-filter.ts'
import { compileHedge, compileRetry } from './retry.ts'
import type { Target } from './targets.ts'

/** Request and response headers that a level changes. */
export interface Changes {
  readonly request: Mutation | undefined
  readonly response: Mutation | undefined
}

export interface Route {
  readonly name: string
  readonly index: number
  readonly match: CompiledMatch
  readonly action: Action
  /** In the order in which they are applied: of the route, its host and the table. */
  readonly requestChanges: readonly Mutation[]
  readonly responseChanges: readonly Mutation[]
  /** Most specific first; what the chosen cluster says comes before. */
  readonly overrides: readonly FilterOverrides[]
  readonly origin: Origin | undefined
  readonly metadata: Readonly<Record<string, unknown>> | undefined
  /** Name of the spans, `tracing` and the statistics' prefix, for who reports. */
  readonly tracing: api.Tracing | undefined
  readonly decorator: api.Decorator | undefined
  readonly statPrefix: string
}

export interface VirtualHost {
  readonly name: string
  readonly routes: readonly Route[]
  readonly paths: PathIndex | undefined
  readonly requireTls: 'none' | 'external' | 'all'
  readonly includeAttemptCount: boolean
  readonly includeAttemptCountInResponse: boolean
  readonly origin: Origin | undefined
}

export interface RouteTable {
  readonly name: string
  readonly ignorePort: boolean
  readonly domains: Domains<VirtualHost>
  readonly hosts: readonly VirtualHost[]
  readonly origin: Origin | undefined
}

/** The route of a request, and the cluster that it chose. */
export interface RouteChoice {
  readonly host: VirtualHost
  readonly route: Route
  /** Of a route that forwards. */
  readonly target: Target | undefined
  /** Empty: none could be found. */
  readonly cluster: string
}

/** Compiles a RouteConfiguration, or says what is wrong with it. */
export function compileRoutes(config: routeApi.RouteConfiguration): Compiled<RouteTable> {
  const place = Place.of(`route ${config.name}`)
  refuseUnsupported(config, place)
  const level: Level = {
    changes: changesOf(config, place),
    overrides: compileOverrides(config.typedPerFilterConfig, place),
    defaults: {
      retry: undefined,
      hedge: undefined,
      mirrors: compileMirrors(config.requestMirrorPolicies, place),
      directBodyMaxBytes: config.maxDirectResponseBodySizeBytes ?? limits.directResponseBodyBytes,
    },
    specificLast: config.mostSpecificHeaderMutationsWins,
  }
  const domains = emptyDomains<VirtualHost>()
  const names = new Set<string>()
  const hosts = config.virtualHosts.map((message, index) => {
    const at = place.at('virtual_hosts', index)
    if (names.has(message.name)) at.at('name').refuse(`'${message.name}' is there twice`)
    names.add(message.name)
    const host = compileHost(message, level, at)
    if (message.domains.length === 0) at.at('domains').refuse('a virtual host without a name')
    for (const [number, domain] of message.domains.entries()) {
      addDomain(domains, domain, { value: host, place: at.at('domains', number) })
    }
    return host
  })
  return place.finish({
    name: config.name,
    ignorePort: config.ignorePortInHostMatching,
    domains,
    hosts,
    origin: originOf(config.metadata),
  })
}

function refuseUnsupported(config: routeApi.RouteConfiguration, place: Place): void {
  if (config.vhds !== undefined) place.at('vhds').refuse('is not supported')
  if (config.vhostHeader !== '') place.at('vhost_header').refuse('is not supported')
  if (config.ignorePathParametersInPathMatching) {
    place.at('ignore_path_parameters_in_path_matching').refuse('is not supported')
  }
  for (const [index, { isOptional }] of config.clusterSpecifierPlugins.entries()) {
    if (!isOptional) place.at('cluster_specifier_plugins', index).refuse('is not supported')
  }
}

interface Level {
  readonly changes: Changes
  readonly overrides: FilterOverrides
  readonly defaults: ActionDefaults
  readonly specificLast: boolean
}

type ChangeFields = Pick<
  api.Route,
  | 'requestHeadersToAdd'
  | 'requestHeadersToRemove'
  | 'responseHeadersToAdd'
  | 'responseHeadersToRemove'
>

export function changesOf(fields: ChangeFields, place: Place): Changes {
  return {
    request: compileMutation(fields.requestHeadersToAdd, fields.requestHeadersToRemove, {
      add: place.at('request_headers_to_add'),
      remove: place.at('request_headers_to_remove'),
    }),
    response: compileMutation(fields.responseHeadersToAdd, fields.responseHeadersToRemove, {
      add: place.at('response_headers_to_add'),
      remove: place.at('response_headers_to_remove'),
    }),
  }
}

function compileHost(message: api.VirtualHost, table: Level, place: Place): VirtualHost {
  if (message.matcher !== undefined) place.at('matcher').refuse('is not supported')
  if (message.retryPolicyTypedConfig !== undefined) {
    place.at('retry_policy_typed_config').refuse('is not supported')
  }
  const { defaults } = table
  const mirrors = compileMirrors(message.requestMirrorPolicies, place)
  const level: HostLevel = {
    table,
    changes: changesOf(message, place),
    overrides: compileOverrides(message.typedPerFilterConfig, place),
    defaults: {
      ...defaults,
      retry: compileRetry(message.retryPolicy, place.at('retry_policy')),
      hedge: compileHedge(message.hedgePolicy),
      mirrors: mirrors.length > 0 ? mirrors : defaults.mirrors,
    },
  }
  const routes = message.routes.map((route, index) =>
    compileRoute(route, index, { level, place: place.at('routes', index) }),
  )
  const { ALL, EXTERNAL_ONLY } = api.VirtualHost_TlsRequirementType
  return {
    name: message.name,
    routes,
    paths:
      routes.length < limits.indexedRoutes
        ? undefined
        : new PathIndex(routes.map(({ match }) => match)),
    requireTls:
      message.requireTls === ALL
        ? 'all'
        : message.requireTls === EXTERNAL_ONLY
          ? 'external'
          : 'none',
    includeAttemptCount: message.includeRequestAttemptCount,
    includeAttemptCountInResponse: message.includeAttemptCountInResponse,
    origin: originOf(message.metadata),
  }
}

interface HostLevel {
  readonly table: Level
  readonly changes: Changes
  readonly overrides: FilterOverrides
  readonly defaults: ActionDefaults
}

function compileRoute(
  message: api.Route,
  index: number,
  { level, place }: { readonly level: HostLevel; readonly place: Place },
): Route {
  const match = compileMatch(message.match, place.at('match'))
  const changes = [changesOf(message, place), level.changes, level.table.changes]
  if (level.table.specificLast) changes.reverse()
  const own = compileOverrides(message.typedPerFilterConfig, place)
  return {
    name: message.name,
    index,
    match,
    action: compileAction(message.action, match, { defaults: level.defaults, place }),
    requestChanges: changes.flatMap(({ request }) => (request === undefined ? [] : [request])),
    responseChanges: changes.flatMap(({ response }) => (response === undefined ? [] : [response])),
    overrides: overrideChain([own, level.overrides, level.table.overrides]),
    origin: originOf(message.metadata),
    metadata: message.metadata?.filterMetadata,
    tracing: message.tracing,
    decorator: message.decorator,
    statPrefix: message.statPrefix,
  }
}

/** The virtual host that the authority of a request names. */
export function hostOf(table: RouteTable, authority: string): VirtualHost | undefined {
  return findHost(table.domains, authority, table.ignorePort)
}

/** The first route of a host, in order, that takes the request. */
export function routeOf(host: VirtualHost, exchange: Exchange): Route | undefined {
  const pathless = exchange.request.path === ''
  const { routes, paths } = host
  if (paths !== undefined) {
    const found = paths.first(exchange.path, pathless, (index) => {
      const match = routes[index]?.match
      if (match === undefined) return false
      return (match.pathKind !== 'other' || match.path.holds(exchange)) && match.rest(exchange)
    })
    return routes[found]
  }
  for (const route of routes) {
    const { match } = route
    if (pathless && !match.connect) continue
    if (match.path.holds(exchange) && match.rest(exchange)) return route
  }
  return undefined
}

/** Whether a host redirects the request to HTTPS, whatever its routes say. */
export function needsTls(host: VirtualHost, exchange: Exchange): boolean {
  if (host.requireTls === 'none') return false
  const scheme = exchange.header('x-forwarded-proto') ?? exchange.request.scheme
  if (scheme === 'https') return false
  return host.requireTls === 'all' || exchange.request.internal !== true
}

/** Vhost, route and cluster; undefined when there is no route. */
export function chooseRoute(table: RouteTable, exchange: Exchange): RouteChoice | undefined {
  const host = hostOf(table, exchange.request.authority)
  if (host === undefined || needsTls(host, exchange)) return undefined
  const route = routeOf(host, exchange)
  if (route === undefined) return undefined
  const { action } = route
  if (action.kind !== 'forward') return { host, route, target: undefined, cluster: '' }
  const target = action.choose(exchange)
  const cluster =
    target.cluster === '' ? (exchange.firstHeader(target.clusterHeader) ?? '') : target.cluster
  return { host, route, target, cluster }
}
