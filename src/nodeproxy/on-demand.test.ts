import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock, parseIp } from '../base/index.ts'
import { create, workload as proto } from '../proto/index.ts'
import { readConfig } from './config.ts'
import { OnDemand } from './on-demand.ts'
import { Store } from './state/store.ts'
import type { Workload } from './state/types.ts'

const bytes = (ip: string): Uint8Array => parseIp(ip) ?? new Uint8Array()

/** A control plane that knows a service with a waypoint, and answers what it is asked. */
function world() {
  const store = new Store()
  const asked: string[] = []
  const add = (name: string, ip: string, services: string[] = []): void =>
    store.putAddress(
      create(proto.AddressSchema, {
        type: {
          case: 'workload',
          value: create(proto.WorkloadSchema, {
            uid: `c//Pod/ns/${name}`,
            name,
            namespace: 'ns',
            addresses: [bytes(ip)],
            services: Object.fromEntries(services.map((key) => [key, { ports: [] }])),
          }),
        },
      }),
    )
  const answers: Record<string, () => void> = {
    '/10.96.0.1': () => {
      store.putAddress(
        create(proto.AddressSchema, {
          type: {
            case: 'service',
            value: create(proto.ServiceSchema, {
              name: 'shop',
              namespace: 'ns',
              hostname: 'shop.ns.svc.cluster.local',
              addresses: [{ address: bytes('10.96.0.1') }],
              waypoint: {
                destination: {
                  case: 'hostname',
                  value: { namespace: 'ns', hostname: 'waypoint.ns.svc.cluster.local' },
                },
              },
            }),
          },
        }),
      )
      add('shop', '10.0.0.2', ['ns/shop.ns.svc.cluster.local'])
    },
    'c//Pod/ns/client': () => add('client', '10.0.0.1'),
  }
  const clock = new FakeClock(0)
  let silent = false
  const onDemand = new OnDemand({
    store,
    clock,
    clusterId: 'c',
    ask(name) {
      asked.push(name)
      if (silent) return new Promise(() => {})
      answers[name]?.()
      return Promise.resolve()
    },
  })
  const client = async (): Promise<Workload> => {
    await onDemand.own({ namespace: 'ns', name: 'client', serviceAccount: 'default' })
    const found = store.workloads.byPod('ns', 'client')
    assert.ok(found)
    return found
  }
  return { store, asked, clock, onDemand, client, hush: () => (silent = true) }
}

test('a destination is asked for by address, and then the gateways that it needs', async () => {
  const { asked, onDemand, client } = world()
  await onDemand.destination(await client(), '10.96.0.1')
  assert.deepEqual(asked, ['c//Pod/ns/client', '/10.96.0.1', 'ns/waypoint.ns.svc.cluster.local'])
})

test('without an answer a connection is refused instead of taking the address for one outside', async () => {
  const { clock, onDemand, client, hush } = world()
  const own = await client()
  hush()
  const waiting = assert.rejects(onDemand.destination(own, '10.96.0.9'), /does not say who/)
  await new Promise(setImmediate)
  clock.advance(5_000)
  await waiting
})

test('the environment switches it on, but not beside the DNS proxy', () => {
  assert.equal(readConfig({}).onDemand, false)
  assert.throws(() => readConfig({ XDS_ON_DEMAND: 'true' }), /DNS proxy/)
  const both = { XDS_ON_DEMAND: 'true', ISTIO_META_DNS_CAPTURE: 'false' }
  assert.equal(readConfig(both).onDemand, true)
})

test('windows, streams and threads come from the environment, within bounds', () => {
  const config = readConfig({
    HTTP2_STREAM_WINDOW_SIZE: '100000',
    HTTP2_FRAME_SIZE: '65536',
    POOL_MAX_STREAMS_PER_CONNECTION: '7',
    POOL_UNUSED_RELEASE_TIMEOUT: '90s',
    ZTUNNEL_WORKER_THREADS: '4',
  })
  assert.equal(config.http2.limits?.streamWindowBytes, 100_000)
  assert.equal(config.http2.limits?.connectionWindowBytes, 16 * 1024 * 1024)
  assert.equal(config.http2.limits?.frameBytes, 65_536)
  assert.equal(config.http2.maxStreamsPerConnection, 7)
  assert.equal(config.http2.idleReleaseMs, 90_000)
  assert.equal(config.workers, 4)
  assert.throws(() => readConfig({ HTTP2_FRAME_SIZE: '1' }), /from 16384/)
  assert.throws(() => readConfig({ ZTUNNEL_WORKER_THREADS: 'many' }), /whole number/)
})
