/** The pool and the server against each other and against plain node:http2, over real sockets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import test, { type TestContext } from 'node:test'
import tls from 'node:tls'
import { FakeClock, systemClock } from '../base/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import {
  HboneClientPool,
  type HboneConnectOptions,
  HboneRefusedError,
  type HboneRequest,
  http2Limits,
  resetStream,
  serveHbone,
} from './index.ts'

interface Server {
  readonly port: number
  readonly connections: () => number
  readonly sockets: Set<net.Socket>
  readonly drainAll: () => void
}

async function startServer(
  t: TestContext,
  onRequest: (request: HboneRequest) => void,
  serverMaxStreams = 200,
): Promise<Server> {
  const sockets = new Set<net.Socket>()
  const drains: (() => void)[] = []
  let count = 0
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    count++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    const limits = { ...http2Limits, serverMaxStreams }
    drains.push(serveHbone(socket, { clock: systemClock, onRequest, limits }).drain)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    sockets,
    drainAll: () => drains.forEach((drain) => drain()),
  }
}

function echo(request: HboneRequest): void {
  const stream = request.accept({ baggage: 'k8s.namespace.name=peer' })
  stream.pipe(stream)
}

function opener(port: number): () => Promise<Duplex> {
  return async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return socket
  }
}

function makePool(t: TestContext, clock = systemClock, maxStreams?: number): HboneClientPool {
  const pool = new HboneClientPool({
    clock,
    ...(maxStreams === undefined ? {} : { maxStreamsPerConnection: maxStreams }),
  })
  t.after(() => pool.close())
  return pool
}

function to(port: number, authority = '10.0.0.1:80'): HboneConnectOptions {
  return { key: 'k', openTls: opener(port), authority }
}

/** Not `for await`: that destroys the stream at the end, and with it the other half. */
async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(chunks)
}

/** `once` would reject on an error that comes before. */
function closed(stream: Duplex): Promise<void> {
  stream.on('error', () => {})
  return new Promise((resolve) => void stream.once('close', resolve))
}

/** Moves the clock while the network keeps up. */
async function pass(clock: FakeClock, seconds: number): Promise<void> {
  for (let at = 0; at < seconds; at += 10) {
    clock.advance(10_000)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

test('a tunnel carries bytes both ways, half closes, and shows the answer’s headers', async (t) => {
  const server = await startServer(t, echo)
  const stream = await makePool(t).connect(to(server.port))
  assert.equal(stream.responseHeaders['baggage'], 'k8s.namespace.name=peer')
  stream.end('hello')
  assert.equal((await readAll(stream)).toString(), 'hello')
})

test('the server can end first and still read', async (t) => {
  const late = Promise.withResolvers<string>()
  const server = await startServer(t, (request) => {
    const stream = request.accept()
    stream.end('bye')
    void readAll(stream).then((bytes) => late.resolve(bytes.toString()))
  })
  const stream = await makePool(t).connect(to(server.port))
  assert.equal((await readAll(stream)).toString(), 'bye')
  stream.end('late')
  assert.equal(await late.promise, 'late')
})

test('ten megabytes arrive whole through a slow reader', async (t) => {
  const server = await startServer(t, echo)
  const stream = await makePool(t).connect(to(server.port))
  const sent = Buffer.alloc(10 << 20, 'weft-')
  stream.end(sent)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok((await readAll(stream)).equals(sent))
})

test('a refusal rejects with its status', async (t) => {
  const server = await startServer(t, (request) => request.reject(401))
  const pool = makePool(t)
  await assert.rejects(pool.connect(to(server.port)), (error) => {
    assert.ok(error instanceof HboneRefusedError)
    assert.equal(error.status, 401)
    return true
  })
  assert.equal(pool.connectionCount, 1, 'a refusal does not cost the connection')
})

test('connects at the same time share one connection, up to its limit of streams', async (t) => {
  const server = await startServer(t, echo)
  const pool = makePool(t, systemClock, 4)
  const streams = await Promise.all(Array.from({ length: 10 }, () => pool.connect(to(server.port))))
  assert.equal(server.connections(), 3)
  for (const stream of streams) {
    stream.end('x')
    assert.equal((await readAll(stream)).toString(), 'x')
  }
  await pool.connect(to(server.port))
  assert.equal(server.connections(), 3, 'freed places are used again')
  await pool.connect({ ...to(server.port), key: 'other' })
  assert.equal(server.connections(), 4, 'another key never shares')
})

test('the stream limit of the peer is respected', async (t) => {
  const server = await startServer(t, echo, 2)
  const pool = makePool(t)
  await pool.connect(to(server.port))
  await pool.connect(to(server.port))
  await pool.connect(to(server.port))
  assert.equal(server.connections(), 2)
})

test('a failing connection fails everyone who waits for it, and the next try is fresh', async (t) => {
  const server = await startServer(t, echo)
  const pool = makePool(t)
  let calls = 0
  const failing = {
    ...to(server.port),
    openTls: async (): Promise<Duplex> => {
      calls++
      throw new Error('no route')
    },
  }
  const results = await Promise.allSettled([1, 2, 3].map(() => pool.connect(failing)))
  assert.ok(results.every((result) => result.status === 'rejected'))
  assert.equal(calls, 1)
  await pool.connect(to(server.port))
})

test('a pooled connection that died is replaced without the caller noticing', async (t) => {
  const server = await startServer(t, echo)
  const pool = makePool(t)
  const first = await pool.connect(to(server.port))
  first.on('error', () => {})
  for (const socket of server.sockets) socket.resetAndDestroy()
  const second = await pool.connect(to(server.port))
  second.end('again')
  assert.equal((await readAll(second)).toString(), 'again')
  assert.equal(server.connections(), 2)
})

test('after GOAWAY old streams finish and new ones use a new connection', async (t) => {
  const server = await startServer(t, echo)
  const pool = makePool(t)
  const old = await pool.connect(to(server.port))
  server.drainAll()
  await new Promise((resolve) => setTimeout(resolve, 30))
  const fresh = await pool.connect(to(server.port))
  assert.equal(server.connections(), 2)
  old.end('old')
  fresh.end('new')
  assert.equal((await readAll(old)).toString(), 'old')
  assert.equal((await readAll(fresh)).toString(), 'new')
})

test('an idle connection is released after five minutes', async (t) => {
  const clock = new FakeClock()
  const server = await startServer(t, echo)
  const pool = makePool(t, clock)
  const stream = await pool.connect(to(server.port))
  stream.end()
  stream.resume()
  await once(stream, 'close')
  await pass(clock, 290)
  assert.equal(pool.connectionCount, 1)
  await pass(clock, 20)
  assert.equal(pool.connectionCount, 0)
})

test('a peer that answers no PING is given up after 20 seconds', async (t) => {
  const clock = new FakeClock()
  const server = await startServer(t, echo)
  const pool = makePool(t, clock)
  const stream = await pool.connect(to(server.port))
  const gone = closed(stream)
  // The peer goes deaf without closing.
  for (const socket of server.sockets) {
    ;(socket as unknown as { _handle: { readStop(): void } })._handle.readStop()
  }
  await pass(clock, 40)
  await gone
  assert.equal(pool.connectionCount, 0)
})

test('a reset arrives as RST_STREAM, never as an end', async (t) => {
  const server = await startServer(t, (request) => {
    const stream = request.accept()
    stream.once('data', () => resetStream(stream))
  })
  const stream = await makePool(t).connect(to(server.port))
  const gone = closed(stream)
  let ended = false
  stream.on('end', () => (ended = true)).resume()
  stream.write('x')
  await gone
  assert.equal(ended, false)
  assert.equal(stream.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR)
})

test('giving up before the answer frees the place', async (t) => {
  const seen: HboneRequest[] = []
  const server = await startServer(t, (request) => void seen.push(request))
  const pool = makePool(t)
  const abort = new AbortController()
  const pending = pool.connect({ ...to(server.port), signal: abort.signal })
  while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  abort.abort(new Error('client left'))
  await assert.rejects(pending, /client left/)
  const [request] = seen
  assert.ok(request)
  if (!request.signal.aborted) await once(request.signal, 'abort')
})

test('requests that are no CONNECT or lead nowhere get 400', async (t) => {
  const server = await startServer(t, echo)
  const session = http2.connect(`http://127.0.0.1:${server.port}`)
  t.after(() => session.destroy())
  for (const headers of [
    { ':method': 'GET', ':path': '/' },
    { ':method': 'CONNECT', ':authority': 'nowhere' },
    { ':method': 'CONNECT', ':authority': '10.0.0.1:99999' },
  ]) {
    const stream = session.request(headers)
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(answer[':status'], 400)
    stream.on('error', () => {})
    stream.destroy()
  }
})

test('a plain node:http2 client and a plain node:http2 server are understood', async (t) => {
  const server = await startServer(t, echo)
  const session = http2.connect(`http://127.0.0.1:${server.port}`)
  t.after(() => session.destroy())
  const request = session.request({ ':method': 'CONNECT', ':authority': 'svc.ns:80' })
  request.end('from plain')
  assert.equal((await readAll(request)).toString(), 'from plain')

  const plain = http2.createServer()
  plain.on('stream', (stream, headers) => {
    assert.equal(headers[':authority'], '10.0.0.1:80')
    assert.equal(headers[':path'], undefined)
    stream.respond({ ':status': 200 })
    stream.pipe(stream)
  })
  plain.listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.after(() => plain.close())
  const pool = makePool(t)
  const stream = await pool.connect(to((plain.address() as AddressInfo).port))
  stream.end('to plain')
  assert.equal((await readAll(stream)).toString(), 'to plain')
  pool.close()
})

test('hand-made frames of a peer without node’s library are answered', async (t) => {
  const server = await startServer(t, echo)
  const socket = net.connect(server.port, '127.0.0.1')
  t.after(() => socket.destroy())
  const frame = (type: number, flags: number, stream: number, body: Buffer): Buffer => {
    const head = Buffer.alloc(9)
    head.writeUIntBE(body.length, 0, 3)
    head[3] = type
    head[4] = flags
    head.writeUInt32BE(stream, 5)
    return Buffer.concat([head, body])
  }
  const literal = (name: number, value: string): Buffer =>
    Buffer.concat([Buffer.from([name, value.length]), Buffer.from(value)])
  // Literals without indexing, names from the static table: :method (2) and :authority (1).
  const block = Buffer.concat([literal(2, 'CONNECT'), literal(1, '10.0.0.1:80')])
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  socket.write(frame(4, 0, 0, Buffer.alloc(0)))
  socket.write(frame(1, 4, 1, block))
  socket.write(frame(0, 1, 1, Buffer.from('raw bytes')))
  let received = Buffer.alloc(0)
  const types = new Set<number>()
  let body = ''
  let ended = false
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer])
    while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
      const length = received.readUIntBE(0, 3)
      const [type = 0, flags = 0] = [received[3], received[4]]
      types.add(type)
      if (type === 0) {
        body += received.subarray(9, 9 + length).toString()
        ended = (flags & 1) === 1
      }
      received = received.subarray(9 + length)
    }
    if (ended) break
  }
  assert.equal(body, 'raw bytes')
  assert.ok(types.has(4) && types.has(1), 'SETTINGS and HEADERS came')
})

test('a TLS server that refuses the client’s certificate leaves no connection behind', async (t) => {
  const keys = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const subject = { commonName: 'test' }
  const ca = await createCaCertificate({ keys, subject, ...validity })
  const issuer = { certificatePem: ca, key: keys.privateKey }
  const names = { uris: ['spiffe://td/ns/a/sa/b'] }
  const cert = await issueCertificate({ issuer, publicKey: keys.publicKey, names, ...validity })
  // Complete for the client before the server has seen that there is no certificate.
  const server = tls.createServer({
    key: keys.privatePem,
    cert,
    ca,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const pool = makePool(t)
  let below: net.Socket | undefined
  const openTls = async (): Promise<Duplex> => {
    const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
    below = socket
    const options = { socket, ca, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined }
    const client = tls.connect(options)
    await once(client, 'secureConnect')
    return client
  }
  await assert.rejects(pool.connect({ key: 'k', openTls, authority: '10.0.0.1:80' }), {
    code: 'HBONE_CONNECTION_LOST',
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(pool.connectionCount, 0)
  assert.equal(below?.destroyed, true)
})

test('garbage on the wire ends that connection only', async (t) => {
  const server = await startServer(t, echo)
  const good = await makePool(t).connect(to(server.port))
  for (const garbage of ['GET / HTTP/1.1\r\n\r\n', Buffer.alloc(4096, 0xff)]) {
    const socket = net.connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(garbage)
    socket.resume()
    await once(socket, 'close')
  }
  good.end('fine')
  assert.equal((await readAll(good)).toString(), 'fine')
})
