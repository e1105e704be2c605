/** Updates by Gateway API objects. */
import type { Draft } from './draft.ts'
import type { Kinds } from './events.ts'
import type { Gateway, GatewayClass, ReferenceGrant } from './gateway-types.ts'
import type { BackendRefSpec, ConfigObject, ListenerSetSpec, ParentRefSpec } from './istio/index.ts'

const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'] as const
export type RouteKind = (typeof routeKinds)[number]

export function applyGatewayClass(
  draft: Draft,
  key: string,
  _previous: GatewayClass | undefined,
  _next: GatewayClass | undefined,
): void {
  for (const gateway of draft.reverse.gatewaysByClass.get(key)) {
    draft.touched.gateways.add(gateway)
    touchWaypointUsers(draft, gateway)
    touchInstances(draft, gateway)
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
  if (bindingOf(previous) !== bindingOf(next)) touchInstances(draft, key)
}

const bindingAnnotation = 'ambient.istio.io/waypoint-inbound-binding'

function bindingOf(gateway: Gateway | undefined): string {
  if (gateway === undefined) return ''
  const { className, config, statusAddresses } = gateway
  return `${className} ${config.annotations[bindingAnnotation]} ${statusAddresses.length > 0}`
}

/** The pods of a Gateway: how connections are handed to them is its say. */
function touchInstances(draft: Draft, gatewayKey: string): void {
  const [namespace = '', name = ''] = gatewayKey.split('/')
  const selector = { 'gateway.networking.k8s.io/gateway-name': name }
  for (const uid of draft.selected(namespace, selector)) draft.touched.workloads.add(uid)
}

/** Services and workloads that go through the Gateway as their waypoint. */
function touchWaypointUsers(draft: Draft, gatewayKey: string): void {
  const { reverse, touched } = draft
  for (const user of reverse.waypointUsers.get(gatewayKey)) {
    const name = user.slice(2)
    if (user.startsWith('w|')) touched.workloads.add(name)
    else if (user.startsWith('s|')) touchService(draft, name)
    else {
      for (const uid of reverse.workloadsByNamespace.get(name)) touched.workloads.add(uid)
      for (const service of reverse.servicesByNamespace.get(name)) touchService(draft, service)
    }
  }
}

/** A service whose waypoint changed; its workloads may list a policy which lets the waypoint in. */
function touchService(draft: Draft, key: string): void {
  draft.touched.services.add(key)
  const service = draft.services.get(key)
  if (draft.base.autoAllowWaypoints !== true || service === undefined) return
  for (const uid of draft.indexes.boundWorkloads.get(key) ?? []) draft.touched.workloads.add(uid)
  if (service.selector === undefined) return
  for (const uid of draft.selected(service.namespace, service.selector)) {
    draft.touched.workloads.add(uid)
  }
}

/** What all four kinds of routes have, as far as joins go. */
interface RouteConfig {
  readonly namespace: string
  readonly spec: {
    readonly parentRefs?: readonly ParentRefSpec[]
    readonly rules?: readonly { readonly backendRefs?: readonly BackendRefSpec[] }[]
  }
}

function routeConfig(value: Kinds[RouteKind] | undefined): RouteConfig | undefined {
  if (value === undefined) return undefined
  return 'config' in value ? value.config : value
}

/** The applier of one kind of route. */
export function applyRoute<K extends RouteKind>(kind: K) {
  return (
    draft: Draft,
    key: string,
    previous: Kinds[K] | undefined,
    next: Kinds[K] | undefined,
  ): void => {
    const { reverse } = draft
    const name = `${kind}/${key}`
    const [before, after] = [routeConfig(previous), routeConfig(next)]
    const [parentsBefore, parentsAfter] = [parents(before), parents(after)]
    draft.moveIndex('routesByParent', name, parentsBefore, parentsAfter)
    if (kind === 'HTTPRoute') {
      draft.moveIndex('routes', key, gatewaysOf(parentsBefore), gatewaysOf(parentsAfter))
    }
    reverse.routesByBackend.move(name, backends(before), backends(after))
    const namespaceOf = (route: RouteConfig | undefined): string[] =>
      route === undefined ? [] : [route.namespace]
    reverse.routesByNamespace.move(name, namespaceOf(before), namespaceOf(after))
    touchParents(draft, [...parentsBefore, ...parentsAfter])
  }
}

/** `<Kind>|<namespace>/<name>` */
function parents(route: RouteConfig | undefined): string[] {
  if (route === undefined) return []
  const keys = (route.spec.parentRefs ?? []).map((parent) => parentKey(parent, route.namespace))
  return [...new Set(keys)]
}

function parentKey(parent: ParentRefSpec, namespace: string): string {
  const { kind = 'Gateway', name = '' } = parent
  return `${kind}|${parent.namespace ?? namespace}/${name}`
}

function gatewaysOf(parentKeys: readonly string[]): string[] {
  return parentKeys.flatMap((key) => (key.startsWith('Gateway|') ? [key.slice(8)] : []))
}

/** Gateways that are parents themselves or through a ListenerSet. */
function touchParents(draft: Draft, parentKeys: readonly string[]): void {
  for (const key of parentKeys) draft.touched.parents.add(key)
  for (const gateway of gatewaysOf(parentKeys)) draft.touched.gateways.add(gateway)
  for (const key of parentKeys) {
    if (!key.startsWith('ListenerSet|')) continue
    const set = draft.objects.ListenerSet.get(key.slice('ListenerSet|'.length))
    for (const gateway of gatewaysOf(listenerSetParents(set))) draft.touched.gateways.add(gateway)
  }
}

/** @param name `<Kind>/<namespace>/<name>` of a route */
export function touchRouteParents(draft: Draft, name: string): void {
  const slash = name.indexOf('/')
  const kind = routeKinds.find((candidate) => candidate === name.slice(0, slash))
  if (kind === undefined) return
  touchParents(draft, parents(routeConfig(draft.objects[kind].get(name.slice(slash + 1)))))
}

function backends(route: RouteConfig | undefined): string[] {
  const keys = new Set<string>()
  for (const rule of route?.spec.rules ?? []) {
    for (const backend of rule.backendRefs ?? []) {
      if ((backend.kind ?? 'Service') !== 'Service') continue
      keys.add(`${backend.namespace ?? route?.namespace ?? ''}/${backend.name ?? ''}`)
    }
  }
  return [...keys]
}

export function applyListenerSet(
  draft: Draft,
  key: string,
  previous: ConfigObject<ListenerSetSpec> | undefined,
  next: ConfigObject<ListenerSetSpec> | undefined,
): void {
  const [before, after] = [listenerSetParents(previous), listenerSetParents(next)]
  draft.moveIndex('routesByParent', `ListenerSet/${key}`, before, after)
  touchParents(draft, [...before, ...after])
}

function listenerSetParents(set: ConfigObject<ListenerSetSpec> | undefined): string[] {
  const parent = set?.spec.parentRef
  return set === undefined || parent === undefined ? [] : [parentKey(parent, set.namespace)]
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
      const gateways = draft.indexes.configsByNamespace.get(`Gateway|${from.namespace}`) ?? []
      for (const gateway of gateways) draft.touched.gateways.add(gateway)
    }
  }
}
