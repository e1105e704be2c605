import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { systemClock } from '../base/index.ts'
import { HboneClientPool, type HboneRequest, relay, serveHbone } from './index.ts'

/** Two connected sockets. */
async function pair(t: TestContext): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [accepted] = (await once(server, 'connection')) as [net.Socket]
  t.after(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  return [client, accepted]
}

function counter(): {
  forward: number
  backward: number
  options: { onForward(n: number): void; onBackward(n: number): void }
} {
  const count = {
    forward: 0,
    backward: 0,
    options: {
      onForward: (bytes: number) => void (count.forward += bytes),
      onBackward: (bytes: number) => void (count.backward += bytes),
    },
  }
  return count
}

test('a relay counts, half-closes and ends when both ends have', async (t) => {
  const [client, left] = await pair(t)
  const [right, server] = await pair(t)
  const count = counter()
  const done = relay({ client: left, server: right, ...count.options })
  client.end('12345')
  const [request] = (await once(server, 'data')) as [Buffer]
  assert.equal(request.toString(), '12345')
  await once(server, 'end')
  server.end('123')
  await once(client, 'data')
  await done
  assert.deepEqual([count.forward, count.backward], [5, 3])
})

test('a reset of either end becomes a reset of the other', async (t) => {
  const [client, left] = await pair(t)
  const [right, server] = await pair(t)
  const done = relay({ client: left, server: right, ...counter().options })
  server.resetAndDestroy()
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  await assert.rejects(done)
})

test('an HTTP/2 connection that dies in the middle of an answer never looks like its end', async (t) => {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => {
    sockets.push(socket)
    const onRequest = (request: HboneRequest): void => void request.accept().write('half an answer')
    serveHbone(socket, { clock: systemClock, onRequest })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const pool = new HboneClientPool({ clock: systemClock })
  t.after(() => pool.close())
  for (const kill of ['destroy', 'resetAndDestroy'] as const) {
    const stream = await pool.connect({
      key: kill,
      authority: '10.0.0.1:80',
      openTls: async () => {
        const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      },
    })
    const [client, left] = await pair(t)
    const done = relay({ client: left, server: stream, ...counter().options })
    let ended = false
    client.on('end', () => (ended = true))
    // The client has sent all; only the answer is missing.
    client.end('question')
    await once(client, 'data')
    const failed = assert.rejects(done)
    const reset = once(client, 'error')
    sockets.at(-1)?.[kill]()
    await reset
    await failed
    assert.equal(ended, false, kill)
  }
})

test('what Envoy ends with CONNECT_ERROR arrives whole at a slow reader, and ends', async (t) => {
  // More than a socket takes from a writer whose peer does not read, and less than a stream's window.
  const size = 3 * 1024 * 1024
  const server = http2.createServer()
  const streams: http2.ServerHttp2Stream[] = []
  server.on('stream', (stream) => {
    streams.push(stream)
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    stream.write(Buffer.alloc(size))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const pool = new HboneClientPool({ clock: systemClock })
  t.after(() => pool.close())
  const stream = await pool.connect({
    key: 'envoy',
    authority: '10.0.0.1:80',
    openTls: async () => {
      const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  })
  const [client, left] = await pair(t)
  let passed = 0
  const onBackward = (bytes: number): void => void (passed += bytes)
  const done = relay({ client: left, server: stream, onForward: () => {}, onBackward })
  while (passed + stream.readableLength < size) await new Promise(setImmediate)
  // As Envoy does when the connection behind the tunnel was closed: RST_STREAM, and no END_STREAM before it.
  const ended = new Promise<void>((resolve) => stream.once('close', () => resolve()))
  streams[0]?.close(http2.constants.NGHTTP2_CONNECT_ERROR)
  await ended
  let received = 0
  client.on('data', (chunk: Buffer) => (received += chunk.length))
  await once(client, 'end')
  client.end()
  await done
  assert.deepEqual([received, passed], [size, size])
})
