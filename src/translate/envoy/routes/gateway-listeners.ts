/**
 * The listeners that the proxies of a Gateway have: its own, then those of its ListenerSets, oldest set
 * first. Where two can't live on one port the earlier one wins; the later is kept with the reason, for
 * its status.
 */
import {
  type ConfigObject,
  type Gateway,
  type GatewaySpec,
  type ListenerSetSpec,
  type ListenerSpec,
  matchesSelector,
  type RouteKind,
  type SelectorSpec,
} from '../../../model/index.ts'
import { olderFirst, type Reader } from '../../reader.ts'

/** The Gateways that this control plane serves with deployed proxies. */
export const gatewayController = 'istio.io/gateway-controller'
/** Waypoints. */
export const meshController = 'istio.io/mesh-controller'
/** Gateways that run elsewhere; their address is all there is to know. */
export const remoteController = 'istio.io/unmanaged-gateway'

export type ListenerFault = 'UnsupportedProtocol' | 'HostnameConflict' | 'ProtocolConflict'

export interface GatewayListener {
  /** The Gateway or the ListenerSet that it stands in. */
  readonly owner: ConfigObject<GatewaySpec> | ConfigObject<ListenerSetSpec>
  /** Its place in its owner's list. */
  readonly index: number
  readonly spec: ListenerSpec
  /** Undefined when it can be served; certificates are looked at elsewhere. */
  readonly fault: { readonly reason: ListenerFault; readonly message: string } | undefined
  /** The kinds of routes that it takes. */
  readonly kinds: readonly RouteKind[]
  /** False when `allowedRoutes` asks for a kind that does not fit. */
  readonly kindsFit: boolean
}

/** The controller of a Gateway's class; undefined when the class is not there. */
export function controllerOf(reader: Reader, gateway: Gateway): string | undefined {
  return reader.gatewayClass(gateway.className)?.controllerName
}

/** All listeners of a Gateway, in the order of their precedence. */
export function gatewayListeners(reader: Reader, gateway: Gateway): readonly GatewayListener[] {
  const key = `${gateway.namespace}/${gateway.name}`
  return reader.memo(`gateway-listeners/${key}`, (inner) => {
    const controller = controllerOf(inner, gateway) ?? ''
    const owners = [gateway.config, ...attachedSets(inner, gateway)]
    const accepted: ListenerSpec[] = []
    return owners.flatMap((owner) =>
      (owner.spec.listeners ?? []).map((spec, index): GatewayListener => {
        const own = { owner, index, spec, ...kindsOf(spec) }
        const refused = protocolFault(spec, controller)
        if (refused !== undefined) {
          return { ...own, fault: { reason: 'UnsupportedProtocol', message: refused } }
        }
        const rival = accepted.find((other) => !canCoexist(spec, other))
        if (rival !== undefined) {
          return { ...own, fault: { reason: conflict(spec, rival), message: conflictMessage } }
        }
        accepted.push(spec)
        return { ...own, fault: undefined }
      }),
    )
  })
}

const conflictMessage = 'Listener has a conflict with another listener attached to the same Gateway'

/** The ListenerSets that name the Gateway and that it admits, oldest first. */
export function attachedSets(reader: Reader, gateway: Gateway): ConfigObject<ListenerSetSpec>[] {
  if (controllerOf(reader, gateway) !== gatewayController) return []
  return reader
    .routesOfParent(`Gateway|${gateway.namespace}/${gateway.name}`)
    .flatMap((name) => {
      const [kind, namespace = '', set = ''] = name.split('/')
      if (kind !== 'ListenerSet' || !admitsSet(reader, gateway, namespace)) return []
      return reader.config('ListenerSet', namespace, set) ?? []
    })
    .toSorted(olderFirst)
}

/** Whether the Gateway takes listeners from a namespace; unless it says so it takes none. */
export function admitsSet(reader: Reader, gateway: Gateway, namespace: string): boolean {
  const { from = 'None', selector } = gateway.config.spec.allowedListeners?.namespaces ?? {}
  if (from === 'Same') return namespace === gateway.namespace
  return from === 'All' || (from === 'Selector' && isSelected(reader, selector, namespace))
}

/** Whether a listener takes routes from a namespace. */
export function admitsRoutesFrom(
  reader: Reader,
  { spec, owner }: GatewayListener,
  namespace: string,
): boolean {
  const { from = 'Same', selector } = spec.allowedRoutes?.namespaces ?? {}
  if (from === 'Same') return namespace === owner.namespace
  return from === 'All' || (from === 'Selector' && isSelected(reader, selector, namespace))
}

const nameLabel = 'kubernetes.io/metadata.name'

function isSelected(
  reader: Reader,
  selector: SelectorSpec | undefined,
  namespace: string,
): boolean {
  if (selector === undefined) return false
  const labels = { [nameLabel]: namespace, ...reader.namespace(namespace)?.labels }
  return matchesSelector(selector, labels)
}

const http: readonly RouteKind[] = ['HTTPRoute', 'GRPCRoute']
const supported: Readonly<Record<string, readonly RouteKind[]>> = {
  HTTP: http,
  HTTPS: http,
  TLS: ['TLSRoute', 'TCPRoute'],
  TCP: ['TCPRoute'],
}
const routeGroup = 'gateway.networking.k8s.io'

function kindsOf(spec: ListenerSpec): Pick<GatewayListener, 'kinds' | 'kindsFit'> {
  const byProtocol = supported[spec.protocol ?? ''] ?? []
  // What is passed through is still TLS: only its server name can be looked at.
  const isSealed = spec.protocol === 'TLS' && spec.tls?.mode === 'Passthrough'
  const fitting = isSealed ? (['TLSRoute'] as const) : byProtocol
  const wanted = spec.allowedRoutes?.kinds ?? []
  if (wanted.length === 0) return { kinds: fitting, kindsFit: true }
  const kinds = fitting.filter((kind) =>
    wanted.some((one) => one.kind === kind && (one.group ?? routeGroup) === routeGroup),
  )
  return { kinds, kindsFit: kinds.length === wanted.length }
}

const protocols: ReadonlySet<string> = new Set([...Object.keys(supported), 'HBONE'])

/** Why the protocol can't be served, in words; undefined when it can. */
function protocolFault(spec: ListenerSpec, controller: string): string | undefined {
  const { protocol = '' } = spec
  if (protocol === 'HBONE') {
    if (controller === meshController) return undefined
    return `protocol "HBONE" is only supported for waypoint proxies`
  }
  if ((protocol === 'HTTPS' || protocol === 'TLS') && spec.tls === undefined) {
    return `protocol is ${protocol} but no TLS section is defined`
  }
  if (protocols.has(protocol)) return undefined
  const upper = protocol.toUpperCase()
  const hint = protocols.has(upper) ? `. hint: "${upper}" (uppercase) may be supported` : ''
  return `protocol "${protocol}" is unsupported${hint}`
}

const isStream = ({ protocol }: ListenerSpec): boolean => protocol === 'TCP' || protocol === 'UDP'

/** Two of one port: byte streams are alone there; the others tell clients apart by host name. */
function canCoexist(left: ListenerSpec, right: ListenerSpec): boolean {
  if (left.port !== right.port) return true
  if (isStream(left) || isStream(right)) return false
  return (left.hostname || '*') !== (right.hostname || '*')
}

function conflict(loser: ListenerSpec, winner: ListenerSpec): ListenerFault {
  const sameKind = loser.protocol === winner.protocol && !isStream(loser)
  return sameKind ? 'HostnameConflict' : 'ProtocolConflict'
}
