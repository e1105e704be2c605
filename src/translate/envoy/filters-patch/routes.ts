/** Patches of route configurations, their virtual hosts and routes. */
import type { EnvoyContext } from '../../../model/index.ts'
import type { route as routeApi, routeComponents } from '../../../proto/envoy.ts'
import type { ProxyView } from '../proxy.ts'
import { patchList } from './lists.ts'
import { routePort } from './names.ts'
import { isContext, merge, type Patcher, valueOf } from './patcher.ts'
import type { Patch, PatchTarget } from './select.ts'

type RouteConfiguration = routeApi.RouteConfiguration
type VirtualHost = routeComponents.VirtualHost
type Route = routeComponents.Route

/** Who serves a route configuration of a gateway. */
export interface RouteOwner {
  /** `<namespace>/<name>` of a Gateway. */
  readonly gateway: string
  readonly portName: string
}

export function routeContext(name: string, { kind }: ProxyView): EnvoyContext {
  if (kind === 'gateway') return 'GATEWAY'
  if (kind === 'waypoint') return 'WAYPOINT'
  return name.startsWith('inbound|') || name.startsWith('Inbound')
    ? 'SIDECAR_INBOUND'
    : 'SIDECAR_OUTBOUND'
}

export function patchRoutes(
  patcher: Patcher,
  given: RouteConfiguration,
  owners: readonly RouteOwner[],
): RouteConfiguration {
  const context = routeContext(given.name, patcher.view)
  const own = (target: PatchTarget): Patch[] =>
    patcher.patches.filter(
      (patch) =>
        patch.target === target &&
        isContext(patch, context) &&
        isConfiguration(patch, given.name, owners),
    )
  let routes = given
  for (const patch of own('ROUTE_CONFIGURATION')) {
    routes = merge(patcher, 'envoy.config.route.v3.RouteConfiguration', routes, patch)
  }
  for (const patch of own('VIRTUAL_HOST')) {
    routes.virtualHosts = [
      ...patchList(routes.virtualHosts, {
        operation: patch.operation,
        value: valueOf<VirtualHost>(patch),
        selects: (host) => isHost(patch, host),
        merge: (host) => merge(patcher, 'envoy.config.route.v3.VirtualHost', host, patch),
        end: ({ length }) => length,
      }),
    ]
  }
  for (const patch of own('HTTP_ROUTE')) {
    for (const host of routes.virtualHosts) {
      if (isHost(patch, host)) host.routes = [...patchRouteList(patcher, host.routes, patch)]
    }
  }
  return routes
}

function patchRouteList(
  patcher: Patcher,
  routes: readonly Route[],
  patch: Patch,
): readonly Route[] {
  const { waypoint, routeConfiguration } = patch.match
  const isNamed = (routeConfiguration?.vhost?.route ?? waypoint?.route) !== undefined
  return patchList(routes, {
    operation: patch.operation,
    value: valueOf<Route>(patch),
    selects: isNamed ? (route) => isRoute(patch, route) : undefined,
    merge: (route) => merge(patcher, 'envoy.config.route.v3.Route', route, patch),
    end: ({ length }) => length,
  })
}

function isConfiguration({ match }: Patch, name: string, owners: readonly RouteOwner[]): boolean {
  const wanted = match.routeConfiguration ?? {}
  const { name: wantedName = '', portNumber = 0, gateway = '', portName = '' } = wanted
  const port = portNumber || (match.waypoint?.portNumber ?? 0)
  return (
    (wantedName === '' || wantedName === name) &&
    (port === 0 || port === routePort(name)) &&
    (gateway === '' || owners.some((owner) => owner.gateway === gateway)) &&
    (portName === '' || owners.some((owner) => owner.portName === portName))
  )
}

function isHost({ match }: Patch, host: VirtualHost): boolean {
  const { name = '', domainName = '' } = match.routeConfiguration?.vhost ?? {}
  return (
    (name === '' || name === host.name) && (domainName === '' || host.domains.includes(domainName))
  )
}

const actions = {
  ROUTE: 'route',
  REDIRECT: 'redirect',
  DIRECT_RESPONSE: 'directResponse',
} as const

function isRoute({ match }: Patch, route: Route): boolean {
  const wanted = match.routeConfiguration?.vhost?.route ?? {}
  const { name = match.waypoint?.route?.name ?? '', action = 'ANY' } = wanted
  const isAction = action === 'ANY' || route.action.case === actions[action]
  return isAction && (name === '' || name === route.name)
}
