/** Updates by Gateway API objects. */
import { touchRouteParents } from './apply-workloads.ts'
import type { Draft } from './draft.ts'
import type { Gateway, GatewayClass, HttpRoute, ReferenceGrant } from './gateway-types.ts'

export function applyGatewayClass(
  draft: Draft,
  key: string,
  _previous: GatewayClass | undefined,
  _next: GatewayClass | undefined,
): void {
  for (const gateway of draft.reverse.gatewaysByClass.get(key)) {
    draft.touched.gateways.add(gateway)
    touchWaypointUsers(draft, gateway)
  }
}

export function applyGateway(
  draft: Draft,
  key: string,
  previous: Gateway | undefined,
  next: Gateway | undefined,
): void {
  const { reverse } = draft
  const classOf = (gateway: Gateway | undefined): string[] =>
    gateway === undefined ? [] : [gateway.className]
  reverse.gatewaysByClass.move(key, classOf(previous), classOf(next))
  const bySelector = next?.listeners.some((listener) => listener.namespaces.from === 'Selector')
  if (bySelector === true) reverse.gatewaysBySelector.add(key)
  else reverse.gatewaysBySelector.delete(key)
  draft.touched.gateways.add(key)
  touchWaypointUsers(draft, key)
}

/** Services and workloads that go through the Gateway as their waypoint. */
function touchWaypointUsers(draft: Draft, gatewayKey: string): void {
  const { reverse, touched } = draft
  for (const user of reverse.waypointUsers.get(gatewayKey)) {
    const name = user.slice(2)
    if (user.startsWith('w|')) touched.workloads.add(name)
    else if (user.startsWith('s|')) touched.services.add(name)
    else {
      for (const uid of reverse.workloadsByNamespace.get(name)) touched.workloads.add(uid)
      for (const service of reverse.servicesByNamespace.get(name)) touched.services.add(service)
    }
  }
}

export function applyHttpRoute(
  draft: Draft,
  key: string,
  previous: HttpRoute | undefined,
  next: HttpRoute | undefined,
): void {
  const { reverse, touched } = draft
  draft.moveIndex('routes', key, parents(previous), parents(next))
  reverse.routesByBackend.move(key, backends(previous), backends(next))
  const namespaceOf = (route: HttpRoute | undefined): string[] =>
    route === undefined ? [] : [route.namespace]
  reverse.routesByNamespace.move(key, namespaceOf(previous), namespaceOf(next))
  for (const gateway of [...parents(previous), ...parents(next)]) touched.gateways.add(gateway)
}

function parents(route: HttpRoute | undefined): string[] {
  const keys = new Set<string>()
  for (const parent of route?.parentRefs ?? []) {
    if (parent.kind === 'Gateway') keys.add(`${parent.namespace}/${parent.name}`)
  }
  return [...keys]
}

function backends(route: HttpRoute | undefined): string[] {
  const keys = new Set<string>()
  for (const rule of route?.rules ?? []) {
    for (const backend of rule.backendRefs) {
      if (backend.kind === 'Service') keys.add(`${backend.namespace}/${backend.name}`)
    }
  }
  return [...keys]
}

export function applyReferenceGrant(
  draft: Draft,
  key: string,
  previous: ReferenceGrant | undefined,
  next: ReferenceGrant | undefined,
): void {
  const namespaceOf = (grant: ReferenceGrant | undefined): string[] =>
    grant === undefined ? [] : [grant.namespace]
  draft.moveIndex('grants', key, namespaceOf(previous), namespaceOf(next))
  for (const grant of [previous, next]) {
    for (const from of grant?.from ?? []) {
      for (const route of draft.reverse.routesByNamespace.get(from.namespace)) {
        touchRouteParents(draft, route)
      }
    }
  }
}
