/** Services and slices for tests, in one line each. */
import type { EndpointSlice, Service, ServiceSpec } from './service-table.ts'

export function service(name: string, spec: ServiceSpec, namespace = 'shop'): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec }
}

export interface SliceSpec {
  readonly addresses: readonly string[]
  readonly port: number
  readonly portName?: string
  readonly protocol?: string
  readonly hostname?: string
  readonly notReady?: readonly string[]
}

export function slice(ofService: string, spec: SliceSpec, namespace = 'shop'): EndpointSlice {
  const { addresses, port, portName = '', protocol = 'TCP', hostname, notReady = [] } = spec
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${ofService}-1`,
      namespace,
      labels: { 'kubernetes.io/service-name': ofService },
    },
    addressType: 'IPv4',
    endpoints: [...addresses, ...notReady].map((address) => ({
      addresses: [address],
      conditions: { ready: !notReady.includes(address) },
      ...(hostname === undefined ? {} : { hostname }),
    })),
    ports: [{ name: portName, port, protocol }],
  }
}
