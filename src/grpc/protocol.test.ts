/** gRPC over HTTP/2 at the level of frames: what our server does with all that a client may send. */
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import net from 'node:net'
import test, { after, before } from 'node:test'
import * as grpc from '@grpc/grpc-js'
import fc from 'fast-check'
import { silentLogger } from '../base/index.ts'
import { AggregatedDiscoveryService, ca, create } from '../proto/index.ts'
import { GrpcError, GrpcServer, grpcStatus, type ServerStream } from './index.ts'
import { MessageReader, messagePrefix } from './message-reader.ts'
import { trailersOf } from './server-stream.ts'

const unary = ca.IstioCertificateService.method.createCertificate
const bidi = AggregatedDiscoveryService.method.deltaAggregatedResources
const pathOf = (method: { parent: { typeName: string }; name: string }): string =>
  `/${method.parent.typeName}/${method.name}`

let server: GrpcServer
let onStream: (stream: ServerStream<unknown, Uint8Array | readonly Uint8Array[]>) => void

before(async () => {
  server = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: false }],
    logger: silentLogger,
    keepaliveTimeMs: 50,
    keepaliveTimeoutMs: 100,
  })
  server.registerUnary(unary, async (request) =>
    create(ca.IstioCertificateResponseSchema, { certChain: [request.csr] }),
  )
  server.registerBidi(bidi, (stream) => onStream(stream))
  await server.start()
})

after(() => server.stop(0))

interface Reply {
  readonly headers: http2.IncomingHttpHeaders
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: Buffer
}

/** One call with these bytes as its whole request. */
async function call(
  path: string,
  body: Uint8Array,
  more: http2.OutgoingHttpHeaders = {},
): Promise<Reply> {
  const session = http2.connect(`http://127.0.0.1:${server.ports[0]}`)
  try {
    return await new Promise<Reply>((resolve, reject) => {
      const request = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...more,
      })
      let headers: http2.IncomingHttpHeaders = {}
      let trailers: http2.IncomingHttpHeaders = {}
      const chunks: Buffer[] = []
      request.on('response', (got) => (headers = got))
      request.on('trailers', (got) => (trailers = got))
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('error', reject)
      request.on('close', () => resolve({ headers, trailers, body: Buffer.concat(chunks) }))
      request.end(body)
    })
  } finally {
    session.close()
  }
}

const framed = (bytes: Uint8Array): Buffer => Buffer.concat([messagePrefix(bytes.length), bytes])

test('unknown methods, encodings, compressed, missing and further messages get their status', async () => {
  const status = async (...args: Parameters<typeof call>): Promise<unknown> => {
    const { headers, trailers } = await call(...args)
    return headers['grpc-status'] ?? trailers['grpc-status']
  }
  const unimplemented = String(grpcStatus.unimplemented)
  assert.equal(await status('/no.Such/Method', framed(Buffer.alloc(0))), unimplemented)
  const path = pathOf(unary)
  const empty = framed(Buffer.alloc(0))
  assert.equal(await status(path, empty), '0')
  assert.equal(await status(path, empty, { 'grpc-encoding': 'gzip' }), unimplemented)
  assert.equal(await status(path, Buffer.from([1, 0, 0, 0, 0])), unimplemented)
  assert.equal(await status(path, Buffer.alloc(0)), unimplemented)
  assert.equal(await status(path, Buffer.concat([empty, empty])), unimplemented)
  const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff])
  assert.equal(await status(path, huge), String(grpcStatus.resourceExhausted))
  // A field of no known type: bytes that are no message.
  assert.equal(await status(path, framed(Buffer.from([0x0f]))), String(grpcStatus.internal))
  const { headers } = await call(path, empty, { 'content-type': 'text/plain' })
  assert.equal(headers[':status'], 415)
})

test('messages are put together from chunks of any size, and split as they were sent', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 })
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 50 })), (sent, cuts) => {
      let rest = Buffer.concat(sent.map(framed))
      const reader = new MessageReader(1000)
      const got: Buffer[] = []
      for (const cut of [...cuts, rest.length]) {
        got.push(...reader.push(rest.subarray(0, cut)))
        rest = rest.subarray(cut)
      }
      got.push(...reader.push(rest))
      assert.deepEqual(
        got.map((bytes) => bytes.toString('hex')),
        sent.map((bytes) => Buffer.from(bytes).toString('hex')),
      )
      assert.equal(reader.pending, 0)
    }),
  )
})

test('large messages in pieces arrive whole and in order at an ordinary grpc-js client', async () => {
  const big = Buffer.alloc(3_000_000, 'abcdefg')
  onStream = (stream) => {
    stream.onMessage(() => {
      void stream.send([Buffer.from('head'), big])
      void stream.send(Buffer.from('second'))
      stream.end()
    })
  }
  const client = new grpc.Client(
    `127.0.0.1:${server.ports[0]}`,
    grpc.credentials.createInsecure(),
    { 'grpc.max_receive_message_length': -1 },
  )
  const same = (bytes: Buffer): Buffer => bytes
  const stream = client.makeBidiStreamRequest(pathOf(bidi), same, same)
  const got: Buffer[] = []
  stream.on('data', (bytes: Buffer) => got.push(bytes))
  stream.write(Buffer.alloc(0))
  const status = await new Promise<grpc.StatusObject>((resolve) => stream.on('status', resolve))
  assert.equal(status.code, 0)
  assert.equal(got.length, 2)
  assert.ok(got[0]?.equals(Buffer.concat([Buffer.from('head'), big])))
  assert.equal(got[1]?.toString(), 'second')
  client.close()
})

test('texts of errors survive the wire, whatever is in them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (details) => {
      const { 'grpc-message': message = '' } = trailersOf({ code: grpcStatus.internal, details })
      assert.match(message, /^[ -~]*$/)
      assert.equal(decodeURIComponent(message), details)
    }),
  )
})

test('a hundred streams that do not read share one message: memory does not grow with them', async () => {
  const big = Buffer.alloc(8 * 1024 * 1024, 1)
  const streams: ServerStream<unknown, Uint8Array | readonly Uint8Array[]>[] = []
  onStream = (stream) => {
    streams.push(stream)
    stream.onMessage(() => {})
    void stream.send([big])
  }
  const session = http2.connect(`http://127.0.0.1:${server.ports[0]}`)
  const before = process.memoryUsage().arrayBuffers
  const headers = { ':method': 'POST', ':path': pathOf(bidi), 'content-type': 'application/grpc' }
  const requests = Array.from({ length: 100 }, () => session.request(headers))
  for (const request of requests) request.on('error', () => {})
  const end = Date.now() + 3_000
  while (streams.length < 100 && Date.now() < end) await new Promise((r) => setTimeout(r, 10))
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(streams.length, 100)
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < 40 * 1024 * 1024, `${Math.round(grown / 1e6)} MB more`)
  session.destroy()
})

test('a client that vanished without a word is given up', async () => {
  const closed = Promise.withResolvers<void>()
  onStream = (stream) => {
    stream.onMessage(() => {})
    stream.onClose(() => closed.resolve())
    void stream.send(Buffer.from('x'))
  }
  // In between, so that the connection can fall silent and stay open.
  const sockets: net.Socket[] = []
  const between = net.createServer((near) => {
    const far = net.connect(server.ports[0] ?? 0, '127.0.0.1')
    near.pipe(far)
    far.pipe(near)
    sockets.push(near, far)
  })
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
  const { port } = between.address() as net.AddressInfo
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const headers = { ':method': 'POST', ':path': pathOf(bidi), 'content-type': 'application/grpc' }
  const request = session.request(headers)
  request.on('error', () => {})
  await new Promise((resolve) => request.once('response', resolve))
  // Pings are answered for as long as they get through.
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal(request.closed, false)
  for (const socket of sockets) {
    socket.unpipe()
    socket.pause()
    socket.on('error', () => {})
  }
  const late = setTimeout(() => closed.reject(new Error('not given up')), 3_000)
  await closed.promise
  clearTimeout(late)
  session.destroy()
  between.close()
  for (const socket of sockets) socket.destroy()
})

test('an error after messages ends the call with its status', async () => {
  onStream = (stream) => {
    stream.onMessage(() => {
      void stream.send(Buffer.from('x'))
      stream.fail(new GrpcError(grpcStatus.unavailable, 'gone for lunch ü'))
    })
  }
  const { headers, trailers, body } = await call(pathOf(bidi), framed(Buffer.alloc(0)))
  assert.equal(headers['grpc-status'], undefined)
  assert.equal(body.subarray(5).toString(), 'x')
  assert.equal(trailers['grpc-status'], String(grpcStatus.unavailable))
  assert.equal(trailers['grpc-message'], 'gone for lunch %c3%bc')
})
