/**
 * Which waypoint an object goes through: its own label before its namespace's, and only a Gateway
 * that serves this kind of traffic, admits this namespace and has an address to go to.
 */
import { parseIp } from '../../base/index.ts'
import {
  type Gateway,
  matchesSelector,
  networkOf,
  type Service,
  type Snapshot,
  type WaypointChoice,
  type Workload,
} from '../../model/index.ts'
import { workload as api, create } from '../../proto/index.ts'

export const hbonePort = 15008
const waypointFor = 'istio.io/waypoint-for'

export interface WaypointUser {
  readonly namespace: string
  readonly waypoint: WaypointChoice | undefined
}

/** The key of the Gateway that an object asks for, whether or not it is usable. */
export function waypointKey(snapshot: Snapshot, user: WaypointUser): string | undefined {
  const choice = user.waypoint ?? snapshot.objects.Namespace.get(user.namespace)?.waypoint
  if (choice === undefined || choice.name === 'none') return undefined
  return `${choice.namespace ?? user.namespace}/${choice.name}`
}

/** The waypoint for one kind of traffic, when it admits the object and has an address to go to. */
export function waypointOf(
  snapshot: Snapshot,
  user: WaypointUser,
  traffic: WaypointTraffic,
): Gateway | undefined {
  return usable(snapshot, waypointKey(snapshot, user), user.namespace, traffic)
}

/** The address of that waypoint, or undefined when there is none to use. */
export function waypointAddress(
  snapshot: Snapshot,
  user: WaypointUser,
  traffic: WaypointTraffic,
): api.GatewayAddress | undefined {
  const gateway = waypointOf(snapshot, user, traffic)
  return gateway === undefined ? undefined : gatewayAddress(snapshot, gateway)
}

export type WaypointTraffic = 'service' | 'workload'

function usable(
  snapshot: Snapshot,
  key: string | undefined,
  namespace: string,
  traffic: WaypointTraffic,
): Gateway | undefined {
  const gateway = key === undefined ? undefined : snapshot.objects.Gateway.get(key)
  if (gateway === undefined || !serves(snapshot, gateway, traffic)) return undefined
  if (!admits(snapshot, gateway, namespace)) return undefined
  return gatewayAddress(snapshot, gateway) === undefined ? undefined : gateway
}

/**
 * A service's canary waypoint and its share of the traffic. Nothing unless it and the waypoint can both
 * be used: the service then keeps to its waypoint alone, and its status says why.
 */
export function canaryOf(
  snapshot: Snapshot,
  service: Service,
): { readonly gateway: Gateway; readonly weight: number } | undefined {
  const { waypointCanary: canary, namespace } = service
  if (canary?.weight === undefined) return undefined
  const primaryKey = waypointKey(snapshot, service)
  const key = `${canary.namespace ?? namespace}/${canary.name}`
  if (primaryKey === key || waypointOf(snapshot, service, 'service') === undefined) return undefined
  const gateway = usable(snapshot, key, namespace, 'service')
  return gateway === undefined ? undefined : { gateway, weight: canary.weight }
}

/** Both waypoints of a service that splits its traffic, as node proxies are told. */
export function weightedWaypoints(snapshot: Snapshot, service: Service): api.WeightedWaypoint[] {
  const canary = canaryOf(snapshot, service)
  const primary = waypointAddress(snapshot, service, 'service')
  const second = canary === undefined ? undefined : gatewayAddress(snapshot, canary.gateway)
  if (canary === undefined || primary === undefined || second === undefined) return []
  const share = (destination: api.GatewayAddress, weight: number): api.WeightedWaypoint =>
    create(api.WeightedWaypointSchema, { destination, weight })
  return [share(primary, 100 - canary.weight), share(second, canary.weight)]
}

/** The Gateway's own label before that of its class. */
function serves(snapshot: Snapshot, gateway: Gateway, traffic: WaypointTraffic): boolean {
  const ofClass = snapshot.objects.GatewayClass.get(gateway.className)?.labels[waypointFor]
  const wanted = gateway.labels[waypointFor] ?? ofClass ?? 'service'
  return wanted === 'all' || wanted === traffic
}

function admits(snapshot: Snapshot, gateway: Gateway, namespace: string): boolean {
  if (gateway.namespace === namespace) return true
  const labels = snapshot.objects.Namespace.get(namespace)?.labels ?? {}
  return gateway.listeners.some(({ namespaces }) => {
    if (namespaces.from === 'All') return true
    return namespaces.from === 'Selector' && matchesSelector(namespaces, labels)
  })
}

const bindingAnnotation = 'ambient.istio.io/waypoint-inbound-binding'
const gatewayName = 'gateway.networking.k8s.io/gateway-name'

/**
 * How node proxies hand connections to the pods of a Gateway that asks for more than bytes:
 * `PROTOCOL[/PORT]` on the Gateway, else on its class. `NONE` takes back what the class says.
 */
export function applicationTunnel(
  snapshot: Snapshot,
  workload: Workload,
): api.ApplicationTunnel | undefined {
  const gateway = gatewayOfPod(snapshot, workload)
  if (gateway === undefined) return undefined
  const ofClass = snapshot.objects.GatewayClass.get(gateway.className)?.annotations
  const text = gateway.config.annotations[bindingAnnotation] ?? ofClass?.[bindingAnnotation] ?? ''
  const found = /^(NONE|PROXY)(?:\/(\d{1,5}))?$/.exec(text)
  if (found === null || found[1] === 'NONE') return undefined
  const port = Number(found[2] ?? 0)
  return create(api.ApplicationTunnelSchema, {
    protocol: api.ApplicationTunnel_Protocol.PROXY,
    ...(port > 0 && port < 65536 ? { port } : {}),
  })
}

/** The Gateway that a pod was deployed for, once it has an address: such pods have no waypoint. */
export function gatewayOfPod(snapshot: Snapshot, workload: Workload): Gateway | undefined {
  const name = workload.source === 'Pod' ? workload.labels[gatewayName] : undefined
  if (name === undefined) return undefined
  const gateway = snapshot.objects.Gateway.get(`${workload.namespace}/${name}`)
  return gateway === undefined || gateway.statusAddresses.length === 0 ? undefined : gateway
}

/** Hostname addresses are preferred: they survive a new service IP. */
function gatewayAddress(snapshot: Snapshot, gateway: Gateway): api.GatewayAddress | undefined {
  const hostname = gateway.statusAddresses.find((address) => address.type === 'Hostname')
  if (hostname !== undefined) {
    return create(api.GatewayAddressSchema, {
      destination: {
        case: 'hostname',
        value: create(api.NamespacedHostnameSchema, {
          namespace: gateway.namespace,
          hostname: hostname.value,
        }),
      },
      hboneMtlsPort: hbonePort,
    })
  }
  for (const { value } of gateway.statusAddresses) {
    const address = parseIp(value)
    if (address === undefined) continue
    return create(api.GatewayAddressSchema, {
      destination: {
        case: 'address',
        value: create(api.NetworkAddressSchema, { network: networkOf(snapshot), address }),
      },
      hboneMtlsPort: hbonePort,
    })
  }
  return undefined
}
