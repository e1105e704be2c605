/** HTTPRoutes as Envoy virtual hosts and routes, in the order that Gateway API prescribes. */
import type { HttpRoute, HttpRouteMatch, HttpRouteRule, Snapshot } from '../../model/index.ts'
import {
  routeComponents as api,
  regexMatcher,
  route as routeApi,
  stringMatcher,
} from '../../proto/envoy.ts'
import { create, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import { configPath } from '../provenance.ts'
import type { TranslatedResource } from '../types.ts'
import type { AttachedRoute } from './attach.ts'
import { type ClusterRef, resolveBackend } from './backends.ts'
import { duration } from './cluster.ts'
import { istioMetadata } from './metadata.ts'

/** The cluster of requests that go to a backend which does not exist: answered with 500. */
const unknownService = 'UnknownService'
const retryOn = 'connect-failure,refused-stream,unavailable,cancelled'
const retries = 2

export interface TranslatedRoutes {
  readonly resource: TranslatedResource
  readonly clusters: readonly ClusterRef[]
}

interface OrderedRoute {
  readonly route: HttpRoute
  readonly ruleIndex: number
  readonly match: HttpRouteMatch
  readonly message: api.Route
}

/** The route configuration of one port, from the routes of all its listeners. */
export function translateRoutes(
  snapshot: Snapshot,
  port: number,
  attached: readonly AttachedRoute[],
): TranslatedRoutes {
  const clusters = new Map<string, ClusterRef>()
  const hosts = new Map<string, OrderedRoute[]>()
  for (const { route, hostnames } of attached) {
    const routes = routesOf(snapshot, route, clusters)
    for (const host of new Set(hostnames)) {
      const list = hosts.get(host) ?? []
      list.push(...routes)
      hosts.set(host, list)
    }
  }
  const name = `http.${port}`
  const message = create(routeApi.RouteConfigurationSchema, {
    name,
    virtualHosts: [...hosts]
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([host, routes]) => virtualHost(host, port, routes)),
    ignorePortInHostMatching: true,
    validateClusters: false,
  })
  const resource = encodeResource({
    name,
    typeUrl: typeUrl.route,
    schema: routeApi.RouteConfigurationSchema,
    message,
  })
  return { resource, clusters: [...clusters.values()] }
}

function virtualHost(host: string, port: number, routes: readonly OrderedRoute[]): api.VirtualHost {
  const ordered = routes.toSorted(compareRoutes)
  // All routes of the host in one virtual host; it carries the provenance of the first.
  const first = ordered[0]
  return create(api.VirtualHostSchema, {
    name: `${host}:${port}`,
    domains: [host],
    routes: ordered.map(({ message }) => message),
    includeRequestAttemptCount: true,
    ...(first === undefined ? {} : { metadata: istioMetadata(routePath(first.route)) }),
  })
}

function routePath(route: HttpRoute): string {
  return configPath({
    group: 'gateway.networking.k8s.io',
    version: 'v1',
    kind: 'HTTPRoute',
    namespace: route.namespace,
    name: route.name,
  })
}

function routesOf(
  snapshot: Snapshot,
  route: HttpRoute,
  clusters: Map<string, ClusterRef>,
): OrderedRoute[] {
  return route.rules.flatMap((rule, ruleIndex) => {
    const action = actionOf(snapshot, route, rule, clusters)
    return rule.matches.map((match, matchIndex) => ({
      route,
      ruleIndex,
      match,
      message: create(api.RouteSchema, {
        name: `${route.namespace}.${route.name}.${ruleIndex}.${matchIndex}`,
        match: matchOf(match),
        action,
        metadata: istioMetadata(routePath(route), `/spec/rules/${ruleIndex}`),
      }),
    }))
  })
}

function matchOf(match: HttpRouteMatch): api.RouteMatch {
  const headers = match.headers.map(({ name, value, type }) => headerMatcher(name, value, type))
  if (match.method !== '') headers.push(headerMatcher(':method', match.method, 'Exact'))
  return create(api.RouteMatchSchema, {
    pathSpecifier: pathSpecifier(match.path),
    headers,
    queryParameters: match.queryParams.map(({ name, value, type }) =>
      create(api.QueryParameterMatcherSchema, {
        name,
        queryParameterMatchSpecifier: { case: 'stringMatch', value: valueMatcher(value, type) },
      }),
    ),
  })
}

function pathSpecifier(path: HttpRouteMatch['path']): api.RouteMatch['pathSpecifier'] {
  const { type, value } = path ?? { type: 'PathPrefix', value: '/' }
  if (type === 'Exact') return { case: 'path', value }
  if (type === 'RegularExpression') {
    return { case: 'safeRegex', value: create(regexMatcher.RegexMatcherSchema, { regex: value }) }
  }
  const trimmed = value.replace(/\/+$/, '')
  return trimmed === ''
    ? { case: 'prefix', value: '/' }
    : { case: 'pathSeparatedPrefix', value: trimmed }
}

function valueMatcher(value: string, type: string): stringMatcher.StringMatcher {
  return create(stringMatcher.StringMatcherSchema, {
    matchPattern:
      type === 'RegularExpression'
        ? { case: 'safeRegex', value: create(regexMatcher.RegexMatcherSchema, { regex: value }) }
        : { case: 'exact', value },
  })
}

function headerMatcher(name: string, value: string, type: string): api.HeaderMatcher {
  return create(api.HeaderMatcherSchema, {
    name: name.toLowerCase(),
    headerMatchSpecifier: { case: 'stringMatch', value: valueMatcher(value, type) },
  })
}

function actionOf(
  snapshot: Snapshot,
  route: HttpRoute,
  rule: HttpRouteRule,
  clusters: Map<string, ClusterRef>,
): api.Route['action'] {
  const backends = rule.backendRefs.map((backend) => resolveBackend(snapshot, route, backend))
  const weight = backends.reduce((sum, backend) => sum + backend.weight, 0)
  const usable = backends.some((backend) => backend.problem === undefined && backend.weight > 0)
  // Filters that this translation does not know must not be skipped silently.
  if (weight === 0 || !usable || rule.filters.length > 0) {
    return {
      case: 'directResponse',
      value: create(api.DirectResponseActionSchema, { status: 500 }),
    }
  }
  const weighted: { name: string; weight: number }[] = []
  for (const backend of backends) {
    if (backend.weight === 0) continue
    if (backend.problem === undefined) clusters.set(backend.cluster.name, backend.cluster)
    const name = backend.problem === undefined ? backend.cluster.name : unknownService
    weighted.push({ name, weight: backend.weight })
  }
  const [only] = weighted
  const { requestMs, backendRequestMs } = rule.timeouts
  return {
    case: 'route',
    value: create(api.RouteActionSchema, {
      clusterSpecifier:
        weighted.length === 1 && only !== undefined
          ? { case: 'cluster', value: only.name }
          : {
              case: 'weightedClusters',
              value: create(api.WeightedClusterSchema, { clusters: weighted }),
            },
      clusterNotFoundResponseCode:
        api.RouteAction_ClusterNotFoundResponseCode.INTERNAL_SERVER_ERROR,
      timeout: duration(requestMs ?? backendRequestMs ?? 0),
      retryPolicy: create(api.RetryPolicySchema, { retryOn, numRetries: retries }),
    }),
  }
}

/** Kind of path match, longest path, method, most headers, most parameters, oldest route, name, rule. */
function compareRoutes(left: OrderedRoute, right: OrderedRoute): number {
  const rank = ({ match }: OrderedRoute): number[] => [
    pathRank(match),
    match.path?.value.length ?? 0,
    match.method === '' ? 0 : 1,
    match.headers.length,
    match.queryParams.length,
  ]
  const rightRank = rank(right)
  for (const [index, value] of rank(left).entries()) {
    const difference = (rightRank[index] ?? 0) - value
    if (difference !== 0) return difference
  }
  if (left.route.createdAt !== right.route.createdAt)
    return left.route.createdAt - right.route.createdAt
  const leftKey = `${left.route.namespace}/${left.route.name}`
  const rightKey = `${right.route.namespace}/${right.route.name}`
  if (leftKey !== rightKey) return leftKey < rightKey ? -1 : 1
  return left.ruleIndex - right.ruleIndex
}

/** What matches everything comes last, also after regular expressions, which would be lost behind it. */
function pathRank({ path, method, headers, queryParams }: HttpRouteMatch): number {
  if (path?.type === 'Exact') return 3
  if (path?.type === 'RegularExpression') return 1
  const hasOther = method !== '' || headers.length > 0 || queryParams.length > 0
  return path?.value === '/' && !hasOther ? 0 : 2
}
