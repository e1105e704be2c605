/** Small parts of the node proxy: connection manager, configuration, logs. */
import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import test from 'node:test'
import { FakeClock } from '../base/index.ts'
import type { L4Decision } from '../decide/index.ts'
import { ConnectionManager, readConfig } from './index.ts'
import { createLineWriter } from './line-writer.ts'

test('changes of one turn are judged once, and only what is denied is closed', async () => {
  const manager = new ConnectionManager()
  const info = { direction: 'inbound', protocol: 'TCP', source: 'a', destination: 'b' } as const
  let judged = 0
  let allowed = true
  const closed: string[] = []
  const add = (name: string, verdict: () => boolean): (() => void) =>
    manager.add({
      podUid: 'pod',
      info,
      judge: (): L4Decision => {
        judged++
        return { allowed: verdict(), reason: 'denied-no-match' }
      },
      close: (reason) => void closed.push(`${name}: ${reason}`),
    })
  add('one', () => allowed)
  const forget = add('two', () => true)
  allowed = false
  for (let change = 0; change < 3; change++) manager.onStoreChange({ kind: 'policy', key: 'x' })
  manager.onStoreChange({ kind: 'service', key: 'x' })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(judged, 2)
  assert.deepEqual(closed, ['one: connection closed due to policy change'])
  assert.equal(manager.size, 1)
  forget()
  assert.equal(manager.size, 0)
})

test('the environment is read with Istio’s names and defaults', () => {
  const config = readConfig({
    XDS_ADDRESS: 'https://istiod.istio-system.svc:15012',
    INSTANCE_IP: '10.0.0.1',
    POD_NAME: 'ztunnel-x',
    POD_NAMESPACE: 'istio-system',
    NODE_NAME: 'node1',
    ISTIO_META_CLUSTER_ID: 'c1',
    ISTIO_META_DNS_CAPTURE: 'false',
    ISTIO_METAJSON_LABELS: '{"a":"b"}',
    XDS_HEADER_X_TENANT: 't',
    SECRET_TTL: '1h30m',
    LOG_LEVEL: 'warn,access=debug',
    LOG_FORMAT: 'json',
    TERMINATION_GRACE_PERIOD_SECONDS: '30',
    AUTH_TOKEN: 'eyJ.literal.token',
    XDS_ROOT_CA: '/root.pem',
  })
  assert.equal(config.xdsAddress, 'istiod.istio-system.svc:15012')
  assert.equal(config.caAddress, config.xdsAddress)
  assert.equal(
    config.node.id,
    'ztunnel~10.0.0.1~ztunnel-x.istio-system~istio-system.svc.cluster.local',
  )
  assert.equal(config.node.metadata['DNS_CAPTURE'], 'false')
  assert.equal(config.node.metadata['LABELS'], '{"a":"b"}')
  assert.equal(config.clusterId, 'c1')
  assert.deepEqual(config.headers.xds, { x_tenant: 't' })
  assert.equal(config.secretTtlMs, 5_400_000)
  assert.equal(config.logLevel, 'warn')
  assert.equal(config.logLevels.get('access'), 'debug')
  assert.equal(config.terminationGraceMs, 25_000)
  assert.equal(typeof config.token, 'function')
  assert.equal(config.xdsRoot, '/root.pem')
  const bare = readConfig({})
  assert.equal(bare.xdsAddress, 'localhost:15012')
  assert.equal(bare.terminationGraceMs, 5000)
  assert.equal(readConfig({ XDS_ADDRESS: '' }).xdsAddress, undefined)
})

test('settings that make no sense are refused by name', () => {
  for (const [name, value] of [
    ['XDS_ADDRESS', 'a b'],
    ['SECRET_TTL', 'soon'],
    ['STATS_PORT', '99999'],
    ['ISTIO_METAJSON_X', '{'],
    ['TERMINATION_GRACE_PERIOD_SECONDS', 'x'],
  ] as const) {
    assert.throws(() => readConfig({ [name]: value }), new RegExp(name))
  }
})

test('log lines are gathered, and dropped with a note when the reader is slow', () => {
  const clock = new FakeClock()
  const out = new PassThrough()
  const writer = createLineWriter(out, clock)
  writer.write('a\n')
  writer.write('b\n')
  assert.equal(out.read(), null)
  clock.advance(60)
  assert.equal(String(out.read()), 'a\nb\n')

  const stuck = new Writable({ highWaterMark: 1, write: () => {} })
  const slow = createLineWriter(stuck, clock)
  const block = 'x'.repeat(70_000)
  for (let count = 0; count < 100; count++) slow.write(block)
  assert.ok(stuck.writableLength < 5 << 20, `${stuck.writableLength} bytes wait`)
})
