import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import { modelEvents } from '../ingest/index.ts'
import type { KubeObject } from '../kube/index.ts'
import {
  buildSnapshot,
  Credential,
  configVisibleTo,
  defaultMeshSettings,
  hostMatches,
  isClusterLocal,
  isExportedTo,
  type MeshConfigSpec,
  matchesSelector,
  mergeProxyConfig,
  resolveHost,
  type Snapshot,
  serviceScope,
} from './index.ts'

const settings = { ...defaultMeshSettings, sharedMeshConfig: 'shared', revision: 'canary' }

function meshOf(layers: Readonly<Record<string, MeshConfigSpec>>): Snapshot {
  return buildSnapshot(
    settings,
    Object.entries(layers).map(([key, value]) => ({ kind: 'MeshConfig', key, value }) as const),
  )
}

test('without MeshConfig the mesh has the defaults of Istio', () => {
  const { mesh } = meshOf({})
  assert.equal(mesh.connectTimeout, '10s')
  assert.equal(mesh.outboundTrafficPolicy.mode, 'ALLOW_ANY')
  assert.equal(mesh.dnsRefreshRate, '60s')
  assert.equal(mesh.trustDomain, 'cluster.local')
  assert.equal(mesh.rootNamespace, 'istio-system')
  assert.equal(mesh.accessLogFile, '')
  assert.deepEqual(
    [mesh.enableTracing, mesh.enableAutoMtls, mesh.enablePrometheusMerge, mesh.proxyListenPort],
    [true, true, true, 15001],
  )
  assert.equal(mesh.localityLbSetting.enabled, true)
  assert.deepEqual(mesh.defaultServiceExportTo, ['*'])
})

test("the revision's MeshConfig lies over the shared one; sets are joined, fields replaced", () => {
  const { mesh, settings: effective } = meshOf({
    shared: {
      accessLogFile: '/dev/stdout',
      accessLogEncoding: 'JSON',
      trustDomainAliases: ['old.org'],
      extensionProviders: [{ name: 'otel', opentelemetry: { service: 'shared', port: 1 } }],
      defaultProviders: { tracing: ['otel'] },
      defaultConfig: { concurrency: 2, proxyMetadata: { A: '1', B: '1' } },
    },
    'istio-canary': {
      accessLogFile: '',
      trustDomain: 'new.org',
      trustDomainAliases: ['older.org'],
      extensionProviders: [{ name: 'otel', opentelemetry: { service: 'own', port: 2 } }],
      defaultProviders: { metrics: ['prometheus'] },
      defaultConfig: { proxyMetadata: { B: '2' } },
      defaultServiceExportTo: [],
    },
    istio: { accessLogFile: '/not/ours' },
  })
  assert.equal(effective.trustDomain, 'new.org')
  assert.equal(mesh.accessLogFile, '')
  assert.equal(mesh.accessLogEncoding, 'JSON')
  assert.deepEqual(mesh.trustDomainAliases, ['old.org', 'older.org'])
  const otel = mesh.extensionProviders.filter(({ name }) => name === 'otel')
  assert.deepEqual(otel, [{ name: 'otel', opentelemetry: { service: 'own', port: 2 } }])
  assert.ok(mesh.extensionProviders.some(({ name }) => name === 'prometheus'))
  assert.deepEqual(mesh.defaultProviders, { tracing: ['otel'], metrics: ['prometheus'] })
  assert.equal(mesh.defaultConfig.concurrency, 2)
  assert.deepEqual(mesh.defaultConfig.proxyMetadata, { A: '1', B: '2' })
  assert.deepEqual(mesh.defaultServiceExportTo, ['*'])
})

test('a proxy config lies over another by key', () => {
  const below = { concurrency: 1, proxyMetadata: { A: '1' }, proxyHeaders: { server: {} } }
  assert.equal(mergeProxyConfig(below, undefined), below)
  assert.deepEqual(mergeProxyConfig(below, { proxyMetadata: { B: '2' }, statusPort: 1 }), {
    ...below,
    proxyMetadata: { A: '1', B: '2' },
    statusPort: 1,
  })
})

test('exportTo: own namespace, names, all, nobody, and the default where nothing is said', () => {
  const seen = (exportTo: string[] | undefined, defaults: string[], to: string): boolean =>
    isExportedTo(exportTo, defaults, 'a', to)
  assert.deepEqual(
    ['a', 'b'].map((to) => seen(['.'], ['*'], to)),
    [true, false],
  )
  assert.deepEqual(
    ['a', 'b'].map((to) => seen(['b'], ['*'], to)),
    [false, true],
  )
  assert.deepEqual(
    ['a', 'b'].map((to) => seen(['*'], ['.'], to)),
    [true, true],
  )
  assert.deepEqual(
    ['a', 'b'].map((to) => seen(['~'], ['*'], to)),
    [false, false],
  )
  assert.deepEqual(
    ['a', 'b'].map((to) => seen(undefined, ['.'], to)),
    [true, false],
  )
  const snapshot = meshOf({ 'istio-canary': { defaultVirtualServiceExportTo: ['.'] } })
  const config = {
    group: '',
    version: '',
    kind: '',
    name: '',
    namespace: 'a',
    labels: {},
    annotations: {},
    createdAt: 0,
    generation: 0,
    spec: {},
  }
  assert.equal(configVisibleTo(snapshot, 'VirtualService', config, 'b'), false)
  assert.equal(configVisibleTo(snapshot, 'DestinationRule', config, 'b'), true)
})

test('services are shared between clusters, or kept to their own, as MeshConfig says', () => {
  const service: KubeObject = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's', namespace: 'a', labels: { 'istio.io/global': 'true' } },
  }
  const scopeWith = (mesh: string): string => {
    const metadata = { name: 'istio', namespace: 'istio-system' }
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { mesh } }
    const snapshot = buildSnapshot(
      defaultMeshSettings,
      modelEvents([map, service], defaultMeshSettings),
    )
    const [found] = snapshot.services.values()
    return found === undefined ? 'missing' : serviceScope(snapshot, found)
  }
  const global = '{servicesSelector: {matchLabels: {istio.io/global: "true"}}, scope: GLOBAL}'
  const elsewhere = '{namespaceSelector: {matchLabels: {x: y}}, scope: GLOBAL}'
  assert.equal(scopeWith(''), 'local')
  assert.equal(scopeWith(`serviceScopeConfigs: [${global}]`), 'global')
  assert.equal(scopeWith(`serviceScopeConfigs: [${elsewhere}]`), 'local')
  assert.equal(scopeWith(`serviceScopeConfigs: [{scope: LOCAL}, ${global}]`), 'local')
  const snapshot = meshOf({
    'istio-canary': {
      serviceSettings: [
        { settings: { clusterLocal: true }, hosts: ['*.a.svc.cluster.local'] },
        { settings: { clusterLocal: false }, hosts: ['s.a.svc.cluster.local'] },
      ],
    },
  })
  assert.equal(isClusterLocal(snapshot, 'x.a.svc.cluster.local'), true)
  assert.equal(isClusterLocal(snapshot, 's.a.svc.cluster.local'), false)
  assert.equal(isClusterLocal(snapshot, 's.b.svc.cluster.local'), false)
})

test('hosts: short names are of the own namespace, wildcards cover what ends like them', () => {
  assert.equal(resolveHost('cart', 'shop', 'cluster.local'), 'cart.shop.svc.cluster.local')
  assert.equal(resolveHost('cart.shop', 'other', 'cluster.local'), 'cart.shop')
  assert.equal(resolveHost('*', 'shop', 'cluster.local'), '*')
  const cases: [string, string, boolean][] = [
    ['a.b', 'A.b', true],
    ['*.b', 'a.b', true],
    ['*.b', 'x.a.b', true],
    ['*.b', 'b', false],
    ['*.b', '*.a.b', true],
    ['*.a.b', '*.b', false],
    ['*', 'a.b', true],
  ]
  for (const [pattern, host, expected] of cases) {
    assert.equal(hostMatches(pattern, host), expected, `${pattern} ${host}`)
  }
})

test('label selectors have pairs and expressions; an unknown operator selects nothing', () => {
  const labels = { app: 'x', tier: 'web' }
  const one = (key: string, operator: string, values?: string[]): boolean =>
    matchesSelector({ matchExpressions: [{ key, operator, ...(values && { values }) }] }, labels)
  assert.ok(matchesSelector({ matchLabels: { app: 'x' } }, labels))
  assert.ok(!matchesSelector({ matchLabels: { app: 'y' } }, labels))
  assert.ok(one('app', 'In', ['x', 'y']) && !one('app', 'In', ['y']) && !one('no', 'In', ['x']))
  assert.ok(one('no', 'NotIn', ['x']) && !one('app', 'NotIn', ['x']))
  assert.ok(one('app', 'Exists') && !one('no', 'Exists'))
  assert.ok(one('no', 'DoesNotExist') && !one('app', 'DoesNotExist'))
  assert.ok(!one('app', 'Like', ['x']))
})

test('a private key is in nothing that prints, and a change of it is a change of the credential', () => {
  const make = (privateKey: string): Credential =>
    new Credential({
      kind: 'Secret',
      namespace: 'a',
      name: 'c',
      certificate: 'PEM',
      privateKey,
      privateKeyDigest: String(privateKey.length),
    })
  const one = make('very secret')
  assert.equal(one.revealPrivateKey(), 'very secret')
  for (const text of [JSON.stringify(one), inspect(one, { showHidden: true, depth: 9 })]) {
    assert.ok(!text.includes('very secret'), text)
  }
  assert.notDeepEqual(one, make('another'))
  assert.deepEqual(one, make('very secret'))
})
