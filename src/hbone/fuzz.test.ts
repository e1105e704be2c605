/** HTTP/2 as it should not be: broken frames, floods, and peers that are out for our memory. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { type FuzzRandom, fuzzScale, fuzzSeeds, withSeed } from '../../test/fuzz.ts'
import { systemClock } from '../base/index.ts'
import { HboneClientPool, type HboneServerConnection, serveHbone } from './index.ts'

const kept = [1, 20_261_121]
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const MiB = 1 << 20
const types = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8, more: 9 }

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A header block of literals that are not indexed. */
function block(...headers: readonly [string, string][]): Buffer {
  return Buffer.concat(
    headers.flatMap(([name, value]) => [
      Buffer.of(0, name.length),
      Buffer.from(name),
      Buffer.of(value.length),
      Buffer.from(value),
    ]),
  )
}

const connectBlock = block([':method', 'CONNECT'], [':authority', '10.0.0.1:80'])
const settings = frame(types.settings, 0, 0, Buffer.alloc(0))
const connect = (stream: number): Buffer => frame(types.headers, 4, stream, connectBlock)

interface Victim {
  readonly port: number
  requests: number
  readonly sockets: Set<net.Socket>
}

/** Our server end, which echoes. */
async function victim(t: TestContext): Promise<Victim> {
  const sockets = new Set<net.Socket>()
  const sessions = new Set<HboneServerConnection>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    const session = serveHbone(socket, {
      clock: systemClock,
      onRequest(request) {
        made.requests++
        const stream = request.accept()
        stream.pipe(stream)
      },
    })
    sessions.add(session)
    void session.closed.then(() => {
      sockets.delete(socket)
      sessions.delete(session)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const session of sessions) session.destroy()
  })
  const made = { port: (server.address() as AddressInfo).port, requests: 0, sockets }
  return made
}

async function dial(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** A good client is served: nobody else's trouble became its own. */
async function serves({ port }: Victim): Promise<void> {
  const pool = new HboneClientPool({ clock: systemClock })
  const stream = await pool.connect({
    key: 'k',
    authority: '10.0.0.1:80',
    openTls: () => dial(port),
  })
  stream.end('good')
  assert.equal(String((await once(stream, 'data'))[0]), 'good')
  pool.close()
}

async function until(what: string, condition: () => boolean, withinMs = 10_000): Promise<void> {
  const end = Date.now() + withinMs
  while (!condition()) {
    assert.ok(Date.now() < end, what)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * Sends the same bytes until the server closes, without reading its answers when told so. Resolves with
 * how much it took; rejects when it is still there after `limitBytes`.
 */
async function flood(
  socket: net.Socket,
  part: (index: number) => Buffer,
  limitBytes: number,
): Promise<number> {
  let sent = 0
  let index = 0
  const closed = new Promise<void>((resolve) => void socket.once('close', resolve))
  while (!socket.destroyed && sent < limitBytes) {
    const bytes = part(index++)
    sent += bytes.length
    if (!socket.write(bytes)) {
      const stuck = new Promise((resolve) => setTimeout(resolve, 1_000))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed, stuck])
    } else if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return sent
}

function randomFrames(random: FuzzRandom): Buffer {
  const parts = [preface, settings]
  for (let count = random.below(12); count > 0; count--) {
    const stream = random.pick([0, 1, 1, 3, 5, 2, 0x7fffffff])
    const good = random.pick([
      connect(stream),
      frame(types.data, random.below(2), stream, random.bytes(random.below(64))),
      frame(types.window, 0, stream, random.bytes(4)),
      frame(types.reset, 0, stream, random.bytes(4)),
      frame(types.settings, random.below(2), 0, random.bytes(6 * random.below(4))),
      frame(types.ping, random.below(2), 0, random.bytes(8)),
      frame(types.goaway, 0, 0, random.bytes(8)),
      frame(types.headers, 4, stream, random.bytes(random.below(64))),
      frame(random.below(16), random.below(256), stream, random.bytes(random.below(64))),
    ])
    parts.push(random.chance(30) ? random.damage(good) : good)
  }
  return random.chance(10) ? random.damage(Buffer.concat(parts)) : Buffer.concat(parts)
}

test('random and damaged frames end at most their own connection', async (t) => {
  const server = await victim(t)
  for (const seed of fuzzSeeds('hbone frames', kept)) {
    await withSeed(seed, async (random) => {
      for (let round = 0; round < 10 * fuzzScale; round++) {
        const peers = await Promise.all(Array.from({ length: 20 }, () => dial(server.port)))
        for (const peer of peers) {
          peer.resume()
          peer.write(randomFrames(random))
        }
        await new Promise((resolve) => setTimeout(resolve, 10))
        for (const peer of peers) peer.destroy()
      }
      await serves(server)
      await until('every connection is let go', () => server.sockets.size === 0)
    })
  }
})

test('our client survives servers that answer with random and damaged frames', async (t) => {
  let random: FuzzRandom | undefined
  const server = net.createServer((socket) => {
    socket.on('error', () => {}).resume()
    const answer = frame(types.headers, 4, 1, Buffer.of(0x88))
    const bytes = random === undefined ? settings : randomFrames(random).subarray(preface.length)
    socket.write(Buffer.concat([settings, answer, bytes]))
    setTimeout(() => socket.destroy(), 30)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  for (const seed of fuzzSeeds('hbone answers', kept)) {
    await withSeed(seed, async (made) => {
      random = made
      const pool = new HboneClientPool({ clock: systemClock })
      const tries = Array.from({ length: 100 * fuzzScale }, async (_, index) => {
        const stream = await pool.connect({
          key: String(index),
          authority: '10.0.0.1:80',
          openTls: () => dial(port),
        })
        stream.on('error', () => {}).resume()
        await new Promise((resolve) => void stream.once('close', resolve))
      })
      for (const result of await Promise.allSettled(tries)) {
        if (result.status === 'rejected') assert.ok(result.reason instanceof Error)
      }
      await until('none is kept', () => pool.connectionCount === 0)
      pool.close()
    })
  }
})

/** What each flood sends after the preface, how much it may send at most, and what we may do for it. */
const floods: readonly {
  readonly name: string
  readonly first: readonly Buffer[]
  readonly part: (index: number) => Buffer
  readonly requestsMax: number
}[] = [
  {
    name: 'CONTINUATION without end',
    first: [settings, frame(types.headers, 0, 1, connectBlock)],
    part: () => frame(types.more, 0, 1, Buffer.alloc(1000)),
    requestsMax: 0,
  },
  {
    name: 'rapid reset',
    first: [settings],
    part: (index) =>
      Buffer.concat(
        Array.from({ length: 50 }, (_, at) => {
          const stream = 2 * (50 * index + at) + 1
          return Buffer.concat([connect(stream), frame(types.reset, 0, stream, Buffer.alloc(4))])
        }),
      ),
    requestsMax: 5_000,
  },
  {
    name: 'PING, answers unread',
    first: [settings],
    part: () => Buffer.concat(Array(100).fill(frame(types.ping, 0, 0, Buffer.alloc(8)))),
    requestsMax: 0,
  },
  {
    name: 'SETTINGS, answers unread',
    first: [settings],
    part: () => Buffer.concat(Array(100).fill(settings)),
    requestsMax: 0,
  },
  {
    name: 'DATA frames without data',
    first: [settings, connect(1)],
    part: () => Buffer.concat(Array(100).fill(frame(types.data, 0, 1, Buffer.alloc(0)))),
    requestsMax: 1,
  },
  {
    name: 'a header list over its limit',
    first: [settings],
    part: (index) => {
      const headers = Array.from({ length: 60 }, (_, at): [string, string] => [
        `x-${at}`,
        'v'.repeat(120),
      ])
      const pieces = Buffer.concat([connectBlock, ...Array(10).fill(block(...headers))])
      const stream = 2 * index + 1
      const frames = [frame(types.headers, 0, stream, pieces.subarray(0, 16_000))]
      for (let at = 16_000; at < pieces.length; at += 16_000) {
        const last = at + 16_000 >= pieces.length
        frames.push(frame(types.more, last ? 4 : 0, stream, pieces.subarray(at, at + 16_000)))
      }
      return Buffer.concat(frames)
    },
    requestsMax: 0,
  },
]

for (const { name, first, part, requestsMax } of floods) {
  test(`a flood is bounded: ${name}`, async (t) => {
    const server = await victim(t)
    const peer = await dial(server.port)
    peer.pause()
    peer.write(Buffer.concat([preface, ...first]))
    const rssBefore = process.memoryUsage.rss()
    const cpuBefore = process.cpuUsage()
    const sent = await flood(peer, part, 24 * MiB)
    const { user, system } = process.cpuUsage(cpuBefore)
    const grown = process.memoryUsage.rss() - rssBefore
    const cpuMs = (user + system) / 1000
    const text = `${sent >> 10} KiB sent, ${server.requests} requests, ${grown >> 20} MiB, ${cpuMs.toFixed(0)} ms`
    process.stdout.write(`hbone flood, ${name}: ${text}, ${peer.destroyed ? 'closed' : 'open'}\n`)
    assert.ok(server.requests <= requestsMax, `${server.requests} requests`)
    assert.ok(grown < 100 * MiB, `memory grew by ${grown} bytes`)
    assert.ok(cpuMs < 20_000, `${cpuMs} ms of CPU`)
    // Someone else is served meanwhile and afterwards.
    await serves(server)
    peer.destroy()
    await until('the connection is let go', () => server.sockets.size === 0)
  })
}
