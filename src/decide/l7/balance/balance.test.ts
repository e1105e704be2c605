import assert from 'node:assert/strict'
import test from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { cluster as clusterApi, endpoint as endpointApi } from '../../../proto/envoy.ts'
import { compiledOrThrow } from '../errors.ts'
import { Exchange } from '../exchange.ts'
import { connection, message, requestOf, steady } from '../fixture.ts'
import type { Balancer, BalancerState, PickContext } from './balancer.ts'
import { type CompiledCluster, compileCluster } from './cluster.ts'
import { compileEndpoints, type Health, type Host } from './endpoints.ts'
import { originalDestination } from './original.ts'
import { priorityLoads } from './priorities.ts'
import { createBalancer } from './subsets.ts'
import { xxHash64 } from './xxhash64.ts'

function clusterOf(fields: JsonObject): CompiledCluster {
  return compiledOrThrow(
    compileCluster(message(clusterApi.ClusterSchema, { name: 'c', type: 'EDS', ...fields })),
  )
}

interface Wishes {
  readonly weight?: number
  readonly health?: string
  readonly metadata?: JsonObject
}

function host(ip: string, { weight, health, metadata }: Wishes = {}): JsonObject {
  return {
    endpoint: { address: { socketAddress: { address: ip, portValue: 80 } } },
    ...(weight === undefined ? {} : { loadBalancingWeight: weight }),
    ...(health === undefined ? {} : { healthStatus: health }),
    ...(metadata === undefined ? {} : { metadata: { filterMetadata: { 'envoy.lb': metadata } } }),
  }
}

function endpointsOf(...endpoints: JsonObject[]) {
  return compiledOrThrow(
    compileEndpoints(
      message(endpointApi.ClusterLoadAssignmentSchema, { clusterName: 'c', endpoints }),
    ),
  )
}

const calm: BalancerState = { health: () => 'healthy', active: () => 0, since: () => 0 }

/** The same numbers in every run. */
function seeded(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647
    return state / 2_147_483_647
  }
}

function counts(
  balancer: Balancer,
  times: number,
  more: Partial<PickContext> = {},
): Record<string, number> {
  const random = seeded()
  const found: Record<string, number> = {}
  for (let index = 0; index < times; index++) {
    const key = balancer.choose({ random, nowMs: 1_000_000, ...more })?.key ?? 'none'
    found[key] = (found[key] ?? 0) + 1
  }
  return found
}

test('round robin gives every host its turn, and weights their share', () => {
  const even = createBalancer(
    clusterOf({}),
    endpointsOf({ lbEndpoints: [host('10.0.0.1'), host('10.0.0.2')] }),
    calm,
  )
  assert.deepEqual(counts(even, 10), { '10.0.0.1:80': 5, '10.0.0.2:80': 5 })
  const hosts = [host('10.0.0.1', { weight: 3 }), host('10.0.0.2', { weight: 1 })]
  const weighted = createBalancer(clusterOf({}), endpointsOf({ lbEndpoints: hosts }), calm)
  assert.deepEqual(counts(weighted, 400), { '10.0.0.1:80': 300, '10.0.0.2:80': 100 })
})

test('least request turns away from busy hosts', () => {
  const busy: BalancerState = { ...calm, active: ({ key }) => (key === '10.0.0.1:80' ? 50 : 0) }
  const endpoints = endpointsOf({ lbEndpoints: [host('10.0.0.1'), host('10.0.0.2')] })
  const found = counts(
    createBalancer(clusterOf({ lbPolicy: 'LEAST_REQUEST' }), endpoints, busy),
    1000,
  )
  assert((found['10.0.0.2:80'] ?? 0) > 700, JSON.stringify(found))
})

test('load leaves a priority as its hosts fail, and panic uses all of them', () => {
  const count = (hosts: number, healthy: number) => ({ hosts, healthy, degraded: 0 })
  assert.deepEqual(priorityLoads([count(10, 8), count(10, 10)], 1.4, 50).healthy, [100, 0])
  assert.deepEqual(priorityLoads([count(10, 5), count(10, 10)], 1.4, 50).healthy, [70, 30])
  assert.deepEqual(priorityLoads([count(10, 0), count(10, 10)], 1.4, 50).healthy, [0, 100])
  const panic = priorityLoads([count(10, 2), count(10, 2)], 1.4, 50)
  assert.deepEqual(panic, { healthy: [50, 50], degraded: [0, 0], panic: [true, true] })
  const few = endpointsOf({ lbEndpoints: [1, 2, 3, 4].map((index) => host(`10.0.0.${index}`)) })
  const only = (key: string): BalancerState => ({
    ...calm,
    health: (one: Host): Health => (one.key === key ? 'healthy' : 'unhealthy'),
  })
  const state = only('10.0.0.1:80')
  assert.equal(Object.keys(counts(createBalancer(clusterOf({}), few, state), 40)).length, 4)
  const strict = clusterOf({ commonLbConfig: { healthyPanicThreshold: { value: 0 } } })
  assert.deepEqual(counts(createBalancer(strict, few, state), 40), { '10.0.0.1:80': 40 })
})

test('localities share by weight, and a retry leaves priorities out', () => {
  const endpoints = endpointsOf(
    { locality: { zone: 'a' }, loadBalancingWeight: 3, lbEndpoints: [host('10.0.0.1')] },
    { locality: { zone: 'b' }, loadBalancingWeight: 1, lbEndpoints: [host('10.0.0.2')] },
    { priority: 1, loadBalancingWeight: 1, lbEndpoints: [host('10.0.0.3')] },
  )
  const cluster = clusterOf({ commonLbConfig: { localityWeightedLbConfig: {} } })
  const balancer = createBalancer(cluster, endpoints, calm)
  assert.deepEqual(counts(balancer, 400), { '10.0.0.1:80': 300, '10.0.0.2:80': 100 })
  assert.deepEqual(counts(balancer, 4, { without: new Set([0]) }), { '10.0.0.3:80': 4 })
})

test('the hash is XXH64, as Envoy computes it', () => {
  assert.equal(xxHash64(''), 0xef46_db37_51d8_e999n)
  assert.equal(xxHash64('a'), 0xd24e_c4f1_a98c_6e5bn)
  assert.equal(xxHash64('The quick brown fox jumps over the lazy dog'), 0x0b24_2d36_1fda_71bcn)
})

for (const lbPolicy of ['RING_HASH', 'MAGLEV']) {
  test(`${lbPolicy}: a key keeps its host, and losing one host moves few others`, () => {
    const names = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']
    const cluster = clusterOf({ lbPolicy })
    const make = (list: string[]): Balancer =>
      createBalancer(cluster, endpointsOf({ lbEndpoints: list.map((ip) => host(ip)) }), calm)
    const all = make(names)
    const fewer = make(names.slice(0, 3))
    let moved = 0
    let own = 0
    for (let key = 0; key < 2000; key++) {
      const hash = xxHash64(`user ${key}`)
      const pick = { random: () => 0.5, nowMs: 0, hash }
      const before = all.choose(pick)?.key
      assert.equal(all.choose(pick)?.key, before)
      const after = fewer.choose(pick)?.key
      if (before === '10.0.0.4:80') own++
      else if (after !== before) moved++
    }
    assert(own > 300 && own < 700, String(own))
    // Tables and rings have a least size, so that the other hosts' entries become more.
    assert(moved < (lbPolicy === 'MAGLEV' ? 120 : 300), String(moved))
  })
}

test('subsets are chosen by metadata, with the fallback of the configuration', () => {
  const endpoints = endpointsOf({
    lbEndpoints: [
      host('10.0.0.1', { metadata: { v: '1' } }),
      host('10.0.0.2', { metadata: { v: '2' } }),
    ],
  })
  const config = (fallbackPolicy: string) =>
    clusterOf({
      lbSubsetConfig: {
        fallbackPolicy,
        defaultSubset: { v: '2' },
        subsetSelectors: [{ keys: ['v'] }],
      },
    })
  const pick = (fallback: string, metadataMatch?: Record<string, unknown>) => {
    const more = metadataMatch === undefined ? {} : { metadataMatch }
    return Object.keys(
      counts(createBalancer(config(fallback), endpoints, calm), 10, more),
    ).toSorted()
  }
  assert.deepEqual(pick('NO_FALLBACK', { v: '1' }), ['10.0.0.1:80'])
  assert.deepEqual(pick('NO_FALLBACK', { v: '3' }), ['none'])
  assert.deepEqual(pick('DEFAULT_SUBSET', { v: '3' }), ['10.0.0.2:80'])
  assert.deepEqual(pick('ANY_ENDPOINT'), ['10.0.0.1:80', '10.0.0.2:80'])
})

test('a new host begins with a small share, which grows over the window', () => {
  const cluster = clusterOf({ roundRobinLbConfig: { slowStartConfig: { slowStartWindow: '60s' } } })
  const endpoints = endpointsOf({ lbEndpoints: [host('10.0.0.1'), host('10.0.0.2')] })
  const share = (ageMs: number): number => {
    const since = ({ key }: Host): number => (key === '10.0.0.2:80' ? 1_000_000 - ageMs : 0)
    return (
      (counts(createBalancer(cluster, endpoints, { ...calm, since }), 1100)['10.0.0.2:80'] ?? 0) /
      1100
    )
  }
  assert(share(0) < 0.11, String(share(0)))
  assert(Math.abs(share(30_000) - 1 / 3) < 0.02, String(share(30_000)))
  assert(Math.abs(share(60_000) - 0.5) < 0.02, String(share(60_000)))
})

test('the original destination is what a header, metadata or the kernel says, in this order', () => {
  const fields = { type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED' }
  const metadataKey = { key: 'tunnel', path: [{ key: 'to' }] }
  const lb = {
    useHttpHeader: true,
    httpHeaderName: 'x-to',
    metadataKey,
    upstreamPortOverride: 15_008,
  }
  const { policy } = clusterOf({ ...fields, originalDstLbConfig: lb }).balancing
  assert(policy.kind === 'original-destination')
  const kernel = { originalDestination: '10.0.0.3:80' }
  const noted = { ...kernel, metadata: { tunnel: { to: '[fd00::2]:80' } } }
  const ask = (facts: object, headers = {}): unknown => {
    const request = requestOf({ headers, connection: { ...connection, ...facts } })
    return originalDestination(policy, new Exchange(request, steady))
  }
  const at = (ip: string) => ({ kind: 'socket', ip, port: 15_008 })
  assert.deepEqual(ask(noted, { 'x-to': '10.0.0.1:80' }), at('10.0.0.1'))
  assert.deepEqual(ask(noted), at('fd00::2'))
  assert.deepEqual(ask(kernel), at('10.0.0.3'))
  assert.equal(ask({}, { 'x-to': 'no address' }), undefined)
})

test('what a balancer cannot do as written is refused by field', () => {
  const refused = (fields: JsonObject): string | undefined =>
    compileCluster(message(clusterApi.ClusterSchema, { name: 'c', ...fields })).errors?.[0]?.field
  assert.equal(
    refused({ lbPolicy: 'MAGLEV', maglevLbConfig: { tableSize: '100' } }),
    'maglev_lb_config.table_size',
  )
  assert.equal(
    refused({ lbPolicy: 'RING_HASH', ringHashLbConfig: { hashFunction: 'MURMUR_HASH_2' } }),
    'ring_hash_lb_config.hash_function',
  )
  assert.equal(refused({ upstreamConfig: { name: 'x' } }), 'upstream_config')
})
