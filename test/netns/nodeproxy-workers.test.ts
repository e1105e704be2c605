/** The node proxy with several threads: shared work, one state, and a crash that stays in its thread. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type net from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { CertificateManager, Revocations } from '../../src/identity/index.ts'
import { expose, MetricsRegistry } from '../../src/metrics/index.ts'
import { readConfig, WorkerSupervisor } from '../../src/nodeproxy/index.ts'
import { create, security, toBinary, typeUrl, workload } from '../../src/proto/index.ts'
import { ZdsClient } from '../../src/zds/index.ts'
import {
  createAuthority,
  podAddress,
  portList,
  readAll,
  refusal,
  serviceAddress,
  TestNetwork,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy-workers.test.ts')
const vip = '10.96.0.77'
const threads = 2

describe('the node proxy with worker threads', { skip }, () => {
  let network: TestNetwork
  let certificates: CertificateManager
  let workers: WorkerSupervisor
  let zds: ZdsClient
  let client: TestPod
  let server: TestPod
  /** Not in the mesh: a connection to it is of one thread alone, one of HBONE can be of two. */
  let plain: TestPod

  before(async () => {
    network = new TestNetwork()
    process.env['WEFT_TEST_CRASH'] = network.folder
    const clock = systemClock
    const logger = silentLogger
    certificates = new CertificateManager({ source: await createAuthority(), clock, logger })
    workers = new WorkerSupervisor({
      count: threads,
      settings: { ...readConfig({ ISTIO_META_DNS_CAPTURE: 'false' }), onDemand: undefined },
      certificates,
      revocations: new Revocations(),
      registry: new MetricsRegistry(),
      demand: () => Promise.resolve(),
      clock,
      logger,
      write: () => {},
      entry: new URL('./nodeproxy-crashing-worker.ts', import.meta.url),
      heapMegabytes: 48,
    })
    await workers.start()
    await network.zds.start()
    zds = new ZdsClient({ path: network.zdsPath, handler: workers, logger, clock })
    await zds.start()
    await workers.ready
    await until('all workers', () => workers.pendingReason === undefined, 20_000)
    client = await network.addPod('client')
    server = await network.addPod('server')
    for (const pod of [client, server]) await network.enrol(pod)
    const services = { 'default/echo.default.svc.cluster.local': portList({ 80: 9000 }) }
    tellAddress('client', podAddress(client))
    tellAddress('server', podAddress(server, { services }))
    tellAddress('echo', serviceAddress('echo', vip, { 80: 9000 }))
    workers.flush()
    plain = await network.addPod('plain')
    for (const pod of [server, plain]) {
      await network.serve(pod, 9000, (socket) => void socket.pipe(socket))
    }
  })
  after(async () => {
    workers.close('over')
    await zds.stop()
    await workers.stop()
    await certificates.stop()
    await network.close()
  })

  function tellAddress(name: string, address: workload.Address): void {
    const bytes = toBinary(workload.AddressSchema, address)
    workers.update({ typeUrl: typeUrl.address, name, bytes })
  }

  async function echo(): Promise<string> {
    const socket = await network.connect(client, vip, 80)
    socket.end('hello')
    return (await readAll(socket)).toString()
  }

  async function counted(pattern: RegExp): Promise<number> {
    const text = expose((await workers.metrics()).families(), 'prometheus')
    const lines = text.split('\n').filter((line) => pattern.test(line))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  /** Open connections, each of which has carried a byte. */
  async function hold(count: number): Promise<Set<net.Socket>> {
    const alive = new Set<net.Socket>()
    for (let made = 0; made < count; made++) {
      const socket = await network.connect(client, plain.ip, 9000)
      alive.add(socket)
      const gone = (): void => void alive.delete(socket)
      socket.on('error', gone).on('end', gone).on('close', gone)
      const answered = new Promise((done) => socket.once('data', done))
      socket.write('x')
      await answered
    }
    return alive
  }

  test('a scrape and a dump add up what all threads have', async () => {
    const before = await counted(/^istio_tcp_connections_opened_total\{reporter="source"/)
    for (let index = 0; index < 30; index++) assert.equal(await echo(), 'hello')
    const opened = await counted(/^istio_tcp_connections_opened_total\{reporter="source"/)
    assert.equal(opened - before, 30)
    const held = await hold(10)
    const dumped = (await workers.dump()).find((pod) => pod.uid === client.uid)
    assert.equal(dumped?.connections.outbound.length, 10)
    assert.equal(await counted(/^istio_tcp_sockets_open\{reporter="source"/), 10)
    for (const socket of held) socket.destroy()
  })

  test('a thread that runs out of memory takes only its own connections along, and comes back', async () => {
    const held = await hold(24)
    const failures: unknown[] = []
    let stop = false
    let made = 0
    const traffic = (async () => {
      while (!stop) {
        await echo().then(
          () => made++,
          (error: unknown) => failures.push(error),
        )
      }
    })()
    writeFileSync(join(network.folder, 'crash-0'), '')
    await until('the crash', () => workers.pendingReason !== undefined, 20_000)
    await until('the connections that it carried to end', () => held.size < 24)
    await until('the new thread', () => workers.pendingReason === undefined, 20_000)
    const since = made
    await until('traffic after it', () => made > since + 10, 10_000)
    stop = true
    await traffic
    // What the thread was carrying, or had accepted, at that moment.
    assert.ok(failures.length <= 4, `${failures.length} of ${made} connections failed`)
    assert.ok(held.size > 0, 'no connection of the other thread is left')
    assert.equal(await counted(/^workload_manager_worker_restarts_total /), 1)
    for (const socket of held) socket.destroy()
  })

  test('the thread that came back has the policies, before its listeners open', async () => {
    const policy = create(security.AuthorizationSchema, {
      name: 'nobody',
      namespace: 'default',
      scope: security.Scope.NAMESPACE,
      action: security.Action.ALLOW,
    })
    const name = 'default/nobody'
    const bytes = toBinary(security.AuthorizationSchema, policy)
    workers.update({ typeUrl: typeUrl.authorization, name, bytes })
    workers.flush()
    writeFileSync(join(network.folder, 'crash-1'), '')
    await until('the crash', () => workers.pendingReason !== undefined, 20_000)
    let allowed = 0
    let denied = 0
    while (workers.pendingReason !== undefined || denied < 20) {
      const answer = await echo().catch(() => '')
      if (answer === 'hello') allowed++
      else denied++
    }
    assert.equal(allowed, 0)
    workers.update({ typeUrl: typeUrl.authorization, name, bytes: undefined })
    workers.flush()
    await until('both threads', () => workers.pendingReason === undefined)
    assert.equal(await echo(), 'hello')
  })
})
