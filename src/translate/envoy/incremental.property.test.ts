/**
 * What makes pushes cost what a change costs: each resource of a proxy is a unit with what its
 * translation read, an update makes anew the units that it touches, and the result is to the byte what a
 * translation of everything from scratch gives.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { modelEvents, objectsFromYaml } from '../../ingest/index.ts'
import {
  buildSnapshot,
  defaultMeshSettings,
  Model,
  type ModelEvent,
  type Snapshot,
} from '../../model/index.ts'
import { anyEvent } from '../arbitraries.ts'
import { DependencyIndex, Memo, Reader, touchedKeys } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import { anyTrafficObject } from './arbitraries.ts'
import { translateCluster } from './clusters/cluster.ts'
import { outboundRef } from './clusters/names.ts'
import { translateEndpoints } from './endpoints/assignment.ts'
import { NamespaceScope } from './lookup/scope.ts'
import { type ProxyView, proxyView } from './proxy.ts'
import { gatewayRoutes } from './routes/gateway.ts'
import { sidecarRoutes } from './routes/sidecar.ts'
import { waypointRoutes } from './routes/waypoint.ts'

type Translate = (reader: Reader) => TranslatedResource | undefined

const views: readonly ProxyView[] = [
  proxyView({
    kind: 'sidecar',
    namespace: 'a',
    labels: { app: 'x' },
    locality: { region: 'r1', zone: 'z1', subzone: '' },
  }),
  proxyView({ kind: 'sidecar', namespace: 'b' }),
  proxyView({ kind: 'gateway', namespace: 'istio-system', sendsHbone: false }),
  proxyView({ kind: 'waypoint', namespace: 'a' }),
]

/** Every host that objects of the small world have. */
const services = ['a', 'b'].flatMap((namespace) =>
  ['s1', 's2'].map((name) => ({ namespace, hostname: `${name}.${namespace}.svc.cluster.local` })),
)
const hosts = [...services, { namespace: 'a', hostname: 'ext.example.com' }]

function units(): ReadonlyMap<string, Translate> {
  const all = new Map<string, Translate>()
  for (const [index, view] of views.entries()) {
    for (const host of hosts) {
      for (const subset of ['', 'v1']) {
        const ref = outboundRef(host, 80, subset)
        const id = `${index}|${ref.name}|${host.namespace}`
        all.set(`cluster|${id}`, (reader) =>
          translateCluster(new NamespaceScope(reader, view), ref),
        )
        all.set(`endpoints|${id}`, (reader) =>
          translateEndpoints(new NamespaceScope(reader, view), ref),
        )
      }
    }
    all.set(`sidecar|${index}`, (reader) => {
      const scope = new NamespaceScope(reader, view)
      return sidecarRoutes({ scope, name: '80', port: 80, unknown: 'allow' })
    })
    const servers = [{ gateway: 'a/gw', hosts: ['*'], httpsRedirect: false }]
    all.set(`gateway|${index}`, (reader) => {
      const scope = new NamespaceScope(reader, view)
      return gatewayRoutes({ scope, name: 'http.80', port: 80, servers }).resource
    })
  }
  const waypoint = proxyView({ kind: 'waypoint', namespace: 'a' })
  for (const { namespace, hostname } of services) {
    all.set(`waypoint|${hostname}`, (reader) => {
      const service = reader.service(`${namespace}/${hostname}`)
      if (service === undefined) return undefined
      const scope = new NamespaceScope(reader, waypoint)
      const serves = (one: { readonly namespace: string }): boolean => one.namespace === namespace
      return waypointRoutes({ scope, service, port: 80, serves })
    })
  }
  return all
}

function fromScratch(snapshot: Snapshot): Map<string, string | undefined> {
  return new Map(
    [...units()].map(([unit, translate]) => [unit, translate(new Reader(snapshot))?.version]),
  )
}

const trafficEvent = anyTrafficObject.map((yaml): ModelEvent => {
  const objects = objectsFromYaml(yaml, 'random').map(({ object }) => object)
  const [event] = modelEvents(objects, defaultMeshSettings)
  assert.ok(event)
  return event
})

const removal = trafficEvent.map((event): ModelEvent => ({ ...event, value: undefined }))

/** Kinds of the other arbitraries that routes, clusters and endpoints are made of. */
const relevant: ReadonlySet<string> = new Set([
  'Pod',
  'Service',
  'EndpointSlice',
  'ServiceEntry',
  'WorkloadEntry',
  'Node',
  'Namespace',
  'PeerAuthentication',
  'ReferenceGrant',
])
const meshEvent = anyEvent.filter(({ kind }) => relevant.has(kind))

/** Histories start in a mesh that has all services, so that what refers to them has an effect. */
const start = modelEvents(
  objectsFromYaml(
    services
      .map(
        ({ namespace, hostname }) => `
apiVersion: v1
kind: Service
metadata: {name: ${hostname.slice(0, 2)}, namespace: ${namespace}}
spec: {clusterIP: 10.96.9.1, selector: {app: x}, ports: [{name: http, port: 80, targetPort: 8080}]}
`,
      )
      .concat(
        `
apiVersion: v1
kind: Pod
metadata: {name: p1, namespace: a, labels: {app: x, version: v1}}
spec: {nodeName: n1, containers: []}
status: {phase: Running, podIP: 10.0.1.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e1, namespace: a, labels: {kubernetes.io/service-name: s1}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.0.1.1], targetRef: {kind: Pod, name: p1}}]
`,
      )
      .join('---'),
    'start',
  ).map(({ object }) => object),
  defaultMeshSettings,
)

function check(history: readonly (readonly ModelEvent[])[]): void {
  const model = new Model(defaultMeshSettings)
  const memo = new Memo()
  const index = new DependencyIndex()
  const versions = new Map<string, string | undefined>()
  const latest = new Map<string, ModelEvent>()
  const all = units()
  const make = (unit: string, snapshot: Snapshot): void => {
    const reader = new Reader(snapshot, memo)
    versions.set(unit, all.get(unit)?.(reader)?.version)
    index.set(unit, reader.dependencies)
  }
  for (const unit of all.keys()) make(unit, model.snapshot)
  for (const batch of history) {
    const { snapshot, touched } = model.update(batch)
    for (const event of batch) latest.set(`${event.kind}|${event.key}`, event)
    const keys = touchedKeys(touched)
    memo.invalidate(keys)
    for (const unit of index.stale(keys)) make(unit, snapshot)
    for (const [unit, version] of fromScratch(snapshot)) {
      assert.equal(versions.get(unit), version, `${unit} is not what it should be`)
    }
  }
  const scratch = buildSnapshot(defaultMeshSettings, [...latest.values()])
  assert.deepEqual(fromScratch(scratch), fromScratch(model.snapshot))
}

test('units that know what they read are, after any history, what a translation from scratch gives', () => {
  const event = fc.oneof(
    { weight: 4, arbitrary: meshEvent },
    { weight: 3, arbitrary: trafficEvent },
    { weight: 1, arbitrary: removal },
  )
  const history = fc.array(fc.array(event, { minLength: 1, maxLength: 4 }), { maxLength: 10 })
  const histories = history.map((events) => [start, ...events])
  fc.assert(fc.property(histories, check), { numRuns: Number(process.env.FC_RUNS ?? 60) })
})

test('a change in a namespace that a proxy sees nothing of makes none of its resources anew', () => {
  const yaml = (name: string, seconds: number): string => `
apiVersion: v1
kind: Service
metadata: {name: s1, namespace: ${name}, annotations: {networking.istio.io/exportTo: "."}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: ${name}}
spec: {host: s1, exportTo: ["."], trafficPolicy: {connectionPool: {tcp: {connectTimeout: ${seconds}s}}}}
`
  const events = (text: string): ModelEvent[] =>
    modelEvents(
      objectsFromYaml(text, 'given').map(({ object }) => object),
      defaultMeshSettings,
    )
  const model = new Model(defaultMeshSettings)
  const { snapshot } = model.update([...events(yaml('a', 1)), ...events(yaml('b', 1))])
  const reader = new Reader(snapshot)
  const scope = new NamespaceScope(reader, proxyView({ kind: 'sidecar', namespace: 'a' }))
  translateCluster(scope, outboundRef({ namespace: 'a', hostname: 's1.a.svc.cluster.local' }, 80))
  const index = new DependencyIndex()
  index.set('cluster', reader.dependencies)
  const stale = (text: string): boolean =>
    index.stale(touchedKeys(model.update(events(text)).touched)).has('cluster')
  assert.equal(stale(yaml('b', 2)), false)
  assert.equal(stale(yaml('a', 2)), true)
})
