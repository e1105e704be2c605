import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { silentLogger } from '../base/index.ts'
import type { Informer, InformerHandlers } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'
import { defaultMeshSettings, Model } from '../model/index.ts'
import { InformerFeed, slimObject } from './index.ts'

/** A cache that the test fills itself; it calls handlers as an informer does. */
class Cache implements Informer {
  readonly synced = true
  readonly #objects = new Map<string, KubeObject>()
  readonly #handlers = new Set<InformerHandlers<KubeObject>>()

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  get(key: string): KubeObject | undefined {
    return this.#objects.get(key)
  }
  list(): KubeObject[] {
    return [...this.#objects.values()]
  }
  on(handlers: InformerHandlers<KubeObject>): () => void {
    this.#handlers.add(handlers)
    for (const object of this.list()) handlers.added?.(object)
    return () => this.#handlers.delete(handlers)
  }
  addIndex(): void {}
  byIndex(): KubeObject[] {
    return []
  }
  put(object: KubeObject): void {
    const key = `${object.kind}/${object.metadata.namespace}/${object.metadata.name}`
    const previous = this.#objects.get(key)
    this.#objects.set(key, object)
    for (const handlers of this.#handlers) {
      if (previous === undefined) handlers.added?.(object)
      else handlers.updated?.(object, previous)
    }
  }
}

function namespace(name: string, labels: Record<string, string>): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
}

function service(name: string, ns: string): KubeObject {
  const spec = { clusterIP: '10.96.0.1', ports: [{ port: 80 }] }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: ns }, spec }
}

function mesh(text: string): KubeObject {
  const metadata = { name: 'istio', namespace: 'istio-system' }
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { mesh: text } }
  return object
}

test('discovery selectors take effect live: namespaces come in and fall out with all they hold', async () => {
  const model = new Model(defaultMeshSettings)
  const cache = new Cache()
  for (const object of [
    service('one', 'a'),
    service('two', 'b'),
    mesh('discoverySelectors: [{matchLabels: {mesh: "yes"}}]'),
    namespace('a', { mesh: 'yes' }),
    namespace('b', {}),
  ]) {
    cache.put(object)
  }
  const feed = new InformerFeed({
    informers: [cache],
    settings: defaultMeshSettings,
    logger: silentLogger,
    apply: (events) => void model.update(events),
  })
  const seen = async (): Promise<string[]> => {
    await setImmediate()
    return [...model.snapshot.objects.Service.keys()].toSorted()
  }
  await feed.start()
  assert.deepEqual(await seen(), ['a/one'])
  cache.put(namespace('b', { mesh: 'yes' }))
  assert.deepEqual(await seen(), ['a/one', 'b/two'])
  cache.put(namespace('a', {}))
  assert.deepEqual(await seen(), ['b/two'])
  cache.put(service('three', 'a'))
  assert.deepEqual(await seen(), ['b/two'])
  cache.put(mesh('discoverySelectors: [{matchLabels: {mesh: "no"}}]'))
  assert.deepEqual(await seen(), [])
  cache.put(mesh(''))
  assert.deepEqual(await seen(), ['a/one', 'a/three', 'b/two'])
  cache.put(namespace('c', { mesh: 'yes' }))
  cache.put(service('four', 'c'))
  cache.put(mesh('discoverySelectors: [{matchLabels: {mesh: "yes"}}]'))
  assert.deepEqual(await seen(), ['b/two', 'c/four'])
  await feed.stop()
})

test('caches keep what is read: pods slim down, and secrets without certificates lose their data', () => {
  const pod = slimObject({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'p',
      namespace: 'a',
      uid: 'u',
      labels: { app: 'x' },
      annotations: { 'ambient.istio.io/redirection': 'enabled', note: 'long', 'a.istio.io/b': 'c' },
      managedFields: [{}],
    },
    spec: {
      serviceAccountName: 'sa',
      nodeName: 'n',
      volumes: [{}],
      containers: [{ image: 'big', ports: [{ name: 'web', containerPort: 1 }] }, { image: 'x' }],
      initContainers: [{ image: 'once', ports: [{ containerPort: 2 }] }],
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 't' }, { type: 'Other' }],
      containerStatuses: [{}],
    },
  })
  assert.deepEqual(pod, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'p',
      namespace: 'a',
      uid: 'u',
      labels: { app: 'x' },
      annotations: { 'ambient.istio.io/redirection': 'enabled', 'a.istio.io/b': 'c' },
    },
    spec: {
      serviceAccountName: 'sa',
      nodeName: 'n',
      containers: [{ ports: [{ name: 'web', containerPort: 1 }] }],
      initContainers: [],
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  })
  const metadata = { name: 's', namespace: 'a' }
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque' }
  const data = { password: 'cA==', 'tls.crt': 'Qw==' }
  assert.deepEqual(slimObject(Object.assign({ data }, secret)), {
    ...secret,
    data: { 'tls.crt': 'Qw==' },
  })
})
