/** Parts of the server on their own: the rate of new streams, the turn of pushes, fields of clusters, draining. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock, silentLogger, systemClock } from '../base/index.ts'
import { GrpcChannel, GrpcServer } from '../grpc/index.ts'
import { cluster } from '../proto/envoy.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  toBinary,
  typeUrl,
} from '../proto/index.ts'
import { Admission } from './admission.ts'
import { endpointNameOf } from './cluster-fields.ts'
import { MemorySource, testProxy } from './fixture.ts'
import { createXdsServer } from './index.ts'
import { type Pushed, PushGate } from './push-gate.ts'

test('streams above the rate wait for their turn, and are refused when that is too far away', async () => {
  const clock = new FakeClock()
  const admission = new Admission(clock, { connectionsPerSecond: 10, admissionWaitMs: 300 })
  const outcomes: string[] = []
  const enter = (): void => {
    admission.enter().then(
      () => outcomes.push('in'),
      (error: Error) => outcomes.push(error.message),
    )
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  for (let index = 0; index < 15; index++) enter()
  await settle()
  // Ten at once; three within 300 ms; two would come later than that.
  assert.equal(outcomes.filter((outcome) => outcome === 'in').length, 10)
  assert.equal(outcomes.filter((outcome) => /rate limit/.test(outcome)).length, 2)
  clock.advance(300)
  await settle()
  assert.equal(outcomes.filter((outcome) => outcome === 'in').length, 13)
  clock.advance(1000)
  enter()
  await settle()
  assert.equal(outcomes.at(-1), 'in')
})

class Sender implements Pushed {
  readonly gate: PushGate
  pumped = 0

  constructor(gate: PushGate) {
    this.gate = gate
  }

  pump(): boolean {
    this.pumped++
    return true
  }
}

test('so many are sent to at once, and one that is slow keeps its place for a moment only', () => {
  const clock = new FakeClock()
  const waits: number[] = []
  const limits = { pushesMax: 2, pushSlotMs: 500, pushSliceMs: 10 }
  const gate = new PushGate(clock, limits, (ms) => waits.push(ms))
  const senders = Array.from({ length: 5 }, () => new Sender(gate))
  for (const sender of senders) gate.enter(sender)
  const pumped = (): number[] => senders.map((sender) => sender.pumped)
  assert.deepEqual(pumped(), [1, 1, 0, 0, 0])
  clock.advance(100)
  const [first, second, , fourth] = senders
  assert.ok(first && second && fourth)
  gate.done(first)
  assert.deepEqual(pumped(), [1, 1, 1, 0, 0])
  // The second one never finishes: half a second after its beginning it no longer counts.
  clock.advance(400)
  assert.deepEqual(pumped(), [1, 1, 1, 1, 0])
  // Who has gone neither waits nor counts.
  gate.leave(fourth)
  assert.deepEqual(pumped(), [1, 1, 1, 1, 1])
  assert.deepEqual(waits, [0, 0, 100, 500, 500])
  gate.stop()
})

test('after its slice of time a round of pushes gives the event loop its turn', () => {
  const clock = new FakeClock()
  const gate = new PushGate(clock, { pushesMax: 10, pushSlotMs: 500, pushSliceMs: 10 }, () => {})
  const slow = { pumps: 0, pump: (): boolean => (clock.advance(20), slow.pumps++, false) }
  const late = { pumps: 0, pump: (): boolean => (late.pumps++, false) }
  const wake = { pump: (): boolean => (gate.enter(slow), gate.enter(late), false) }
  gate.enter(wake)
  assert.deepEqual([slow.pumps, late.pumps], [1, 0])
  clock.advance(0)
  assert.deepEqual([slow.pumps, late.pumps], [1, 1])
})

test('the endpoint name of a cluster is what a protobuf library reads, whatever else is in it', () => {
  const types = [
    cluster.Cluster_DiscoveryType.STATIC,
    cluster.Cluster_DiscoveryType.STRICT_DNS,
    cluster.Cluster_DiscoveryType.EDS,
  ]
  const arbitrary = fc.record({
    name: fc.string(),
    altStatName: fc.string({ maxLength: 300 }),
    type: fc.constantFrom(...types),
    serviceName: fc.option(fc.string(), { nil: undefined }),
    seconds: fc.integer({ min: 0, max: 1_000_000 }),
  })
  fc.assert(
    fc.property(arbitrary, ({ name, altStatName, type, serviceName, seconds }) => {
      const message = create(cluster.ClusterSchema, {
        name,
        altStatName,
        clusterDiscoveryType: { case: 'type', value: type },
        ...(serviceName === undefined ? {} : { edsClusterConfig: { serviceName } }),
        perConnectionBufferLimitBytes: seconds,
      })
      const isEds = type === cluster.Cluster_DiscoveryType.EDS
      const expected = isEds ? serviceName || name : undefined
      assert.equal(endpointNameOf(toBinary(cluster.ClusterSchema, message)), expected)
    }),
  )
  // Bytes that are no message end the reading, not the process.
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void endpointNameOf(bytes)))
})

test('a stopping server ends its streams one after the other and refuses new ones', async () => {
  const source = new MemorySource()
  const xds = createXdsServer({
    source,
    authenticate: async () => ({ identity: undefined }),
    clock: systemClock,
    logger: silentLogger,
    limits: { drainMs: 400, connectionsPerSecond: 1_000 },
  })
  const server = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: false }],
    logger: silentLogger,
  })
  xds.register(server)
  await xds.start()
  await server.start()
  const ends: { at: number; status: number }[] = []
  const channels: GrpcChannel[] = []
  const connect = (): Promise<number> => {
    const channel = new GrpcChannel({ address: `127.0.0.1:${server.ports[0]}` })
    channels.push(channel)
    const stream = channel.bidi(AggregatedDiscoveryService.method.deltaAggregatedResources)
    const request = { node: { id: testProxy.id }, typeUrl: typeUrl.address }
    stream.send(create(DeltaDiscoveryRequestSchema, request) as DeltaDiscoveryRequest)
    stream.onMessage(() => {})
    return new Promise((resolve) =>
      stream.onEnd(({ status }) => {
        ends.push({ at: performance.now(), status })
        resolve(status)
      }),
    )
  }
  const running = Array.from({ length: 20 }, connect)
  while (xds.connections().length < 20) await new Promise((resolve) => setTimeout(resolve, 5))
  const stopping = xds.stop()
  await running[0]
  assert.equal(await connect(), 14)
  await stopping
  assert.deepEqual(new Set(await Promise.all(running)), new Set([0]))
  const times = ends.filter(({ status }) => status === 0).map(({ at }) => at)
  const spread = Math.max(...times) - Math.min(...times)
  assert.ok(spread > 200, `all ended within ${spread} ms`)
  for (const channel of channels) channel.close()
  await server.stop(0)
})
