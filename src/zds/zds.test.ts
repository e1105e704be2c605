/** Both ends over a real SEQPACKET socket, with real descriptors; delays run 50 times as fast. */
import assert from 'node:assert'
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, it } from 'node:test'
import {
  type Clock,
  type Component,
  type MeshError,
  silentLogger,
  systemClock,
} from '../base/index.ts'
import { connectSeqPacket, listenSeqPacket, type SeqPacketConnection } from '../linux/index.ts'
import {
  decodeAck,
  encodeHello,
  encodeRequest,
  ZdsClient,
  type ZdsHandler,
  type ZdsPodState,
  ZdsServer,
} from './index.ts'

const clock: Clock = {
  ...systemClock,
  after: (ms, callback, options) => systemClock.after(ms / 50, callback, options),
  every: (ms, callback, options) => systemClock.every(ms / 50, callback, options),
}
const folder = mkdtempSync(join(tmpdir(), 'weft-zds-'))
const fd = openSync('/dev/null', 'r')
const parts: Component[] = []
let sockets = 0
let path = ''

afterEach(async () => {
  for (const part of parts.splice(0).toReversed()) await part.stop()
})
after(() => {
  closeSync(fd)
  rmSync(folder, { recursive: true })
})

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 4))
  }
  assert.fail(`never happened: ${what}`)
}

async function server(): Promise<{ server: ZdsServer; states: string[] }> {
  path = join(folder, `s${++sockets}`)
  const states: string[] = []
  const onState = (uid: string, state: ZdsPodState): void =>
    void states.push(`${uid} ${state.state}`)
  const made = new ZdsServer({ path, logger: silentLogger, clock, onState })
  parts.push(made)
  await made.start()
  return { server: made, states }
}

interface Proxy extends Component {
  readonly log: string[]
  readonly violations: MeshError[]
  fail: string | undefined
}

async function proxy(): Promise<Proxy> {
  const log: string[] = []
  const violations: MeshError[] = []
  const handler: ZdsHandler = {
    connected: () => void log.push('connected'),
    async add(uid, info, netnsFd) {
      const same = fstatSync(netnsFd).rdev === fstatSync(fd).rdev
      closeSync(netnsFd)
      log.push(
        `add ${uid} ${info.namespace}/${info.name}/${info.serviceAccount}${same ? '' : ' other'}`,
      )
      if (made.fail !== undefined) throw new Error(made.fail)
    },
    async keep(uid) {
      log.push(`keep ${uid}`)
    },
    async del(uid) {
      log.push(`del ${uid}`)
    },
    async snapshotSent() {
      log.push('snapshotSent')
    },
  }
  const onViolation = (error: MeshError): void => void violations.push(error)
  const client = new ZdsClient({ path, handler, logger: silentLogger, clock, onViolation })
  const made: Proxy = {
    log,
    violations,
    fail: undefined,
    start: (signal) => client.start(signal),
    stop: () => client.stop(),
  }
  parts.push(made)
  await made.start()
  return made
}

const pod = (uid: string, netnsFd: number | undefined = fd) => ({
  uid,
  info: { name: `pod-${uid}`, namespace: 'ns', serviceAccount: 'sa' },
  ...(netnsFd === undefined ? {} : { netnsFd }),
})

describe('ZDS', { skip: process.platform !== 'linux' }, () => {
  it('a proxy gets a snapshot of all pods with their namespaces, then live changes', async () => {
    const { server: agent, states } = await server()
    assert.deepStrictEqual(await agent.add(pod('a')), {
      state: 'pending',
      reason: 'no node proxy is connected',
      noProxy: true,
    })
    await agent.add({ uid: 'b', info: pod('b').info })
    const np = await proxy()
    await until('snapshot', () => np.log.includes('snapshotSent'))
    assert.deepStrictEqual(await agent.add(pod('c')), { state: 'enabled' })
    await agent.delete('a')
    await agent.delete('never added')
    assert.deepStrictEqual(np.log, [
      'connected',
      'add a ns/pod-a/sa',
      'keep b',
      'snapshotSent',
      'add c ns/pod-c/sa',
      'del a',
    ])
    assert.deepStrictEqual(states, [
      'a pending',
      'b pending',
      'a enabled',
      'b enabled',
      'c enabled',
    ])
  })

  it('additions go to the newest proxy only, deletions to all, and an older one takes over', async () => {
    const { server: agent } = await server()
    await agent.add(pod('a'))
    const old = await proxy()
    await until('first snapshot', () => old.log.includes('snapshotSent'))
    const fresh = await proxy()
    await until('second snapshot', () => fresh.log.includes('snapshotSent'))
    await agent.add(pod('b'))
    await agent.delete('a')
    assert.deepStrictEqual(old.log.slice(3), ['del a'])
    assert.deepStrictEqual(fresh.log.slice(3), ['add b ns/pod-b/sa', 'del a'])
    await fresh.stop()
    await until('take-over', () => old.log.includes('add b ns/pod-b/sa'))
    assert.ok(!old.log.slice(3).includes('add a ns/pod-a/sa'))
  })

  it('a pod that the proxy refuses is pending with its reason and offered again', async () => {
    const { server: agent, states } = await server()
    const np = await proxy()
    await until('snapshot', () => np.log.includes('snapshotSent'))
    np.fail = 'no address in that namespace'
    const state = await agent.add(pod('a'))
    assert.deepStrictEqual(state, { state: 'pending', reason: 'no address in that namespace' })
    np.fail = undefined
    await until('enabled', () => agent.stateOf('a')?.state === 'enabled')
    assert.deepStrictEqual(states, ['a pending', 'a enabled'])
  })

  it('a restarted agent gets its proxy back, and a restarted proxy all pods; none becomes pending', async () => {
    const first = await server()
    await first.server.add(pod('a'))
    const np = await proxy()
    await until('snapshot', () => np.log.includes('snapshotSent'))
    await first.server.stop()
    const again = new ZdsServer({ path, logger: silentLogger, clock })
    parts.push(again)
    await again.start()
    await again.add(pod('a'))
    await until(
      'second connection',
      () => np.log.filter((line) => line === 'snapshotSent').length === 2,
    )
    assert.strictEqual(again.stateOf('a')?.state, 'enabled')
    await np.stop()
    await until('proxy gone', () => again.proxies === 0)
    assert.strictEqual(again.stateOf('a')?.state, 'enabled', 'its rules stay, it is still captured')
    const next = await proxy()
    await until('snapshot', () => next.log.includes('snapshotSent'))
    assert.deepStrictEqual(next.log, ['connected', 'add a ns/pod-a/sa', 'snapshotSent'])
  })

  it('a proxy that does not answer is dropped after its time', async () => {
    const { server: agent } = await server()
    const mute = await connectSeqPacket(path)
    await mute.send(encodeHello())
    await until('connected', () => agent.proxies === 1)
    const state = await agent.add(pod('a'))
    assert.strictEqual(state.state, 'pending')
    assert.match(state.state === 'pending' ? state.reason : '', /did not answer|closed/)
    await until('dropped', () => agent.proxies === 0)
    mute.close()
    const silent = await connectSeqPacket(path)
    assert.strictEqual(await silent.receive(), undefined, 'no hello')
    silent.close()
  })

  it('an agent that breaks the order of the protocol is reported; bad packets are refused', async () => {
    path = join(folder, `s${++sockets}`)
    const listener = await listenSeqPacket(path)
    const np = await proxy()
    const agent = (await listener.accept()) as SeqPacketConnection
    const ask = async (data: Uint8Array, fds: number[] = []): Promise<string> => {
      await agent.send(data, fds)
      const packet = await agent.receive()
      return packet === undefined ? 'closed' : decodeAck(packet.data)
    }
    assert.deepStrictEqual((await agent.receive())?.data, encodeHello())
    const add = encodeRequest({ kind: 'add', ...pod('a') })
    const before = readdirSync('/proc/self/fd').length
    assert.match(await ask(add), /add came with 0 descriptors instead of 1/)
    assert.match(await ask(add, [fd, fd]), /2 descriptors/)
    assert.match(
      await ask(encodeRequest({ kind: 'del', uid: 'a' }), [fd]),
      /1 descriptors instead of 0/,
    )
    assert.match(await ask(Uint8Array.of(0x0a, 0xff)), /no valid message/)
    assert.strictEqual(
      readdirSync('/proc/self/fd').length,
      before,
      'refused descriptors are closed',
    )
    assert.strictEqual(await ask(encodeRequest({ kind: 'snapshotSent' })), '')
    assert.strictEqual(await ask(encodeRequest({ kind: 'keep', uid: 'a' })), 'closed')
    assert.strictEqual(np.violations[0]?.code, 'ZDS_ORDER')
    agent.close()
    listener.close()
  })
})
