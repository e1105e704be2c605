/** The mesh of the bench: services with five pods each, and gateways with routes to some of them. */
import type { KubeObject } from '../../src/kube/index.ts'

export interface MeshSize {
  readonly services: number
  readonly podsPerService: number
  readonly gateways: number
  readonly routesPerGateway: number
}

const namespace = (service: number): string => `team-${service % 50}`
const address = (index: number): string =>
  `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`

/** @param ready whether it takes traffic: what a change flips */
export function podObject(size: MeshSize, index: number, ready: boolean): KubeObject {
  const service = Math.floor(index / size.podsPerService)
  const labels = { app: `svc-${service}`, version: 'v1', 'pod-template-hash': '6d4cf56db6' }
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `svc-${service}-6d4cf56db6-${index}`,
      namespace: namespace(service),
      labels,
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: {
      serviceAccountName: `svc-${service}`,
      nodeName: `node-${index % 100}`,
      containers: [{ name: 'app', ports: [{ name: 'http', containerPort: 8080 }] }],
    },
    status: {
      phase: 'Running',
      podIP: address(index),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  }
  return pod
}

/** What the endpoint controller would write after such a change. */
export function sliceObject(
  size: MeshSize,
  service: number,
  unready: ReadonlySet<number>,
): KubeObject {
  const first = service * size.podsPerService
  const endpoints = Array.from({ length: size.podsPerService }, (_, offset) => ({
    addresses: [address(first + offset)],
    conditions: { ready: !unready.has(first + offset) },
    nodeName: `node-${(first + offset) % 100}`,
    targetRef: {
      kind: 'Pod',
      name: `svc-${service}-6d4cf56db6-${first + offset}`,
      namespace: namespace(service),
    },
  }))
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `svc-${service}-1`,
      namespace: namespace(service),
      labels: { 'kubernetes.io/service-name': `svc-${service}` },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints,
  }
  return slice
}

export function* meshObjects(size: MeshSize): Generator<KubeObject> {
  for (let index = 0; index < 50; index++) {
    yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: `team-${index}` } }
  }
  for (let service = 0; service < size.services; service++) {
    yield {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `svc-${service}`, namespace: namespace(service) },
      spec: {
        clusterIP: `10.96.${service >> 8}.${service & 255}`,
        selector: { app: `svc-${service}` },
        ports: [{ name: 'http', port: 80, targetPort: 8080 }],
      },
    }
    yield sliceObject(size, service, new Set())
    for (let pod = 0; pod < size.podsPerService; pod++) {
      yield podObject(size, service * size.podsPerService + pod, true)
    }
  }
  yield {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: 'istio' },
    spec: { controllerName: 'istio.io/gateway-controller' },
  }
  for (let gateway = 0; gateway < size.gateways; gateway++) yield* gatewayObjects(size, gateway)
}

/** A gateway takes turns through the services of its own namespace. */
function* gatewayObjects(size: MeshSize, gateway: number): Generator<KubeObject> {
  const metadata = { name: `gateway-${gateway}`, namespace: namespace(gateway) }
  const listeners = [{ name: 'http', port: 80, protocol: 'HTTP' }]
  yield {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata,
    spec: { gatewayClassName: 'istio', listeners },
  }
  const rules = Array.from({ length: size.routesPerGateway }, (_, index) => ({
    matches: [{ path: { type: 'PathPrefix', value: `/${index}` } }],
    backendRefs: [{ name: `svc-${(gateway + index * 50) % size.services}`, port: 80 }],
  }))
  yield {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `routes-${gateway}`, namespace: namespace(gateway) },
    spec: { parentRefs: [{ name: `gateway-${gateway}` }], rules },
  }
}
