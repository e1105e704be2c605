/** Services and their endpoints as what the node's rules need: address, protocol, port → targets. */
import type { KubeObject } from '../../kube/index.ts'
import { limits } from './limits.ts'

export interface ServicePortSpec {
  readonly name?: string
  readonly port: number
  readonly targetPort?: number | string
  readonly protocol?: string
  readonly nodePort?: number
}

export interface ServiceSpec {
  readonly type?: string
  readonly clusterIP?: string
  readonly clusterIPs?: readonly string[]
  readonly externalName?: string
  readonly publishNotReadyAddresses?: boolean
  readonly ports?: readonly ServicePortSpec[]
}

export interface ServiceStatus {
  readonly loadBalancer?: { readonly ingress?: readonly unknown[] }
}

export type Service = KubeObject<ServiceSpec, ServiceStatus>

export interface EndpointSlice extends KubeObject {
  readonly addressType?: string
  readonly endpoints?: readonly {
    readonly addresses: readonly string[]
    readonly hostname?: string
    readonly conditions?: { readonly ready?: boolean }
  }[]
  readonly ports?: readonly {
    readonly name?: string
    readonly port?: number
    readonly protocol?: string
  }[]
}

export const servicesResource = { group: '', version: 'v1', resource: 'services' }
export const slicesResource = {
  group: 'discovery.k8s.io',
  version: 'v1',
  resource: 'endpointslices',
}

/** The Service that a slice belongs to, as `namespace/name`; undefined when it says none. */
export function serviceKeyOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.['kubernetes.io/service-name']
  return name === undefined ? undefined : `${slice.metadata.namespace ?? 'default'}/${name}`
}

export interface Target {
  readonly address: string
  readonly port: number
}

export type Protocol = 'tcp' | 'udp'

export interface VirtualPort {
  readonly address: string
  readonly protocol: Protocol
  readonly port: number
  readonly targets: readonly Target[]
}

/** `10.96.0.10/udp/53` */
export function virtualKey(port: Omit<VirtualPort, 'targets'>): string {
  return `${port.address}/${port.protocol}/${port.port}`
}

/** The addresses of a Service that the node serves; none for headless and ExternalName ones. */
export function clusterAddress(service: Service): string | undefined {
  const { type, clusterIP } = service.spec ?? {}
  if (type === 'ExternalName' || clusterIP === undefined || clusterIP === 'None') return undefined
  return clusterIP.includes('.') ? clusterIP : undefined
}

/** The ports of one Service with their ready endpoints. */
export function virtualPorts(service: Service, slices: readonly EndpointSlice[]): VirtualPort[] {
  const address = clusterAddress(service)
  if (address === undefined) return []
  const ports: VirtualPort[] = []
  for (const spec of service.spec?.ports ?? []) {
    const protocol = (spec.protocol ?? 'TCP').toLowerCase()
    if (protocol !== 'tcp' && protocol !== 'udp') continue
    ports.push({ address, protocol, port: spec.port, targets: targetsOf(spec, slices) })
  }
  return ports
}

function targetsOf(spec: ServicePortSpec, slices: readonly EndpointSlice[]): Target[] {
  const targets = new Map<string, Target>()
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue
    const port = slice.ports?.find(
      (one) =>
        (one.name ?? '') === (spec.name ?? '') &&
        (one.protocol ?? 'TCP') === (spec.protocol ?? 'TCP'),
    )?.port
    if (port === undefined) continue
    for (const endpoint of slice.endpoints ?? []) {
      const [address] = endpoint.addresses
      if (address === undefined || endpoint.conditions?.ready === false) continue
      targets.set(`${address}:${port}`, { address, port })
    }
  }
  // In a fixed order, so that equal sets give equal rules.
  return [...targets.entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, limits.endpointsPerPort)
    .map(([, target]) => target)
}
