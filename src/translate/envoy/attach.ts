/**
 * Which routes hang on which listener of a Gateway: parentRef, protocol, namespace and hostname
 * must fit. The answer feeds both the translation and the status that users read.
 */
import {
  type Gateway,
  type HttpRoute,
  type Listener,
  type ParentRef,
  type Snapshot,
  selects,
} from '../../model/index.ts'

/** The Gateways that this control plane serves with deployed proxies. */
export const gatewayController = 'istio.io/gateway-controller'

export interface AttachedRoute {
  readonly route: HttpRoute
  /** Host names served, after intersection with the listener's; `*` for all. */
  readonly hostnames: readonly string[]
}

export type RefusalReason =
  | 'NoMatchingParent'
  | 'NotAllowedByListeners'
  | 'NoMatchingListenerHostname'

export interface ListenerAttachment {
  readonly listener: Listener
  /** Undefined when the listener works; else why it does not. */
  readonly problem: 'UnsupportedProtocol' | 'HostnameConflict' | undefined
  readonly routes: readonly AttachedRoute[]
}

export interface GatewayAttachment {
  readonly gateway: Gateway
  readonly listeners: readonly ListenerAttachment[]
  /** By `<route key>|<index of the parentRef>`: undefined when some listener took the route. */
  readonly routes: ReadonlyMap<string, RefusalReason | undefined>
}

export function isServed(snapshot: Snapshot, gateway: Gateway): boolean {
  const found = snapshot.objects.GatewayClass.get(gateway.className)
  return found?.controllerName === gatewayController
}

export function attachRoutes(snapshot: Snapshot, gateway: Gateway): GatewayAttachment {
  const attached = new Map<Listener, AttachedRoute[]>()
  const outcomes = new Map<string, RefusalReason | undefined>()
  const gatewayKey = `${gateway.namespace}/${gateway.name}`
  for (const routeKey of snapshot.indexes.routes.get(gatewayKey) ?? []) {
    const route = snapshot.objects.HTTPRoute.get(routeKey)
    if (route === undefined) continue
    for (const [index, parent] of route.parentRefs.entries()) {
      if (parent.kind !== 'Gateway' || `${parent.namespace}/${parent.name}` !== gatewayKey) continue
      outcomes.set(`${routeKey}|${index}`, attachOne(snapshot, gateway, route, parent, attached))
    }
  }
  const listeners = gateway.listeners.map((listener, index) => ({
    listener,
    problem: problemOf(gateway, listener, index),
    routes: attached.get(listener) ?? [],
  }))
  return { gateway, listeners, routes: outcomes }
}

function problemOf(
  gateway: Gateway,
  listener: Listener,
  index: number,
): ListenerAttachment['problem'] {
  if (listener.protocol !== 'HTTP') return 'UnsupportedProtocol'
  const twin = gateway.listeners.findIndex(
    (other) => other.port === listener.port && other.hostname === listener.hostname,
  )
  return twin < index ? 'HostnameConflict' : undefined
}

function attachOne(
  snapshot: Snapshot,
  gateway: Gateway,
  route: HttpRoute,
  parent: ParentRef,
  attached: Map<Listener, AttachedRoute[]>,
): RefusalReason | undefined {
  let reason: RefusalReason | undefined = 'NoMatchingParent'
  for (const [index, listener] of gateway.listeners.entries()) {
    if (parent.sectionName !== '' && parent.sectionName !== listener.name) continue
    if (parent.port !== undefined && parent.port !== listener.port) continue
    if (problemOf(gateway, listener, index) !== undefined) continue
    if (!admits(snapshot, gateway, listener, route)) {
      if (reason === 'NoMatchingParent') reason = 'NotAllowedByListeners'
      continue
    }
    const hostnames = commonHostnames(listener.hostname, route.hostnames)
    if (hostnames.length === 0) {
      if (reason !== undefined) reason = 'NoMatchingListenerHostname'
      continue
    }
    reason = undefined
    const routes = attached.get(listener) ?? []
    if (!routes.some((other) => other.route === route)) routes.push({ route, hostnames })
    attached.set(listener, routes)
  }
  return reason
}

function admits(
  snapshot: Snapshot,
  gateway: Gateway,
  listener: Listener,
  route: HttpRoute,
): boolean {
  if (listener.allowedKinds.length > 0 && !listener.allowedKinds.includes('HTTPRoute')) return false
  const { from, matchLabels } = listener.namespaces
  if (from === 'All') return true
  if (from === 'Same') return route.namespace === gateway.namespace
  return selects(matchLabels, snapshot.objects.Namespace.get(route.namespace)?.labels ?? {})
}

/** The more specific of each pair that overlaps; an absent name means any host. */
function commonHostnames(listener: string, routes: readonly string[]): string[] {
  if (routes.length === 0) return [listener === '' ? '*' : listener]
  if (listener === '') return [...routes]
  return routes.flatMap((host) => {
    if (covers(listener, host)) return host
    return covers(host, listener) ? listener : []
  })
}

/** `*.example.com` covers every host below it, however deep, and itself. */
function covers(pattern: string, host: string): boolean {
  if (pattern === host) return true
  return pattern.startsWith('*.') && host.endsWith(pattern.slice(1))
}
