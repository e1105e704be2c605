/**
 * Which waypoint an object goes through: its own label before its namespace's, and only a Gateway
 * that serves this kind of traffic, admits this namespace and has an address to go to.
 */
import { parseIp } from '../../base/index.ts'
import {
  type Gateway,
  networkOf,
  type Snapshot,
  selects,
  type WaypointChoice,
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

/** The address of the waypoint for one kind of traffic, or undefined when there is none to use. */
export function waypointAddress(
  snapshot: Snapshot,
  user: WaypointUser,
  traffic: 'service' | 'workload',
): api.GatewayAddress | undefined {
  const key = waypointKey(snapshot, user)
  const gateway = key === undefined ? undefined : snapshot.objects.Gateway.get(key)
  if (gateway === undefined || !serves(gateway, traffic)) return undefined
  if (!admits(snapshot, gateway, user.namespace)) return undefined
  return gatewayAddress(snapshot, gateway)
}

function serves(gateway: Gateway, traffic: 'service' | 'workload'): boolean {
  const wanted = gateway.labels[waypointFor] ?? 'service'
  return wanted === 'all' || wanted === traffic
}

function admits(snapshot: Snapshot, gateway: Gateway, namespace: string): boolean {
  if (gateway.namespace === namespace) return true
  const labels = snapshot.objects.Namespace.get(namespace)?.labels ?? {}
  return gateway.listeners.some(({ namespaces }) => {
    if (namespaces.from === 'All') return true
    return namespaces.from === 'Selector' && selects(namespaces.matchLabels, labels)
  })
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
