/** ClusterLoadAssignments as hosts in priorities and localities. */
import type {
  address as addressApi,
  endpoint as api,
  endpointComponents,
} from '../../../proto/envoy.ts'
import { type Compiled, Place } from '../errors.ts'
import { shareOf } from '../values.ts'

export type Health = 'healthy' | 'degraded' | 'unhealthy'

export type HostAddress =
  | { readonly kind: 'socket'; readonly ip: string; readonly port: number }
  | { readonly kind: 'pipe'; readonly path: string }
  /** A listener of this proxy; the id tells endpoints behind it apart. */
  | { readonly kind: 'internal'; readonly listener: string; readonly endpointId: string }

export interface Host {
  /** As Envoy prints it, `10.0.0.1:80`: what rings hash. */
  readonly key: string
  readonly address: HostAddress
  readonly hostname: string
  readonly weight: number
  /** By the control plane; health checks and outlier detection may know worse. */
  readonly health: Health
  readonly priority: number
  /** `region/zone/subzone`. */
  readonly locality: string
  readonly metadata: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface LocalityGroup {
  readonly locality: string
  /** Undefined: not set, which means none where localities are weighted. */
  readonly weight: number | undefined
  readonly hosts: readonly Host[]
}

export interface CompiledEndpoints {
  readonly cluster: string
  /** By priority, without gaps. */
  readonly priorities: readonly (readonly LocalityGroup[])[]
  readonly hosts: readonly Host[]
  /** A priority counts as healthy while this many times its healthy hosts are all of them. */
  readonly overprovisioning: number
  readonly weightedPriorityHealth: boolean
  /** Share of requests that are refused, for each category in turn. */
  readonly drops: readonly { readonly category: string; readonly share: number }[]
}

const healths: readonly Health[] = [
  'healthy',
  'healthy',
  'unhealthy',
  'unhealthy',
  'unhealthy',
  'degraded',
]

const defaultOverprovisioning = 140

/** Compiles a ClusterLoadAssignment, or says what is wrong with it. */
export function compileEndpoints(message: api.ClusterLoadAssignment): Compiled<CompiledEndpoints> {
  const place = Place.of(`endpoints of ${message.clusterName}`)
  return place.finish(compileAssignment(message, place))
}

/** Endpoints inside a cluster, or of their own resource. */
export function compileAssignment(
  message: api.ClusterLoadAssignment,
  place: Place,
): CompiledEndpoints {
  const priorities: LocalityGroup[][] = []
  for (const [index, locality] of message.endpoints.entries()) {
    const at = place.at('endpoints', index)
    if (locality.lbConfig.case !== undefined) at.at('lb_config').refuse('is not supported')
    while (priorities.length <= locality.priority && locality.priority < 128) priorities.push([])
    const group = compileGroup(locality, message, at)
    if (locality.priority > 128) at.at('priority').refuse('has to be at most 128')
    priorities[locality.priority]?.push(group)
  }
  return {
    cluster: message.clusterName,
    priorities,
    hosts: priorities.flat().flatMap(({ hosts }) => hosts),
    overprovisioning: (message.policy?.overprovisioningFactor ?? defaultOverprovisioning) / 100,
    weightedPriorityHealth: message.policy?.weightedPriorityHealth === true,
    drops: (message.policy?.dropOverloads ?? []).map(({ category, dropPercentage }) => ({
      category,
      share: shareOf(dropPercentage),
    })),
  }
}

function compileGroup(
  message: endpointComponents.LocalityLbEndpoints,
  { namedEndpoints }: api.ClusterLoadAssignment,
  place: Place,
): LocalityGroup {
  const { region = '', zone = '', subZone = '' } = message.locality ?? {}
  const locality = message.locality === undefined ? '' : `${region}/${zone}/${subZone}`
  const hosts = message.lbEndpoints.flatMap((entry, index): Host[] => {
    const at = place.at('lb_endpoints', index)
    const { hostIdentifier: id, healthStatus, metadata, loadBalancingWeight = 1 } = entry
    const endpoint = id.case === 'endpointName' ? namedEndpoints[id.value] : id.value
    const address = endpoint === undefined ? undefined : compileAddress(endpoint.address, at)
    if (endpoint === undefined || address === undefined) {
      at.refuse('an endpoint without an address')
      return []
    }
    if (loadBalancingWeight === 0) at.at('load_balancing_weight').refuse('has to be above zero')
    return [
      {
        key: keyOf(address),
        address,
        hostname: endpoint.hostname,
        weight: loadBalancingWeight,
        health: healths[healthStatus] ?? 'unhealthy',
        priority: message.priority,
        locality,
        metadata: metadata?.filterMetadata ?? {},
      },
    ]
  })
  return { locality, weight: message.loadBalancingWeight, hosts }
}

function compileAddress(
  message: addressApi.Address | undefined,
  place: Place,
): HostAddress | undefined {
  const address = message?.address
  if (address?.case === 'socketAddress') {
    const { address: ip, portSpecifier: port } = address.value
    if (port.case === 'portValue') return { kind: 'socket', ip, port: port.value }
    place.refuse('a port by name is not supported')
  } else if (address?.case === 'pipe') return { kind: 'pipe', path: address.value.path }
  else if (address?.case === 'envoyInternalAddress') {
    const { addressNameSpecifier: name, endpointId } = address.value
    return { kind: 'internal', listener: name.value ?? '', endpointId }
  }
  return undefined
}

function keyOf(address: HostAddress): string {
  if (address.kind === 'pipe') return address.path
  if (address.kind === 'internal') return `envoy://${address.listener}/${address.endpointId}`
  const { ip, port } = address
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}
