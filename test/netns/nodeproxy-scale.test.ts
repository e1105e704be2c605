/**
 * Many pods in one node proxy, as a process of its own so that its memory and files can be measured:
 * what an idle pod and an open stream cost, that both come back, and that the agent may come and go.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { closeFd, createNetns, listenSeqPacket, runTool } from '../../src/linux/index.ts'
import { typeUrl } from '../../src/proto/index.ts'
import { decodeAck, encodeRequest, ZdsServer } from '../../src/zds/index.ts'
import { podAddress, readAll, refusal, type TestPod, until } from './nodeproxy-kit.ts'
import { ProcessMesh } from './nodeproxy-process-kit.ts'

const skip = refusal('test/netns/nodeproxy-scale.test.ts')
const soak = process.env.WEFT_SOAK === '1'
const podCount = soak ? 5_000 : 200
const streamCount = soak ? 5_000 : 500
/** A pod's listeners, handlers and certificate; measured 25–60 KiB, more would be a leak. */
const idlePodBytesMax = 256 * 1024
const streamBytesMax = 128 * 1024

interface IdlePod {
  readonly uid: string
  readonly netnsFd: number
  readonly info: { name: string; namespace: string; serviceAccount: string }
}

/** Measurements, for who asks to see the output of tests. */
function print(text: string): void {
  process.stdout.write(`nodeproxy-scale: ${text}\n`)
}

describe('many pods in one node proxy', { skip }, () => {
  let mesh: ProcessMesh
  let client: TestPod
  let server: TestPod
  let pods: IdlePod[] = []

  before(async () => {
    mesh = await ProcessMesh.create()
    const { network } = mesh
    client = await network.addPod('client')
    server = await network.addPod('server')
    await network.enrol(client)
    await network.enrol(server)
    mesh.resources.addresses.set('client', podAddress(client))
    mesh.resources.addresses.set('server', podAddress(server))
    mesh.controlPlane.push(typeUrl.address)
    await network.serve(server, 9000, (socket) => socket.pipe(socket))
    await echo()
  })
  after(async () => {
    for (const { netnsFd } of pods) closeFd(netnsFd)
    await mesh?.close()
  })

  async function echo(): Promise<void> {
    const socket = await mesh.network.connect(client, server.ip, 9000)
    socket.end('hello')
    assert.equal((await readAll(socket)).toString(), 'hello')
  }

  function idlePod(index: number): IdlePod {
    const netnsFd = createNetns()
    const info = { name: `idle-${index}`, namespace: 'idle', serviceAccount: 'idle' }
    return { uid: randomUUID(), netnsFd, info }
  }

  async function enrolAll(): Promise<void> {
    for (const pod of pods) {
      const state = await mesh.network.zds.add(pod)
      assert.equal(state.state, 'enabled', state.state === 'pending' ? state.reason : '')
    }
  }

  async function withdrawAll(): Promise<void> {
    for (const { uid } of pods) await mesh.network.zds.delete(uid)
  }

  const proxyCount = (): Promise<number> => mesh.metric('workload_manager_active_proxy_count')

  /** Memory after what is garbage had the time to go. */
  async function settledRss(): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, 500))
    return mesh.rss()
  }

  test(`${podCount} pods come and go: files return to where they were, memory stops growing`, async () => {
    pods = Array.from({ length: podCount }, (_, index) => idlePod(index))
    const rssBefore = await settledRss()
    // Opens our own connection to its pages.
    assert.equal(await proxyCount(), 2)
    const filesBefore = mesh.openFiles()
    await enrolAll()
    assert.equal(await proxyCount(), podCount + 2)
    const perPod = ((await settledRss()) - rssBefore) / podCount
    const filesPerPod = (mesh.openFiles() - filesBefore) / podCount
    print(`${(perPod / 1024).toFixed(1)} KiB and ${filesPerPod} files for an idle pod`)
    assert.ok(perPod < idlePodBytesMax, `${perPod} bytes for an idle pod`)
    await withdrawAll()
    const rss: number[] = []
    for (let cycle = 0; cycle < 3; cycle++) {
      await enrolAll()
      await withdrawAll()
      rss.push(await settledRss())
      await until('every file is closed', () => mesh.openFiles() <= filesBefore)
    }
    const [first = 0, , last = 0] = rss
    const grown = (last - first) / (2 * podCount)
    print(`${(grown / 1024).toFixed(1)} KiB stay for each pod that came and went`)
    assert.ok(grown < 16 * 1024, `${grown} bytes leak with each pod`)
    assert.equal(await proxyCount(), 2)
    await echo()
  })

  test(`${streamCount} open streams cost bounded memory, which they give back`, async () => {
    const filesBefore = mesh.openFiles()
    const open = async (): Promise<net.Socket[]> => {
      const sockets: net.Socket[] = []
      const one = async (): Promise<void> => {
        const socket = await mesh.network.connect(client, server.ip, 9000)
        sockets.push(socket)
        socket.write('x')
        await once(socket, 'data')
      }
      while (sockets.length < streamCount) await Promise.all(Array.from({ length: 50 }, one))
      return sockets
    }
    const rssBefore = await settledRss()
    const sockets = await open()
    const perStream = ((await settledRss()) - rssBefore) / streamCount
    // Both ends of each tunnel are in this one proxy.
    print(`${(perStream / 1024).toFixed(1)} KiB for a stream and its two sockets, both ends`)
    assert.ok(perStream < streamBytesMax, `${perStream} bytes for a stream`)
    for (const socket of sockets) socket.end()
    await Promise.all(sockets.map(async (socket) => readAll(socket)))
    // The pooled connections between the two pods stay.
    const pooled = 2 * Math.ceil(streamCount / 100)
    await until('the files are closed', () => mesh.openFiles() <= filesBefore + pooled)
    await echo()
  })

  test('a pod whose namespace was replaced is served in the new one', async () => {
    const old = idlePod(0)
    const fresh = { ...idlePod(0), uid: old.uid }
    pods.push(old, fresh)
    const listens = async ({ netnsFd }: IdlePod): Promise<boolean> => {
      const tool = await runTool({ path: 'ss', args: ['-Hltn'], netnsFd, timeoutMs: 5_000 })
      return tool.stdout.includes(':15008')
    }
    await mesh.network.zds.add(old)
    assert.equal(await listens(old), true)
    assert.equal((await mesh.network.zds.add(fresh)).state, 'enabled')
    assert.deepEqual([await listens(old), await listens(fresh)], [false, true])
    assert.equal(await proxyCount(), 3)
    await mesh.network.zds.delete(old.uid)
  })

  test('connections live on while the agent is away; pods that are gone when it is back are withdrawn', async () => {
    const socket = await mesh.network.connect(client, server.ip, 9000)
    const doomed = idlePod(1)
    pods.push(doomed)
    await mesh.network.zds.add(doomed)
    assert.equal(await proxyCount(), 3)
    await mesh.network.zds.stop()
    await echo()
    const { zdsPath } = mesh.network
    const again = new ZdsServer({ path: zdsPath, logger: silentLogger, clock: systemClock })
    for (const { uid, name, namespace, serviceAccount, netnsFd } of [client, server]) {
      await again.add({ uid, info: { name, namespace, serviceAccount }, netnsFd })
    }
    await again.start()
    const end = Date.now() + 20_000
    while ((await proxyCount()) !== 2) {
      assert.ok(Date.now() < end, 'the pod that is gone is withdrawn')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    socket.end('still here')
    assert.equal((await readAll(socket)).toString(), 'still here')
    await again.stop()
  })

  test('an agent that breaks the snapshot makes the proxy end with status 1', async () => {
    const listener = await listenSeqPacket(mesh.network.zdsPath)
    const agent = await listener.accept()
    assert.ok(agent)
    await agent.receive()
    const exit = once(mesh.child, 'exit')
    for (const [index, answer] of ['', 'closed'].entries()) {
      await agent.send(encodeRequest({ kind: 'snapshotSent' }))
      const packet = await agent.receive()
      assert.equal(packet === undefined ? 'closed' : decodeAck(packet.data), answer, String(index))
    }
    assert.deepEqual(await exit, [1, null])
    agent.close()
    listener.close()
  })
})
