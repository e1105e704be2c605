import assert from 'node:assert/strict'
import test from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { parseIp } from '../../base/index.ts'
import { create, workload as proto } from '../../proto/index.ts'
import { chooseEndpoint, localityRank } from './balance.ts'
import { Store } from './store.ts'
import type { Workload } from './types.ts'

type WorkloadInit = MessageInitShape<typeof proto.WorkloadSchema>
type ServiceInit = MessageInitShape<typeof proto.ServiceSchema>

const ip = (text: string): Uint8Array => parseIp(text) ?? new Uint8Array()
const svcKey = 'ns/svc.ns.svc.cluster.local'
const ports = [{ servicePort: 80, targetPort: 8080 }]

function putWorkload(store: Store, uid: string, init: WorkloadInit = {}): Workload {
  const value = create(proto.WorkloadSchema, { uid, namespace: 'ns', name: uid, ...init })
  store.putAddress(create(proto.AddressSchema, { type: { case: 'workload', value } }))
  const stored = store.workloads.get(uid)
  assert.ok(stored)
  return stored
}

function putService(store: Store, init: ServiceInit = {}): void {
  const value = create(proto.ServiceSchema, {
    name: 'svc',
    namespace: 'ns',
    hostname: 'svc.ns.svc.cluster.local',
    ports,
    ...init,
  })
  store.putAddress(create(proto.AddressSchema, { type: { case: 'service', value } }))
}

const pod = (name: string): string => `c//Pod/ns/${name}`
const { HBONE } = proto.TunnelProtocol

test('an address that several workloads claim belongs to the HBONE pod, then the pod, then HBONE', () => {
  const store = new Store()
  const addresses = [ip('10.0.0.1')]
  const found = (): string | undefined => store.workloadAt('', '10.0.0.1')?.uid
  putWorkload(store, 'entry', { addresses })
  assert.equal(found(), 'entry')
  putWorkload(store, 'hbone-entry', { addresses, tunnelProtocol: HBONE })
  assert.equal(found(), 'hbone-entry')
  putWorkload(store, pod('plain'), { addresses })
  assert.equal(found(), pod('plain'))
  putWorkload(store, pod('mesh'), { addresses, tunnelProtocol: HBONE })
  assert.equal(found(), pod('mesh'))
  store.removeAddress(pod('mesh'))
  assert.equal(found(), pod('plain'))
})

test('a host-network workload is not found by address but is an endpoint', () => {
  const store = new Store()
  putService(store)
  const init = { addresses: [ip('10.0.0.9')], services: { [svcKey]: { ports } } }
  putWorkload(store, pod('a'), { ...init, networkMode: proto.NetworkMode.HOST_NETWORK })
  assert.equal(store.workloadAt('', '10.0.0.9'), undefined)
  assert.equal([...store.workloads.endpointsOf(svcKey)].length, 1)
})

test('a workload that changes loses its old address and services', () => {
  const store = new Store()
  putWorkload(store, pod('a'), { addresses: [ip('10.0.0.1')], services: { [svcKey]: { ports } } })
  putWorkload(store, pod('a'), { addresses: [ip('10.0.0.2')] })
  assert.equal(store.workloadAt('', '10.0.0.1'), undefined)
  assert.equal(store.workloadAt('', '10.0.0.2')?.uid, pod('a'))
  assert.deepEqual(store.stagedServices(), [])
})

test('endpoints may come before their service', () => {
  const store = new Store()
  putWorkload(store, pod('a'), { addresses: [ip('10.0.0.1')], services: { [svcKey]: { ports } } })
  assert.deepEqual(store.stagedServices(), [svcKey])
  putService(store)
  assert.deepEqual(store.stagedServices(), [])
  assert.equal([...store.workloads.endpointsOf(svcKey)].length, 1)
})

test('what a node proxy can’t honour is refused and the last good version stays', () => {
  const store = new Store()
  putWorkload(store, pod('a'), { addresses: [ip('10.0.0.1')] })
  const bad: WorkloadInit[] = [
    { tunnelProtocol: proto.TunnelProtocol.LEGACY_ISTIO_MTLS },
    { addresses: [new Uint8Array(3)] },
    { serviceAccount: 'a/b' },
    { waypoint: {} },
  ]
  for (const init of bad) assert.throws(() => putWorkload(store, pod('a'), init))
  assert.equal(store.workloadAt('', '10.0.0.1')?.uid, pod('a'))
  assert.throws(() => putWorkload(store, '', {}))
  assert.throws(() => putService(store, { hostname: '' }))
})

test('a virtual address belongs to the client’s namespace, then to the canonical service, then the first', () => {
  const store = new Store()
  const addresses = [{ address: ip('10.96.0.1') }]
  putService(store, { namespace: 'b', addresses })
  putService(store, { namespace: 'c', addresses, canonical: true })
  putService(store, { namespace: 'd', addresses, visibility: proto.Visibility.NAMESPACE })
  const owner = (client: string): string | undefined =>
    store.services.byVip('', '10.96.0.1', client)?.namespace
  assert.equal(owner('b'), 'b')
  assert.equal(owner('d'), 'd')
  assert.equal(owner('x'), 'c')
  store.removeAddress('c/svc.ns.svc.cluster.local')
  assert.equal(owner('x'), 'b')
  store.removeAddress('b/svc.ns.svc.cluster.local')
  assert.equal(owner('x'), undefined, 'exported to its own namespace only')
})

test('ranges are asked when no service has the exact address, longest first', () => {
  const store = new Store()
  const range = (address: string, length: number) => [{ address: ip(address), length }]
  putService(store, { namespace: 'wide', addresses: range('10.0.0.0', 8) })
  putService(store, { namespace: 'narrow', addresses: range('10.1.0.0', 16) })
  putService(store, { namespace: 'exact', addresses: range('10.1.2.3', 32) })
  const owner = (address: string, client = 'x'): string | undefined =>
    store.services.byVip('', address, client)?.namespace
  assert.equal(owner('10.1.2.3'), 'exact')
  assert.equal(owner('10.1.2.4'), 'narrow')
  assert.equal(owner('10.1.2.4', 'wide'), 'wide')
  assert.equal(owner('10.2.0.1'), 'wide')
  assert.equal(owner('11.0.0.1'), undefined)
})

interface Setup {
  readonly service?: ServiceInit
  readonly endpoints: Record<string, WorkloadInit>
  readonly client?: WorkloadInit
}

/** The endpoints that can be chosen, with their port. */
function choices({ service = {}, endpoints, client = {} }: Setup, port = 80): string[] {
  const store = new Store()
  putService(store, service)
  for (const [uid, init] of Object.entries(endpoints)) {
    const services = { [svcKey]: { ports } }
    putWorkload(store, uid, { addresses: [ip('10.0.0.1')], services, ...init })
  }
  const caller = putWorkload(store, 'client', client)
  const chosenService = store.services.get(svcKey)
  assert.ok(chosenService)
  const seen = new Set<string>()
  for (let step = 0; step < 20; step++) {
    const chosen = chooseEndpoint({
      service: chosenService,
      endpoints: store.workloads.endpointsOf(svcKey),
      port,
      client: caller,
      random: () => step / 20,
    })
    if (chosen !== undefined) seen.add(`${chosen.workload.uid}:${chosen.port}`)
  }
  return [...seen].toSorted()
}

test('unhealthy endpoints and those without weight get nothing', () => {
  const unhealthy = { status: proto.WorkloadStatus.UNHEALTHY }
  const endpoints = { a: {}, b: unhealthy, c: { capacity: 0 }, d: { addresses: [] } }
  assert.deepEqual(choices({ endpoints }), ['a:8080'])
  const all = { healthPolicy: proto.LoadBalancing_HealthPolicy.ALLOW_ALL }
  assert.deepEqual(choices({ endpoints, service: { loadBalancing: all } }), ['a:8080', 'b:8080'])
})

test('the service must define the port; a target port of 0 is each workload’s own', () => {
  assert.deepEqual(choices({ endpoints: { a: {} } }, 81), [])
  const service = { ports: [{ servicePort: 80, targetPort: 0 }] }
  const own = (targetPort: number) => ({
    services: { [svcKey]: { ports: [{ servicePort: 80, targetPort }] } },
  })
  const endpoints = { a: own(1000), b: own(2000), c: { services: { [svcKey]: { ports: [] } } } }
  assert.deepEqual(choices({ service, endpoints }), ['a:1000', 'b:2000'])
})

test('weights divide the connections', () => {
  const store = new Store()
  putService(store)
  const addresses = [ip('10.0.0.1')]
  const services = { [svcKey]: { ports } }
  putWorkload(store, 'a', { addresses, services, capacity: 3 })
  putWorkload(store, 'b', { addresses, services })
  const service = store.services.get(svcKey)
  assert.ok(service)
  const client = putWorkload(store, 'client')
  const counts: Record<string, number> = {}
  for (let step = 0; step < 100; step++) {
    const endpoints = store.workloads.endpointsOf(svcKey)
    const random = (): number => step / 100
    const uid = chooseEndpoint({ service, endpoints, port: 80, client, random })?.workload.uid ?? ''
    counts[uid] = (counts[uid] ?? 0) + 1
  }
  assert.deepEqual(counts, { a: 75, b: 25 })
})

const { NETWORK, REGION, ZONE, NODE } = proto.LoadBalancing_Scope
const at = (region: string, zone = '', node = ''): WorkloadInit => ({
  locality: { region, zone },
  node,
})

test('STRICT needs every scope to agree, FAILOVER takes the closest there are', () => {
  const routingPreference = [REGION, ZONE]
  const endpoints = { near: at('r', 'z1'), far: at('r', 'z2'), away: at('q', 'z1') }
  const client = at('r', 'z1')
  const strict = { mode: proto.LoadBalancing_Mode.STRICT, routingPreference: [REGION, ZONE] }
  assert.deepEqual(choices({ endpoints, client, service: { loadBalancing: strict } }), [
    'near:8080',
  ])
  const failover = { mode: proto.LoadBalancing_Mode.FAILOVER, routingPreference }
  const service = { loadBalancing: failover }
  assert.deepEqual(choices({ endpoints, client, service }), ['near:8080'])
  const { near: _gone, ...rest } = endpoints
  assert.deepEqual(choices({ endpoints: rest, client, service }), ['far:8080'])
  assert.deepEqual(choices({ endpoints: { away: at('q') }, client, service }), ['away:8080'])
  const node = { mode: proto.LoadBalancing_Mode.STRICT, routingPreference: [NODE] }
  const local = { endpoints: { a: at('', '', 'n2') }, client: at('', '', 'n1') }
  assert.deepEqual(choices({ ...local, service: { loadBalancing: node } }), [])
})

test('a first scope of NETWORK puts every remote endpoint below the local ones but still ranks them', () => {
  const store = new Store()
  const client = putWorkload(store, 'client', { network: 'n1', ...at('r', 'z') })
  const rank = (uid: string, init: WorkloadInit): number =>
    localityRank(putWorkload(store, uid, init), client, ['network', 'region', 'zone'])
  assert.equal(rank('same', { network: 'n1', ...at('r', 'z') }), 5)
  assert.equal(rank('other-region', { network: 'n1', ...at('q', 'z') }), 3)
  assert.equal(rank('remote-same-zone', { network: 'n2', ...at('r', 'z') }), 2)
  assert.equal(rank('remote', { network: 'n2', ...at('q', 'z') }), 0)
  assert.equal(NETWORK, 6)
})

test('listeners hear what changed, after the store has it', () => {
  const store = new Store()
  const heard: unknown[] = []
  const stop = store.onChange((change) => {
    heard.push(change)
    if (change.kind === 'workload') assert.equal(store.workloads.get(change.uid)?.uid, 'a')
  })
  putWorkload(store, 'a')
  putService(store)
  stop()
  store.removeAddress('a')
  store.removeAddress('unknown/name')
  assert.deepEqual(heard, [
    { kind: 'workload', uid: 'a' },
    { kind: 'service', key: svcKey },
  ])
})
