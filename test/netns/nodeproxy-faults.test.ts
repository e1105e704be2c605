/**
 * The node proxy when the network fails. Counted in each case: bytes that were lost or doubled (none, and
 * a transfer that was cut off never looks complete) and new connections that failed.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { type Clock, systemClock } from '../../src/base/index.ts'
import { attempt, connected, keepTrying, Losses, transfer, Wire } from './nodeproxy-fault-kit.ts'
import { readAll, refusal, TestMesh, type TestPod } from './nodeproxy-kit.ts'
import { checkPattern } from './patterns.ts'

const skip = refusal('test/netns/nodeproxy-faults.test.ts')
const soak = process.env.WEFT_SOAK === '1'
const size = (soak ? 256 : 8) << 20
const rounds = soak ? 200 : 10

/** A wall clock as it is, and timers that run faster: the proxy's half a minute is over in a second. */
const speed = 20
const fastClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now() * speed,
  after: (ms, callback, options) => systemClock.after(ms / speed, callback, options),
  every: (ms, callback, options) => systemClock.every(ms / speed, callback, options),
}

describe('the node proxy on a failing network', { skip }, () => {
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod
  let far: TestPod
  let other: TestPod
  let wire: Wire
  let losses: Losses

  before(async () => {
    mesh = await TestMesh.create({ clock: fastClock })
    client = await mesh.pod('client')
    server = await mesh.pod('server')
    far = await mesh.pod('far')
    other = await mesh.pod('other')
    for (const pod of [server, far, other]) {
      await mesh.serve(pod, 9000, (socket) => socket.pipe(socket))
    }
    wire = await Wire.create(mesh, far)
    losses = await Losses.create(mesh)
  })
  after(() => mesh?.close())

  const dial = (): Promise<net.Socket> => mesh.connect(client, server.ip, 9000)
  const dialFar = (): Promise<net.Socket> => mesh.connect(client, far.ip, 9000)
  const dialOther = (): Promise<net.Socket> => mesh.connect(client, other.ip, 9000)
  const whole = { bytes: size, wrongAt: undefined, ended: true }

  test('packet loss: every byte arrives once, every connection is served', async () => {
    await losses.percent(2)
    const [one, two, short] = await Promise.all([
      dial().then((socket) => transfer(socket, size)),
      dialOther().then((socket) => transfer(socket, size)),
      attempt(dial, 200),
    ])
    await losses.heal()
    assert.deepEqual([one, two, short], [whole, whole, { made: 200, failed: [] }])
  })

  test('a long way: every byte arrives once, every connection is served', async () => {
    wire.delayMs = 25
    const [bulk, short] = await Promise.all([
      dialFar().then((socket) => transfer(socket, size)),
      attempt(dialFar, 100),
    ])
    wire.delayMs = 0
    assert.deepEqual([bulk, short], [whole, { made: 100, failed: [] }])
  })

  test('resets: what was cut off is never taken for complete, and whoever comes next is served', async () => {
    const torn = { complete: 0, wrong: 0, tornWithEnd: 0 }
    const failed: string[] = []
    for (let round = 0; round < rounds; round++) {
      const transfers = [0, 1, 2, 3].map(async () => {
        // One that the reset met before it was open has nothing to be cut off from.
        const socket = await dial()
          .then(connected)
          .catch(() => undefined)
        if (socket === undefined) return
        const received = await transfer(socket, 64 << 20)
        if (received.bytes === 64 << 20) torn.complete++
        else if (received.ended) torn.tornWithEnd++
        if (received.wrongAt !== undefined) torn.wrong++
      })
      await new Promise((resolve) => setTimeout(resolve, 30))
      await losses.reset(server)
      await new Promise((resolve) => setTimeout(resolve, 20))
      await losses.heal()
      failed.push(...(await attempt(dial, 20)).failed)
      await Promise.all(transfers)
    }
    assert.deepEqual(torn, { complete: 0, wrong: 0, tornWithEnd: 0 })
    assert.deepEqual(failed, [])
  })

  test('a half-open peer: the next connection is served by a new tunnel', async () => {
    const old = await connected(await dialFar())
    const gone = once(old, 'error')
    for (let round = 0; round < rounds; round++) {
      await attempt(dialFar, 1)
      // The peer forgets its connections and can't say so.
      await losses.oneWay(wire.pod, client)
      wire.resetAll()
      await new Promise((resolve) => setTimeout(resolve, 20))
      await losses.heal()
      assert.deepEqual(await attempt(dialFar, 4), { made: 4, failed: [] })
    }
    assert.equal(((await gone)[0] as NodeJS.ErrnoException).code, 'ECONNRESET')
  })

  test('a black hole: its connections are given up, everyone else’s go on, and it is reached when it is back', async () => {
    const lost = await connected(await dial())
    const { received, done } = checkPattern(lost)
    lost.write('.')
    const stop = keepTrying(dialOther)
    await losses.blackHole(server)
    const startedAt = performance.now()
    await done
    const seconds = ((performance.now() - startedAt) / 1000) * speed
    assert.equal(received.ended, false)
    // PING after 10 s, its answer awaited for 20 s.
    assert.ok(seconds >= 20 && seconds < 100, `given up after ${seconds} s of its time`)
    const stuck = dial().then(async (socket) => {
      socket.end('late')
      await readAll(socket)
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    await losses.heal()
    // The SYN is sent again: it was only late.
    await stuck
    assert.deepEqual((await attempt(dial, 20)).failed, [])
    const attempts = await stop()
    assert.deepEqual(attempts.failed, [])
    assert.ok(attempts.made > 20, `${attempts.made} attempts beside it`)
  })
})
