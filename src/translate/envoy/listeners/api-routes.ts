/** Which routes of Gateway API a listener serves, and with which host names. */
import {
  type ConfigObject,
  type Gateway,
  type ListenerSpec,
  matchesSelector,
  type ParentRefSpec,
  type SelectorSpec,
  type StreamRouteRuleSpec,
} from '../../../model/index.ts'
import { olderFirst, type Reader } from '../../reader.ts'
import { covers, intersectHosts, mostSpecific } from '../lookup/hosts.ts'
import type { AttachedRules } from '../routes/gateway.ts'
import type { AttachedStream } from './gateway-server.ts'

/** A listener and the object it stands in. */
export interface PlacedListener {
  readonly spec: ListenerSpec
  readonly owner: ConfigObject<unknown>
  readonly path: string
  readonly index: number
  /** Of the Gateway whose proxies serve it. */
  readonly gateway: Gateway
}

export interface AttachedRoutes {
  readonly http: readonly AttachedRules[]
  readonly streams: readonly AttachedStream[]
}

interface RouteShape {
  readonly rules?: readonly StreamRouteRuleSpec[]
  readonly parentRefs?: readonly ParentRefSpec[]
  readonly hostnames?: readonly string[]
}

/** By the listener's protocol. */
const kindsOf: Readonly<Record<string, readonly string[]>> = {
  HTTP: ['HTTPRoute', 'GRPCRoute'],
  HTTPS: ['HTTPRoute', 'GRPCRoute'],
  TLS: ['TLSRoute', 'TCPRoute'],
  TCP: ['TCPRoute'],
}

/** @param all the listeners of the same Gateway and its sets, which may be more specific */
export function attachedTo(
  reader: Reader,
  listener: PlacedListener,
  all: readonly PlacedListener[],
): AttachedRoutes {
  const { spec, owner } = listener
  const kinds = allowedKinds(listener)
  const parent = `${owner.kind}|${owner.namespace}/${owner.name}`
  const http: AttachedRules[] = []
  const streams: AttachedStream[] = []
  for (const name of reader.routesOfParent(parent)) {
    const [kind = '', namespace = '', object = ''] = name.split('/')
    if (!kinds.includes(kind) || !admits(reader, listener, namespace)) continue
    const route = routeOf(reader, kind, namespace, object)
    if (route === undefined || !namesListener(route, listener)) continue
    const hostnames = hostnamesOf(listener, route.spec.hostnames ?? [], all)
    if (hostnames.length === 0) continue
    if (kind === 'HTTPRoute') {
      const found = reader.httpRoute(`${namespace}/${object}`)
      if (found !== undefined) http.push({ route: { kind, object: found.config }, hostnames })
    } else if (kind === 'GRPCRoute') {
      const found = reader.config('GRPCRoute', namespace, object)
      if (found !== undefined) http.push({ route: { kind, object: found }, hostnames })
    } else streams.push({ object: route, hostnames })
  }
  // Of several TCPRoutes the oldest has the listener.
  const sorted = streams.toSorted((left, right) => olderFirst(left.object, right.object))
  return { http, streams: spec.protocol === 'TCP' ? sorted.slice(0, 1) : sorted }
}

function allowedKinds({ spec }: PlacedListener): readonly string[] {
  const byProtocol = kindsOf[spec.protocol ?? ''] ?? []
  const fitting =
    spec.protocol === 'TLS' && spec.tls?.mode === 'Passthrough' ? ['TLSRoute'] : byProtocol
  const wanted = (spec.allowedRoutes?.kinds ?? []).flatMap(({ kind }) => kind ?? [])
  return wanted.length === 0 ? fitting : fitting.filter((kind) => wanted.includes(kind))
}

function admits(reader: Reader, { spec, owner }: PlacedListener, namespace: string): boolean {
  const { from = 'Same', selector } = spec.allowedRoutes?.namespaces ?? {}
  if (from === 'All') return true
  if (from === 'Same') return namespace === owner.namespace
  return from === 'Selector' && isSelected(reader, selector, namespace)
}

export function isSelected(
  reader: Reader,
  selector: SelectorSpec | undefined,
  namespace: string,
): boolean {
  if (selector === undefined) return false
  return matchesSelector(selector, reader.namespace(namespace)?.labels ?? {})
}

function routeOf(
  reader: Reader,
  kind: string,
  namespace: string,
  name: string,
): ConfigObject<RouteShape> | undefined {
  if (kind === 'HTTPRoute') return reader.httpRoute(`${namespace}/${name}`)?.config
  if (kind === 'GRPCRoute') return reader.config('GRPCRoute', namespace, name)
  if (kind === 'TLSRoute') return reader.config('TLSRoute', namespace, name)
  return kind === 'TCPRoute' ? reader.config('TCPRoute', namespace, name) : undefined
}

function namesListener(route: ConfigObject<RouteShape>, { spec, owner }: PlacedListener): boolean {
  return (route.spec.parentRefs ?? []).some(
    (parent) =>
      (parent.kind ?? 'Gateway') === owner.kind &&
      parent.name === owner.name &&
      (parent.namespace ?? route.namespace) === owner.namespace &&
      (parent.port === undefined || parent.port === spec.port) &&
      ((parent.sectionName ?? '') === '' || parent.sectionName === spec.name),
  )
}

/** What both have in common, without what a more specific listener of the port has for itself. */
function hostnamesOf(
  { spec }: PlacedListener,
  wanted: readonly string[],
  all: readonly PlacedListener[],
): string[] {
  const own = spec.hostname === undefined || spec.hostname === '' ? '*' : spec.hostname
  const common = intersectHosts([own], wanted.length === 0 ? ['*'] : wanted)
  const others = all
    .filter((other) => other.spec.port === spec.port && other.spec.protocol === spec.protocol)
    .map((other) => other.spec.hostname || '*')
  return common.filter((host) => {
    const nearest = mostSpecific(others, host)
    return nearest === undefined || nearest === own || covers(nearest, own)
  })
}
