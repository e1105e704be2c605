/**
 * What the authors of Services, ServiceEntries and AuthorizationPolicies read about waypoints: whether
 * theirs is in effect, and if not, what is in the way.
 */
import { parseIp } from '../../base/index.ts'
import {
  type AuthorizationPolicy,
  type Gateway,
  matchesSelector,
  type PolicyTargetRef,
  type Service,
  type WaypointChoice,
} from '../../model/index.ts'
import { meshController } from '../envoy/routes/gateway-listeners.ts'
import type { Reader } from '../reader.ts'
import type { Fault, WantedCondition } from './condition.ts'

export const waypointBoundType = 'istio.io/WaypointBound'
export const waypointAcceptedType = 'WaypointAccepted'

/** Undefined: it asks for no waypoint, so there is nothing to say. */
export function waypointBound(reader: Reader, service: Service): WantedCondition | undefined {
  const found = waypointOfService(reader, service)
  if (found === undefined) return undefined
  if ('reason' in found) return unbound(found)
  const canary = canaryFault(reader, service, found)
  if (canary !== undefined) return unbound(canary)
  return {
    type: waypointBoundType,
    status: 'True',
    reason: waypointAcceptedType,
    message: `Successfully attached to waypoint ${keyOf(found)}${ingressNote(reader, service)}`,
  }
}

function unbound({ reason, message }: Fault): WantedCondition {
  return { type: waypointBoundType, status: 'False', reason, message }
}

const keyOf = ({ namespace, name }: Gateway): string => `${namespace}/${name}`

function ingressNote(reader: Reader, service: Service): string {
  const asked =
    service.ingressUseWaypoint ?? reader.namespace(service.namespace)?.ingressUseWaypoint
  if (asked === true) return '. Ingress traffic will traverse the waypoint'
  if (asked === undefined) return ''
  return '. Ingress traffic is not using the waypoint, set the istio.io/ingress-use-waypoint label to true if desired.'
}

/** The waypoint that a service goes through, or why it goes through none although it asks for one. */
function waypointOfService(reader: Reader, service: Service): Gateway | Fault | undefined {
  if (service.ofWaypoint) return undefined
  const choice = service.waypoint ?? reader.namespace(service.namespace)?.waypoint
  if (choice === undefined || choice.name === 'none') {
    if (service.resolution !== 'dynamic-dns') return undefined
    const message =
      'hosts of resolution DYNAMIC_DNS are found out by a waypoint; without one they are not reachable in ambient mode'
    return { reason: 'WaypointMissing', message }
  }
  return resolve(reader, choice, service.namespace)
}

function resolve(reader: Reader, choice: WaypointChoice, namespace: string): Gateway | Fault {
  const key = `${choice.namespace ?? namespace}/${choice.name}`
  const gateway = reader.gateway(key)
  if (gateway === undefined || !hasAddress(gateway)) {
    return { reason: 'WaypointIsNotReady', message: `waypoint "${key}" is not ready` }
  }
  if (!admits(reader, gateway, namespace)) {
    const message = `we are not permitted to attach to waypoint "${key}" (missing allowedRoutes?)`
    return { reason: 'AttachmentDenied', message }
  }
  if (servesServices(reader, gateway)) return gateway
  const message = `attempting to bind to traffic type "service" which the waypoint "${key}" does not support`
  return { reason: 'UnsupportedTrafficType', message }
}

function hasAddress({ statusAddresses }: Gateway): boolean {
  return statusAddresses.some(
    ({ type, value }) => type === 'Hostname' || parseIp(value) !== undefined,
  )
}

function admits(reader: Reader, gateway: Gateway, namespace: string): boolean {
  if (gateway.namespace === namespace) return true
  return gateway.listeners.some(({ namespaces }) => {
    if (namespaces.from !== 'Selector') return namespaces.from === 'All'
    return matchesSelector(namespaces, reader.namespace(namespace)?.labels ?? {})
  })
}

const waypointFor = 'istio.io/waypoint-for'

/** The Gateway's own label before that of its class. */
function servesServices(reader: Reader, gateway: Gateway): boolean {
  const ofClass = reader.gatewayClass(gateway.className)?.labels[waypointFor]
  const traffic = gateway.labels[waypointFor] ?? ofClass ?? 'service'
  return traffic === 'service' || traffic === 'all'
}

/** The service keeps to its waypoint alone while its canary can't be used. */
function canaryFault(reader: Reader, service: Service, primary: Gateway): Fault | undefined {
  const { waypointCanary: canary, namespace } = service
  if (canary === undefined || canary.name === 'none') return undefined
  const key = `${canary.namespace ?? namespace}/${canary.name}`
  if (key === keyOf(primary)) {
    const message = `canary waypoint "${key}" must differ from the primary waypoint`
    return { reason: 'CanarySameAsPrimary', message }
  }
  if (canary.weight === undefined) {
    const message = `canary waypoint "${key}" has an invalid weight; must be an integer in [0,100]`
    return { reason: 'CanaryInvalidWeight', message }
  }
  const found = resolve(reader, canary, namespace)
  return 'reason' in found ? found : undefined
}

interface Binding {
  readonly isBound: boolean
  readonly reason: string
  readonly message: string
  /** `<Kind>.<group>:<namespace>/<name>` */
  readonly ancestor: string
}

/** Undefined for a policy without targetRefs: no waypoint looks at it. */
export function waypointAccepted(
  reader: Reader,
  policy: AuthorizationPolicy,
): WantedCondition | undefined {
  const bindings = policy.targetRefs.map((target) => bindingOf(reader, policy, target))
  const [first] = bindings
  if (first === undefined) return undefined
  const type = waypointAcceptedType
  if (bindings.length === 1) {
    const { isBound, reason, message } = first
    return { type, status: isBound ? 'True' : 'False', reason, message }
  }
  const lost = bindings.filter(({ isBound }) => !isBound)
  const isAny = lost.length < bindings.length
  return {
    type,
    status: isAny ? 'True' : 'False',
    reason: !isAny ? 'Invalid' : lost.length === 0 ? 'Accepted' : 'PartiallyInvalid',
    message:
      lost.length === 0
        ? `bound to ${bindings.map(({ message }) => message.replace('bound to ', '')).join(', ')}`
        : `Invalid targetRefs: ${lost.map(({ ancestor }) => ancestor).join(', ')}`,
  }
}

function bindingOf(reader: Reader, policy: AuthorizationPolicy, target: PolicyTargetRef): Binding {
  const { group, kind, name } = target
  const namespace = target.namespace || policy.namespace
  const key = `${namespace}/${name}`
  const ancestor = `${kind}.${group || 'core'}:${key}`
  const found = boundTo(reader, kind, namespace, name)
  if (typeof found === 'string') {
    return { isBound: true, reason: 'Accepted', message: `bound to ${found}`, ancestor }
  }
  return { isBound: false, ...found, ancestor }
}

function boundTo(reader: Reader, kind: string, namespace: string, name: string): string | Fault {
  const key = `${namespace}/${name}`
  if (kind === 'GatewayClass') return boundToClass(reader, namespace, name)
  if (kind === 'Gateway') {
    const gateway = reader.gateway(key)
    if (gateway !== undefined && gateway.statusAddresses.length > 0) return key
    return { reason: 'TargetNotFound', message: 'not bound' }
  }
  if (kind !== 'Service' && kind !== 'ServiceEntry') {
    return { reason: 'Invalid', message: `${kind} can't be the target of a policy` }
  }
  const service =
    kind === 'Service'
      ? reader.kubernetesService(namespace, name)
      : reader.serviceEntryHosts(namespace, name)[0]
  if (service === undefined) {
    return { reason: 'TargetNotFound', message: `${kind} ${key} was not found` }
  }
  const waypoint = waypointOfService(reader, service)
  if (waypoint !== undefined && !('reason' in waypoint)) return keyOf(waypoint)
  return { reason: 'AncestorNotBound', message: `${kind} ${key} is not bound to a waypoint` }
}

function boundToClass(reader: Reader, namespace: string, name: string): string | Fault {
  const { rootNamespace } = reader.settings
  if (namespace !== rootNamespace) {
    const message = `AuthorizationPolicy must be in the root namespace \`${rootNamespace}\` when referencing a GatewayClass`
    return { reason: 'Invalid', message }
  }
  const found = reader.gatewayClass(name)
  if (found === undefined) return { reason: 'TargetNotFound', message: 'not bound' }
  if (found.controllerName === meshController) return name
  const message = `GatewayClass must use controller name \`${meshController}\` for waypoints`
  return { reason: 'Invalid', message }
}
