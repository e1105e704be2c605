import assert from 'node:assert/strict'
import test from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { modelEvents, objectsFromYaml } from '../ingest/index.ts'
import { defaultMeshSettings, type ModelEvent } from '../model/index.ts'
import { typeUrl } from '../proto/index.ts'
import type { ProxyNode, ResourceChange } from '../xds/index.ts'
import { MeshSource } from './source.ts'

function events(yaml: string): ModelEvent[] {
  const objects = objectsFromYaml(yaml).map(({ object }) => object)
  return modelEvents(objects, defaultMeshSettings)
}

function proxy(namespace: string, gateway: string): ProxyNode {
  return {
    id: `router~10.0.0.1~x.${namespace}~${namespace}.svc.cluster.local`,
    type: 'router',
    ip: '10.0.0.1',
    name: 'x',
    namespace,
    cluster: 'Kubernetes',
    metadata: { LABELS: { 'gateway.networking.k8s.io/gateway-name': gateway } },
    identity: `spiffe://cluster.local/ns/${namespace}/sa/x`,
  }
}

const pod = (name: string, ip: string, ready = 'True'): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop}
status: {podIP: ${ip}, conditions: [{type: Ready, status: "${ready}"}]}
---`

const gateways = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: two, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: cart}, ports: [{name: http, port: 80}]}
---`

const slice = (address: string): string => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [${address}]}]
---`

const route = (gateway: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r-${gateway}, namespace: shop}
spec: {parentRefs: [{name: ${gateway}}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
---`

function started(yaml: string): { source: MeshSource; changes: ResourceChange[] } {
  const source = new MeshSource({
    settings: defaultMeshSettings,
    clock: systemClock,
    logger: silentLogger,
  })
  assert.equal(source.ready, false)
  source.apply(events(yaml))
  assert.equal(source.ready, true)
  const changes: ResourceChange[] = []
  source.onChange((change) => changes.push(change))
  return { source, changes }
}

const cluster = 'outbound|80||cart.shop.svc.cluster.local'
/** Clusters that every proxy has. */
const everywhere = ['BlackHoleCluster', 'PassthroughCluster']
const names = (source: MeshSource, type: string, who: ProxyNode): string[] =>
  [...source.list(type, who)].map(({ name }) => name).toSorted()

test('a change names exactly the resources whose content differs', () => {
  const { source, changes } = started(pod('a', '10.0.0.1') + pod('b', '10.0.0.2'))
  const before = source.get(typeUrl.address, 'Kubernetes//Pod/shop/b', proxy('shop', ''))
  source.apply(events(pod('a', '10.0.0.1', 'False') + pod('b', '10.0.0.2')))
  assert.deepEqual([...(changes[0]?.names.keys() ?? [])], [typeUrl.address])
  assert.deepEqual(changes[0]?.names.get(typeUrl.address), new Set(['Kubernetes//Pod/shop/a']))
  // Encoded once: the untouched resource is the same object as before.
  assert.equal(source.get(typeUrl.address, 'Kubernetes//Pod/shop/b', proxy('shop', '')), before)
  source.apply(events(pod('a', '10.0.0.1', 'False')))
  assert.equal(changes.length, 1)
  assert.equal(source.revision, changes[0]?.revision)
})

test('addresses are found by alias, and the alias goes with its resource', () => {
  const { source } = started(pod('a', '10.0.0.1'))
  const who = proxy('shop', '')
  assert.equal(source.get(typeUrl.address, '/10.0.0.1', who)?.name, 'Kubernetes//Pod/shop/a')
  source.apply(events(pod('a', '10.0.0.9')))
  assert.equal(source.get(typeUrl.address, '/10.0.0.1', who), undefined)
  assert.equal(source.get(typeUrl.address, '/10.0.0.9', who)?.name, 'Kubernetes//Pod/shop/a')
  source.apply([{ kind: 'Pod', key: 'shop/a', value: undefined }])
  assert.equal(source.get(typeUrl.address, '/10.0.0.9', who), undefined)
})

test('a gateway sees its own listeners, routes and clusters and nothing else', () => {
  const { source } = started(gateways + slice('10.0.0.1') + route('one'))
  const [one, two, thief] = [proxy('shop', 'one'), proxy('shop', 'two'), proxy('other', 'one')]
  assert.deepEqual(names(source, typeUrl.listener, one), ['0.0.0.0_80'])
  assert.deepEqual(names(source, typeUrl.route, one), ['http.80'])
  assert.deepEqual(names(source, typeUrl.cluster, one), [...everywhere, cluster])
  assert.deepEqual(names(source, typeUrl.endpoint, one), [cluster])
  assert.deepEqual(names(source, typeUrl.listener, two), ['0.0.0.0_80'])
  assert.deepEqual(names(source, typeUrl.cluster, two), everywhere)
  assert.equal(source.get(typeUrl.endpoint, cluster, two), undefined)
  assert.deepEqual(names(source, typeUrl.listener, thief), [])
  assert.notEqual(source.viewKey(typeUrl.listener, one), source.viewKey(typeUrl.listener, two))
  assert.equal(source.viewKey(typeUrl.address, one), source.viewKey(typeUrl.address, two))
})

test('a cluster goes from each gateway with the last route to it', () => {
  const { source, changes } = started(gateways + slice('10.0.0.1') + route('one') + route('two'))
  const [one, two] = [proxy('shop', 'one'), proxy('shop', 'two')]
  const versionFor = (who: ProxyNode) => source.get(typeUrl.cluster, cluster, who)?.version
  assert.equal(versionFor(one), versionFor(two))
  source.apply(events(slice('10.0.0.2')))
  assert.deepEqual([...(changes[0]?.names ?? [])], [[typeUrl.endpoint, new Set([cluster])]])
  source.apply([{ kind: 'HTTPRoute', key: 'shop/r-one', value: undefined }])
  assert.deepEqual(names(source, typeUrl.cluster, one), everywhere)
  assert.deepEqual(names(source, typeUrl.cluster, two), [...everywhere, cluster])
  source.apply([{ kind: 'HTTPRoute', key: 'shop/r-two', value: undefined }])
  assert.deepEqual(names(source, typeUrl.cluster, two), everywhere)
  assert.deepEqual(changes.at(-1)?.names.get(typeUrl.cluster), new Set([cluster]))
})

test('the workloads of a service come along with it, as long as they are its own', () => {
  const service = (selector: string): string => `
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: ${selector}}, ports: [{name: http, port: 80}]}
---`
  const labelled = (name: string, ip: string, app: string): string =>
    pod(name, ip).replace('namespace: shop', `namespace: shop, labels: {app: ${app}}`)
  const pods = labelled('a', '10.0.0.1', 'cart') + labelled('b', '10.0.0.2', 'basket')
  const { source } = started(pods + service('cart'))
  const members = (): string[] =>
    [...source.related(typeUrl.address, 'shop/cart.shop.svc.cluster.local')].map(({ name }) => name)
  assert.deepEqual(members(), ['Kubernetes//Pod/shop/a'])
  source.apply(events(service('basket')))
  assert.deepEqual(members(), ['Kubernetes//Pod/shop/b'])
  source.apply([{ kind: 'Pod', key: 'shop/b', value: undefined }])
  assert.deepEqual(members(), [])
})
