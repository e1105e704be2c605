/**
 * What 100 different L7 proxies (60 sidecars, 30 gateways, 10 waypoints) of a mesh of 10,000 pods cost a control
 * plane: the first configuration of all, and changes of one thing each. Model and translation alone: what
 * encoding and sending add is in the bench `xds`.
 */

import { silentLogger, systemClock } from '../../src/base/index.ts'
import { MeshSource } from '../../src/controlplane/index.ts'
import { modelEvents } from '../../src/ingest/index.ts'
import type { KubeObject } from '../../src/kube/index.ts'
import { defaultMeshSettings } from '../../src/model/index.ts'
import { typeUrl } from '../../src/proto/index.ts'
import type { ProxyNode } from '../../src/xds/index.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { type MeshSize, meshObjects, podObject, sliceObject } from '../xds/mesh.ts'

const size: MeshSize = {
  services: Number(process.env.BENCH_SERVICES ?? 1_000),
  podsPerService: 10,
  gateways: 30,
  routesPerGateway: 20,
}
const counts = { sidecar: 60, gateway: 30, waypoint: 10 }
const turns = 20

const types = [
  typeUrl.cluster,
  typeUrl.endpoint,
  typeUrl.listener,
  typeUrl.route,
  typeUrl.secret,
  typeUrl.extensionConfig,
]

function node(type: string, index: number, labels: Record<string, string>): ProxyNode {
  const namespace = `team-${index % 50}`
  const name = `${type}-${index}`
  return {
    id: `${type}~10.0.0.1~${name}.${namespace}~${namespace}.svc.cluster.local`,
    type,
    ip: '10.0.0.1',
    name,
    namespace,
    cluster: 'Kubernetes',
    metadata: { LABELS: labels },
    identity: `spiffe://cluster.local/ns/${namespace}/sa/${name}`,
  }
}

function proxies(): ProxyNode[] {
  const gatewayName = 'gateway.networking.k8s.io/gateway-name'
  const many = (count: number, make: (index: number) => ProxyNode): ProxyNode[] =>
    Array.from({ length: count }, (_, index) => make(index))
  return [
    ...many(counts.sidecar, (index) => node('sidecar', index, { app: `svc-${index}` })),
    ...many(counts.gateway, (index) =>
      node('router', index, { [gatewayName]: `gateway-${index}` }),
    ),
    ...many(counts.waypoint, (index) => node('waypoint', index, { [gatewayName]: 'way' })),
  ]
}

/** A waypoint in each of the first namespaces, which serves its 20 services. */
function* waypoints(): Generator<KubeObject> {
  yield {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: 'istio-waypoint' },
    spec: { controllerName: 'istio.io/mesh-controller' },
  }
  for (let index = 0; index < counts.waypoint; index++) {
    const namespace = `team-${index}`
    yield {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'istio.io/use-waypoint': 'way' } },
    }
    yield {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'way', namespace },
      spec: {
        gatewayClassName: 'istio-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    }
  }
}

function virtualService(turn: number): KubeObject {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'svc-7', namespace: 'team-7' },
    spec: {
      hosts: ['svc-7'],
      http: [{ timeout: `${turn + 1}s`, route: [{ destination: { host: 'svc-7' } }] }],
    },
  }
}

function service(turn: number): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'svc-9', namespace: 'team-9' },
    spec: {
      clusterIP: '10.96.0.9',
      selector: { app: 'svc-9' },
      ports: [{ name: 'http', port: 80, targetPort: 8080 + (turn % 2) }],
    },
  }
}

function meshConfig(): KubeObject {
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio', namespace: 'istio-system' },
    data: { mesh: 'defaultProviders: {metrics: [prometheus]}\naccessLogFile: /dev/stdout\n' },
  }
  return object
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const median = (values: readonly number[]): number =>
  values.toSorted((one, two) => one - two)[Math.floor(values.length / 2)] ?? 0

export async function run(): Promise<BenchResult> {
  const source = new MeshSource({
    settings: defaultMeshSettings,
    clock: systemClock,
    logger: silentLogger,
  })
  const apply = (objects: readonly KubeObject[]): void =>
    source.apply(modelEvents([...objects], defaultMeshSettings))
  apply([meshConfig(), ...meshObjects(size), ...waypoints()])
  globalThis.gc?.()
  const bare = process.memoryUsage()
  const figures: Record<string, number> = {}
  const bytes = { sidecar: 0, router: 0, waypoint: 0 }
  const firstMs = { sidecar: 0, router: 0, waypoint: 0 }
  const began = cpuMs()
  let slowest = 0
  for (const proxy of proxies()) {
    const kind = proxy.type as keyof typeof bytes // one of those above
    const since = performance.now()
    source.joined(proxy)
    for (const type of types) {
      for (const resource of source.list(type, proxy)) bytes[kind] += resource.bytes.length
    }
    const tookMs = performance.now() - since
    firstMs[kind] += tookMs
    slowest = Math.max(slowest, tookMs)
  }
  figures.first_all_cpu_ms = cpuMs() - began
  figures.first_slowest_ms = slowest
  figures.first_sidecar_ms = firstMs.sidecar / counts.sidecar
  figures.first_gateway_ms = firstMs.router / counts.gateway
  figures.first_waypoint_ms = firstMs.waypoint / counts.waypoint
  figures.sidecar_KB = bytes.sidecar / counts.sidecar / 1e3
  figures.gateway_KB = bytes.router / counts.gateway / 1e3
  figures.waypoint_KB = bytes.waypoint / counts.waypoint / 1e3
  globalThis.gc?.()
  const held = process.memoryUsage()
  const used = ({ heapUsed, external }: NodeJS.MemoryUsage): number => heapUsed + external
  figures.views_heap_MB = (used(held) - used(bare)) / 1e6
  figures.mesh_heap_MB = used(bare) / 1e6
  figures.rss_MB = held.rss / 1e6
  const raw: Record<string, number[]> = {}
  const measure = (name: string, change: (turn: number) => readonly KubeObject[]): void => {
    apply(change(-1))
    let names = 0
    const stop = source.onChange((told) => {
      for (const one of told.names.values()) names += one === '*' ? 0 : one.size
    })
    const taken = Array.from({ length: turns }, (_, turn) => {
      const objects = change(turn)
      const before = cpuMs()
      apply(objects)
      return cpuMs() - before
    })
    stop()
    raw[name] = taken
    figures[`${name}_cpu_ms`] = median(taken)
    figures[`${name}_names`] = names / turns
  }
  measure('endpoint_change', (turn) => {
    const unready = turn % 2 === 0 ? new Set([50]) : new Set<number>()
    return [podObject(size, 50, turn % 2 !== 0), sliceObject(size, 5, unready)]
  })
  measure('virtual_service_change', (turn) => [virtualService(turn)])
  measure('service_change', (turn) => [service(turn)])
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [key, Number(value.toPrecision(4))]),
  )
  const pods = size.services * size.podsPerService
  console.log(`${size.services} services, ${pods} pods; 60 sidecars, 30 gateways, 10 waypoints`)
  for (const [key, value] of Object.entries(rounded)) {
    console.log(`${key.padEnd(32)}${String(value).padStart(12)}`)
  }
  return { bench: 'controlplane', figures: rounded, ratios: {}, raw }
}
