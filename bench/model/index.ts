/**
 * The model: how long a mesh takes to build, what it holds in memory, and what one change costs at
 * two sizes of the mesh (their quotient should be about one: the cost follows the change).
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { modelEvents } from '../../src/ingest/index.ts'
import type { KubeObject } from '../../src/kube/index.ts'
import { defaultMeshSettings, Model, type ModelEvent } from '../../src/model/index.ts'
import type { BenchResult } from '../../tools/bench.ts'

const podsPerService = 5
const servicesPerNamespace = 50
const rounds = 2_000

export async function run(): Promise<BenchResult> {
  const small = measure(1_000)
  const large = measure(10_000)
  const figures: Record<string, number> = {}
  for (const [size, values] of [
    ['1k', small],
    ['10k', large],
  ] as const) {
    for (const [name, value] of Object.entries(values)) figures[`${size}_${name}`] = value
  }
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`)
  return {
    bench: 'model',
    figures,
    ratios: {
      pod_change_10k_to_1k: large.pod_change_us / small.pod_change_us,
      virtual_service_change_10k_to_1k:
        large.virtual_service_change_us / small.virtual_service_change_us,
    },
  }
}

function measure(services: number) {
  const before = heap()
  const objects = mesh(services)
  const readAt = performance.now()
  const events = modelEvents(objects, defaultMeshSettings)
  objects.length = 0
  const builtAt = performance.now()
  const model = new Model(defaultMeshSettings)
  model.update(events)
  const endAt = performance.now()
  events.length = 0
  const held = heap() - before
  return {
    read_ms: round(builtAt - readAt),
    build_ms: round(endAt - builtAt),
    heap_mib: round(held / 2 ** 20),
    heap_bytes_per_pod: Math.round(held / (services * podsPerService)),
    pod_change_us: change(model, (turn) => pod(turn % services, 0, turn % 2 === 0)),
    service_change_us: change(model, (turn) => service(turn % services, 9000 + (turn % 2))),
    virtual_service_change_us: change(model, (turn) => virtualService(turn % services, turn)),
    policy_change_us: change(model, (turn) => policy(turn % services, turn)),
    mesh_config_change_us: change(model, (turn) => meshConfig(turn), 20),
  }
}

/** Microseconds for each update, reading the object included. */
function change(model: Model, object: (turn: number) => KubeObject, turns = rounds): number {
  const objects = Array.from({ length: turns }, (_, turn) => object(turn))
  const startAt = performance.now()
  for (const one of objects) {
    const events: ModelEvent[] = modelEvents([one], defaultMeshSettings)
    model.update(events)
  }
  return round(((performance.now() - startAt) * 1000) / turns)
}

function mesh(services: number): KubeObject[] {
  const objects: KubeObject[] = [meshConfig(0)]
  for (let index = 0; index < services; index++) {
    if (index % servicesPerNamespace === 0) {
      objects.push({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace(index) } })
    }
    objects.push(service(index, 8080), virtualService(index, 0))
    if (index % 10 === 0) objects.push(policy(index, 0))
    for (let copy = 0; copy < podsPerService; copy++) objects.push(pod(index, copy, true))
    objects.push(slice(index))
  }
  return objects
}

const namespace = (index: number): string => `ns-${Math.floor(index / servicesPerNamespace)}`
const address = (index: number, copy: number): string =>
  `10.${copy}.${Math.floor(index / 250)}.${index % 250}`

function service(index: number, targetPort: number): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s-${index}`, namespace: namespace(index) },
    spec: {
      clusterIP: `10.9${Math.floor(index / 60_000)}.${Math.floor(index / 250)}.${index % 250}`,
      selector: { app: `s-${index}` },
      ports: [{ name: 'http', port: 80, targetPort }],
    },
  }
}

function pod(index: number, copy: number, ready: boolean): KubeObject {
  const name = `s-${index}-7c9d8f6b5-${copy}`
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: namespace(index),
      labels: { app: `s-${index}`, version: 'v1', 'pod-template-hash': '7c9d8f6b5' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `s-${index}-7c9d8f6b5`,
          uid: 'u',
          controller: true,
        },
      ],
    },
    spec: { serviceAccountName: `s-${index}`, nodeName: `node-${copy}` },
    status: {
      phase: 'Running',
      podIP: address(index, copy),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  }
}

function slice(index: number): KubeObject {
  const endpoints = Array.from({ length: podsPerService }, (_, copy) => ({
    addresses: [address(index, copy)],
    nodeName: `node-${copy}`,
    targetRef: { kind: 'Pod', name: `s-${index}-7c9d8f6b5-${copy}` },
  }))
  const object = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `s-${index}-abcde`,
      namespace: namespace(index),
      labels: { 'kubernetes.io/service-name': `s-${index}` },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints,
  }
  return object
}

function virtualService(index: number, turn: number): KubeObject {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: `s-${index}`, namespace: namespace(index) },
    spec: {
      hosts: [`s-${index}`],
      http: [{ timeout: `${(turn % 7) + 1}s`, route: [{ destination: { host: `s-${index}` } }] }],
    },
  }
}

function policy(index: number, turn: number): KubeObject {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `s-${index}`, namespace: namespace(index) },
    spec: {
      selector: { matchLabels: { app: `s-${index}` } },
      rules: [{ to: [{ operation: { ports: [String((turn % 9) + 1)] } }] }],
    },
  }
}

function meshConfig(turn: number): KubeObject {
  const metadata = { name: 'istio', namespace: 'istio-system' }
  const data = { mesh: `accessLogFile: /dev/stdout\nconnectTimeout: ${turn + 1}s` }
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data }
  return object
}

/** Bytes in use after a collection. */
function heap(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  return process.memoryUsage().heapUsed
}

const round = (value: number): number => Math.round(value * 100) / 100
