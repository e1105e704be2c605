/**
 * Which routes hang on which listener of a Gateway: parentRef, port, protocol, namespace and host name
 * must fit. The answer feeds the status that users read, so a refusal carries its reason in words.
 */
import type {
  ConfigObject,
  Gateway,
  GRPCRouteSpec,
  HTTPRouteSpec,
  ParentRefSpec,
  RouteKind,
  TCPRouteSpec,
  TLSRouteSpec,
} from '../../../model/index.ts'
import { olderFirst, type Reader } from '../../reader.ts'
import { covers, intersectHosts, mostSpecific, overlaps } from '../lookup/hosts.ts'
import {
  admitsRoutesFrom,
  controllerOf,
  type GatewayListener,
  gatewayController,
  gatewayListeners,
} from './gateway-listeners.ts'

export { gatewayController } from './gateway-listeners.ts'

/** Any of the four kinds, as the user wrote it. */
export type RouteObject =
  | { readonly kind: 'HTTPRoute'; readonly object: ConfigObject<HTTPRouteSpec> }
  | { readonly kind: 'GRPCRoute'; readonly object: ConfigObject<GRPCRouteSpec> }
  | { readonly kind: 'TLSRoute'; readonly object: ConfigObject<TLSRouteSpec> }
  | { readonly kind: 'TCPRoute'; readonly object: ConfigObject<TCPRouteSpec> }

export interface AttachedRoute {
  readonly route: RouteObject
  /** Host names served, after intersection with the listener's; `*` for all. */
  readonly hostnames: readonly string[]
}

export type RefusalReason =
  | 'NoMatchingParent'
  | 'NotAllowedByListeners'
  | 'NoMatchingListenerHostname'
  | 'ParentRefConflict'

export interface Refusal {
  readonly reason: RefusalReason
  readonly message: string
}

/** How one parentRef fared: the listeners that took the route, else why none did. */
export interface ParentOutcome {
  readonly bound: number
  readonly refusal: Refusal | undefined
}

export interface ListenerAttachment extends GatewayListener {
  readonly routes: readonly AttachedRoute[]
}

export interface GatewayAttachment {
  readonly gateway: Gateway
  readonly listeners: readonly ListenerAttachment[]
  /** By `<Kind>/<namespace>/<name>|<index of the parentRef>`. */
  readonly outcomes: ReadonlyMap<string, ParentOutcome>
}

/** Whether the proxies of the Gateway are ours to deploy and to configure with routes. */
export function isServed(reader: Reader, gateway: Gateway): boolean {
  return controllerOf(reader, gateway) === gatewayController
}

/** @param name `<Kind>/<namespace>/<name>` */
export function routeNamed(reader: Reader, name: string): RouteObject | undefined {
  const [kind = '', namespace = '', object = ''] = name.split('/')
  if (kind === 'HTTPRoute') {
    const found = reader.httpRoute(`${namespace}/${object}`)
    return found === undefined ? undefined : { kind, object: found.config }
  }
  if (kind !== 'GRPCRoute' && kind !== 'TLSRoute' && kind !== 'TCPRoute') return undefined
  const found = reader.config(kind, namespace, object)
  // The kind of the slot is the object's.
  return found === undefined ? undefined : ({ kind, object: found } as RouteObject)
}

/** Host names that a route asks for; kinds without any ask for all. */
export function routeHostnames({ kind, object }: RouteObject): readonly string[] {
  const wanted = kind === 'TCPRoute' ? [] : (object.spec.hostnames ?? [])
  return wanted.length === 0 ? ['*'] : wanted
}

export function attachRoutes(reader: Reader, gateway: Gateway): GatewayAttachment {
  const key = `${gateway.namespace}/${gateway.name}`
  return reader.memo(`gateway-routes/${key}`, (inner) => {
    const listeners = gatewayListeners(inner, gateway)
    const table = new Attachments(inner, listeners)
    for (const route of candidateRoutes(inner, listeners)) table.add(route)
    return {
      gateway,
      listeners: listeners.map((listener) => ({ ...listener, routes: table.routesOf(listener) })),
      outcomes: table.outcomes,
    }
  })
}

/** Every route that names an owner of the listeners, oldest first. */
function candidateRoutes(reader: Reader, listeners: readonly GatewayListener[]): RouteObject[] {
  const owners = new Set(listeners.map(({ owner }) => ownerKey(owner)))
  const names = new Set([...owners].flatMap((owner) => reader.routesOfParent(owner)))
  return [...names]
    .flatMap((name) => routeNamed(reader, name) ?? [])
    .toSorted((left, right) => olderFirst(left.object, right.object))
}

const ownerKey = ({ kind, namespace, name }: GatewayListener['owner']): string =>
  `${kind}|${namespace}/${name}`

/** What users should read when several listeners refuse a route for different reasons. */
const ranking: readonly RefusalReason[] = [
  'NotAllowedByListeners',
  'NoMatchingListenerHostname',
  'ParentRefConflict',
  'NoMatchingParent',
]

class Attachments {
  readonly outcomes = new Map<string, ParentOutcome>()
  readonly #reader: Reader
  readonly #listeners: readonly GatewayListener[]
  readonly #attached = new Map<GatewayListener, AttachedRoute[]>()
  /** By listener and host name: which kind of HTTP route came first. */
  readonly #firstKind = new Map<GatewayListener, Map<string, RouteObject>>()

  constructor(reader: Reader, listeners: readonly GatewayListener[]) {
    this.#reader = reader
    this.#listeners = listeners
  }

  routesOf(listener: GatewayListener): readonly AttachedRoute[] {
    return this.#attached.get(listener) ?? []
  }

  add(route: RouteObject): void {
    const { kind, object } = route
    const name = `${kind}/${object.namespace}/${object.name}`
    for (const [index, parent] of (object.spec.parentRefs ?? []).entries()) {
      const target = parentKey(parent, object.namespace)
      const candidates = this.#listeners.filter(({ owner }) => ownerKey(owner) === target)
      if (candidates.length > 0) {
        this.outcomes.set(`${name}|${index}`, this.#attach(route, parent, candidates))
      }
    }
  }

  #attach(
    route: RouteObject,
    parent: ParentRefSpec,
    candidates: readonly GatewayListener[],
  ): ParentOutcome {
    const refusals: Refusal[] = []
    let bound = 0
    for (const listener of candidates) {
      const found = this.#hostnames(route, parent, listener)
      if ('reason' in found) {
        refusals.push(found)
        continue
      }
      bound++
      const attached = this.#attached.get(listener) ?? []
      if (attached.every((other) => other.route.object !== route.object)) {
        attached.push({ route, hostnames: found.hostnames })
      }
      this.#attached.set(listener, attached)
    }
    return { bound, refusal: bound > 0 ? undefined : worst(refusals) }
  }

  /** The host names under which a listener serves a route, or why it does not. */
  #hostnames(
    route: RouteObject,
    parent: ParentRefSpec,
    listener: GatewayListener,
  ): { readonly hostnames: readonly string[] } | Refusal {
    const { spec, fault, kinds } = listener
    if (parent.port !== undefined && parent.port !== spec.port) {
      return { reason: 'NoMatchingParent', message: `port ${parent.port} not found` }
    }
    if (parent.sectionName !== undefined && parent.sectionName !== spec.name) {
      const message = `sectionName "${parent.sectionName}" not found`
      return { reason: 'NoMatchingParent', message }
    }
    if (fault !== undefined && fault.reason !== 'UnsupportedProtocol') {
      return {
        reason: 'NotAllowedByListeners',
        message: `listener "${spec.name}" is not served: ${fault.reason}`,
      }
    }
    const own = spec.hostname || '*'
    const wanted = routeHostnames(route)
    if (!wanted.some((host) => overlaps(own, host))) {
      const message = `no hostnames matched parent hostname "${spec.hostname ?? ''}"`
      return { reason: 'NoMatchingListenerHostname', message }
    }
    const { namespace } = route.object
    if (!admitsRoutesFrom(this.#reader, listener, namespace)) {
      const matched = `hostnames matched parent hostname "${spec.hostname ?? ''}"`
      const message = `${matched}, but namespace "${namespace}" is not allowed by the parent`
      return { reason: 'NotAllowedByListeners', message }
    }
    if (!kinds.includes(route.kind)) {
      const message = `kind gateway.networking.k8s.io/v1/${route.kind} is not allowed`
      return { reason: 'NotAllowedByListeners', message }
    }
    return this.#withoutRivals(route, listener, this.#isolated(listener, own, wanted))
  }

  /** What both have in common, without what a more specific listener of the port has for itself. */
  #isolated(listener: GatewayListener, own: string, wanted: readonly string[]): string[] {
    const { spec } = listener
    const others = this.#listeners
      .filter((other) => other.fault === undefined && other.spec.port === spec.port)
      .filter((other) => other.spec.protocol === spec.protocol)
      .map((other) => other.spec.hostname || '*')
    return intersectHosts([own], wanted).filter((host) => {
      const nearest = mostSpecific(others, host)
      return nearest === undefined || nearest === own || covers(nearest, own)
    })
  }

  /** HTTPRoutes and GRPCRoutes do not share a host name: the kind that had it first keeps it. */
  #withoutRivals(
    route: RouteObject,
    listener: GatewayListener,
    hostnames: readonly string[],
  ): { readonly hostnames: readonly string[] } | Refusal {
    if (!isHttp(route.kind)) return { hostnames }
    const firstKind = this.#firstKind.get(listener) ?? new Map<string, RouteObject>()
    this.#firstKind.set(listener, firstKind)
    const rivals = hostnames.flatMap((host) => {
      const first = firstKind.get(host)
      return first === undefined || first.kind === route.kind ? [] : [{ host, first }]
    })
    const left = hostnames.filter((host) => rivals.every((rival) => rival.host !== host))
    const [rival] = rivals
    if (left.length === 0 && rival !== undefined) {
      const { kind, object } = rival.first
      const message = `hostname "${rival.host}" belongs to the older ${kind} ${object.namespace}/${object.name} on the same listener`
      return { reason: 'ParentRefConflict', message }
    }
    for (const host of left) if (!firstKind.has(host)) firstKind.set(host, route)
    return { hostnames: left }
  }
}

const isHttp = (kind: RouteKind): boolean => kind === 'HTTPRoute' || kind === 'GRPCRoute'

/** `<Kind>|<namespace>/<name>` of what a parentRef names. */
export function parentKey(parent: ParentRefSpec, namespace: string): string {
  return `${parent.kind ?? 'Gateway'}|${parent.namespace ?? namespace}/${parent.name ?? ''}`
}

function worst(refusals: readonly Refusal[]): Refusal | undefined {
  const reason = ranking.find((candidate) => refusals.some((one) => one.reason === candidate))
  if (reason === undefined) return undefined
  const messages = refusals.filter((one) => one.reason === reason).map(({ message }) => message)
  return { reason, message: [...new Set(messages)].join('; ') }
}
