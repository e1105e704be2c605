import assert from 'node:assert/strict'
import test from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { parseIp } from '../base/index.ts'
import { create, workload as proto } from '../proto/index.ts'
import { type Route, routeOutbound, Store } from './index.ts'

type WorkloadInit = MessageInitShape<typeof proto.WorkloadSchema>
type ServiceInit = MessageInitShape<typeof proto.ServiceSchema>

const ip = (text: string): Uint8Array => parseIp(text) ?? new Uint8Array()
const { HBONE } = proto.TunnelProtocol
const portList = (servicePort: number, targetPort: number) => ({
  ports: [{ servicePort, targetPort }],
})
const waypointKey = 'ns/waypoint.ns'
const toWaypoint = {
  destination: { case: 'hostname' as const, value: { namespace: 'ns', hostname: 'waypoint.ns' } },
}

class World {
  readonly store = new Store()

  workload(name: string, address: string, init: WorkloadInit = {}): this {
    const value = create(proto.WorkloadSchema, {
      uid: `c//Pod/ns/${name}`,
      name,
      namespace: 'ns',
      serviceAccount: name,
      addresses: address === '' ? [] : [ip(address)],
      tunnelProtocol: HBONE,
      ...init,
    })
    this.store.putAddress(create(proto.AddressSchema, { type: { case: 'workload', value } }))
    return this
  }

  service(name: string, vip: string, init: ServiceInit = {}): this {
    const value = create(proto.ServiceSchema, {
      name,
      namespace: 'ns',
      hostname: `${name}.ns`,
      addresses: [{ address: ip(vip) }],
      ...portList(80, 8080),
      ...init,
    })
    this.store.putAddress(create(proto.AddressSchema, { type: { case: 'service', value } }))
    return this
  }

  /** The waypoint of the namespace with one instance. */
  waypoint(): this {
    return this.service('waypoint', '10.96.0.9', portList(15_008, 15_008)).workload(
      'waypoint',
      '10.0.0.9',
      { services: { [waypointKey]: portList(15_008, 15_008) } },
    )
  }

  route(address: string, port: number, from = 'client', random = 0): Route {
    const client = this.store.workloads.get(`c//Pod/ns/${from}`)
    assert.ok(client)
    return routeOutbound({ store: this.store, client, address, port, random: () => random })
  }
}

function world(): World {
  return new World().workload('client', '10.0.0.1')
}

/** The parts of a route that are about the wire. */
function wire(route: Route): string {
  if (route.kind === 'refused') return `refused ${route.code}`
  if (route.kind === 'tcp') return `tcp ${route.host}:${route.port}`
  return `hbone ${route.host}:${route.port} -> ${route.authority} as ${route.expected.join(' ')}`
}

const server = 'spiffe://cluster.local/ns/ns/sa/server'
const waypointId = 'spiffe://cluster.local/ns/ns/sa/waypoint'

test('what is not known is passed through', () => {
  assert.equal(wire(world().route('1.2.3.4', 443)), 'tcp 1.2.3.4:443')
})

test('a pod of the mesh is reached by HBONE on its address, one outside by TCP', () => {
  const w = world()
    .workload('server', '10.0.0.2')
    .workload('plain', '10.0.0.3', { tunnelProtocol: proto.TunnelProtocol.NONE })
  assert.equal(
    wire(w.route('10.0.0.2', 8080)),
    `hbone 10.0.0.2:15008 -> 10.0.0.2:8080 as ${server}`,
  )
  assert.equal(wire(w.route('10.0.0.3', 8080)), 'tcp 10.0.0.3:8080')
})

test('a service goes to an endpoint, whose own identity or the service’s names are accepted', () => {
  const w = world()
    .service('svc', '10.96.0.1', { subjectAltNames: ['spiffe://td/ns/x/sa/y'] })
    .workload('server', '10.0.0.2', { services: { 'ns/svc.ns': portList(80, 8080) } })
  assert.equal(
    wire(w.route('10.96.0.1', 80)),
    `hbone 10.0.0.2:15008 -> 10.0.0.2:8080 as ${server} spiffe://td/ns/x/sa/y`,
  )
  assert.equal(wire(w.route('10.96.0.1', 81)), 'refused NO_HEALTHY_UPSTREAM')
})

test('a service without endpoints is refused, except where it passes through', () => {
  const w = world().service('svc', '10.96.0.1')
  assert.equal(wire(w.route('10.96.0.1', 80)), 'refused NO_HEALTHY_UPSTREAM')
  w.service('svc', '10.96.0.1', { loadBalancing: { mode: proto.LoadBalancing_Mode.PASSTHROUGH } })
  assert.equal(wire(w.route('10.96.0.1', 80)), 'tcp 10.96.0.1:80')
})

test('a service with a waypoint is reached through it, with the virtual address as authority', () => {
  const w = world()
    .waypoint()
    .service('svc', '10.96.0.1', { waypoint: toWaypoint })
    .workload('server', '10.0.0.2', { services: { 'ns/svc.ns': portList(80, 8080) } })
  assert.equal(
    wire(w.route('10.96.0.1', 80)),
    `hbone 10.0.0.9:15008 -> 10.96.0.1:80 as ${waypointId}`,
  )
  assert.equal(
    wire(w.route('10.96.0.1', 80, 'waypoint')),
    `hbone 10.0.0.2:15008 -> 10.0.0.2:8080 as ${server}`,
    'the waypoint itself goes straight on',
  )
  assert.equal(
    wire(w.route('10.0.0.2', 8080)),
    `hbone 10.0.0.2:15008 -> 10.0.0.2:8080 as ${server}`,
    'a call to the pod does not use the service’s waypoint',
  )
})

test('a workload’s waypoint is used for calls to its address only', () => {
  const w = world()
    .waypoint()
    .service('svc', '10.96.0.1')
    .workload('server', '10.0.0.2', {
      waypoint: toWaypoint,
      services: { 'ns/svc.ns': portList(80, 8080) },
    })
  assert.equal(
    wire(w.route('10.0.0.2', 80)),
    `hbone 10.0.0.9:15008 -> 10.0.0.2:80 as ${waypointId}`,
  )
  assert.equal(wire(w.route('10.96.0.1', 80)), `hbone 10.0.0.2:15008 -> 10.0.0.2:8080 as ${server}`)
})

test('a waypoint that is unknown or has no healthy instance is never passed by', () => {
  const w = world()
    .service('svc', '10.96.0.1', { waypoint: toWaypoint })
    .workload('server', '10.0.0.2', {
      waypoint: toWaypoint,
      services: { 'ns/svc.ns': portList(80, 8080) },
    })
  assert.equal(wire(w.route('10.96.0.1', 80)), 'refused UNKNOWN_WAYPOINT')
  assert.equal(wire(w.route('10.0.0.2', 80)), 'refused UNKNOWN_WAYPOINT')
  w.waypoint()
  const services = { [waypointKey]: portList(15_008, 15_008) }
  w.workload('waypoint', '10.0.0.9', { services, status: proto.WorkloadStatus.UNHEALTHY })
  assert.equal(wire(w.route('10.96.0.1', 80)), 'refused UNKNOWN_WAYPOINT')
})

test('a waypoint can be given by address', () => {
  const byAddress = (address: string) => ({
    destination: { case: 'address' as const, value: { address: ip(address) } },
    hboneMtlsPort: 15_008,
  })
  const w = world()
    .waypoint()
    .service('svc', '10.96.0.1', { waypoint: byAddress('10.96.0.9') })
  const expected = `hbone 10.0.0.9:15008 -> 10.96.0.1:80 as ${waypointId}`
  assert.equal(wire(w.route('10.96.0.1', 80)), expected)
  w.service('svc', '10.96.0.1', { waypoint: byAddress('10.0.0.9') })
  assert.equal(wire(w.route('10.96.0.1', 80)), expected)
})

test('weighted waypoints share by weight, and unusable ones fall back to the plain one', () => {
  const canary = {
    destination: { case: 'hostname' as const, value: { namespace: 'ns', hostname: 'canary.ns' } },
  }
  const weightedWaypoints = [
    { destination: canary, weight: 20 },
    { destination: toWaypoint, weight: 80 },
  ]
  const w = world()
    .waypoint()
    .service('svc', '10.96.0.1', { waypoint: toWaypoint, weightedWaypoints })
  assert.match(wire(w.route('10.96.0.1', 80, 'client', 0.1)), /10\.0\.0\.9/)
  w.service('canary', '10.96.0.8', portList(15_008, 15_008)).workload('canary', '10.0.0.8', {
    services: { 'ns/canary.ns': portList(15_008, 15_008) },
  })
  assert.match(wire(w.route('10.96.0.1', 80, 'client', 0.1)), /10\.0\.0\.8/)
  assert.match(wire(w.route('10.96.0.1', 80, 'client', 0.3)), /10\.0\.0\.9/)
})

test('a workload of another network without a gateway is refused, also when it has an address', () => {
  const w = world().service('svc', '10.96.0.1')
  const services = { 'ns/svc.ns': portList(80, 8080) }
  w.workload('far', '10.0.0.2', { network: 'other', services })
  assert.equal(wire(w.route('10.96.0.1', 80)), 'refused OTHER_NETWORK')
})

test('the family of the address follows the service’s rule, else what was asked for', () => {
  const both = [ip('10.0.0.2'), ip('fd00::2')]
  const w = world()
    .service('svc', '10.96.0.1')
    .workload('server', '', { addresses: both, services: { 'ns/svc.ns': portList(80, 8080) } })
  assert.match(wire(w.route('10.96.0.1', 80)), /^hbone 10\.0\.0\.2:15008/)
  w.service('svc', '10.96.0.1', { ipFamilies: proto.IPFamilies.IPV6_ONLY })
  assert.match(wire(w.route('10.96.0.1', 80)), /^hbone fd00::2:15008 -> \[fd00::2\]:8080/)
  assert.match(wire(w.route('fd00::2', 80)), /^hbone fd00::2:15008/)
})

test('a workload that has only a hostname is reached by it', () => {
  const w = world()
    .service('svc', '10.96.0.1')
    .workload('ext', '', {
      hostname: 'db.example.com',
      tunnelProtocol: proto.TunnelProtocol.NONE,
      services: { 'ns/svc.ns': portList(80, 5432) },
    })
  assert.equal(wire(w.route('10.96.0.1', 80)), 'tcp db.example.com:5432')
})

test('the proxy’s own ports are refused on loopback and on the pod itself', () => {
  for (const address of ['127.0.0.1', '10.0.0.1', '::1']) {
    assert.equal(wire(world().route(address, 15_001)), 'refused ILLEGAL_PORT')
  }
  assert.equal(wire(world().route('1.2.3.4', 15_001)), 'tcp 1.2.3.4:15001')
})
