import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { systemClock as clock } from '../base/index.ts'
import {
  SpdyConnection,
  type SpdyFrame,
  SpdyFrameReader,
  type SpdyStream,
  servePortForward,
} from './index.ts'
import { spdyDictionary } from './spdy-dictionary.ts'
import { encodeSpdyFrame } from './spdy-frames.ts'
import { SpdyHeaderCodec } from './spdy-headers.ts'

/** Two ends of a pipe that splits and joins bytes as it likes. */
function pipe(): [Duplex, Duplex] {
  const ends: Duplex[] = []
  const make = (other: number): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        const cut = Math.floor(chunk.length / 3)
        ends[other]?.push(chunk.subarray(0, cut))
        ends[other]?.push(chunk.subarray(cut))
        setImmediate(callback)
      },
      final(callback) {
        ends[other]?.push(null)
        callback()
      },
      destroy(error, callback) {
        ends[other]?.push(null)
        callback(error)
      },
    })
  ends.push(make(1), make(0))
  return ends as [Duplex, Duplex]
}

async function text(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

const id = fc.integer({ min: 1, max: 0x7fffffff })
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
const frame: fc.Arbitrary<SpdyFrame> = fc.oneof(
  fc.record({ kind: fc.constant('data' as const), streamId: id, fin: fc.boolean(), data: bytes }),
  fc.record({
    kind: fc.constant('synStream' as const),
    streamId: id,
    fin: fc.boolean(),
    block: bytes,
  }),
  fc.record({
    kind: fc.constant('synReply' as const),
    streamId: id,
    fin: fc.boolean(),
    block: bytes,
  }),
  fc.record({
    kind: fc.constant('headers' as const),
    streamId: id,
    fin: fc.boolean(),
    block: bytes,
  }),
  fc.record({ kind: fc.constant('rstStream' as const), streamId: id, code: fc.nat(11) }),
  fc.record({ kind: fc.constant('ping' as const), id }),
)

test('frames come out as they went in, however the bytes were cut', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.integer({ min: 1, max: 50 }),
      (frames, size) => {
        const all = Buffer.concat(frames.map(encodeSpdyFrame))
        const reader = new SpdyFrameReader()
        const read: SpdyFrame[] = []
        for (let start = 0; start < all.length; start += size) {
          read.push(...reader.push(all.subarray(start, start + size)))
        }
        assert.deepEqual(
          read,
          frames.map((each) => ({ ...each })),
        )
      },
    ),
  )
})

test('bytes that are no SPDY are refused, whatever they are, with a MeshError or nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (array) => {
      try {
        new SpdyFrameReader().push(Buffer.from(array))
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'STREAMS_SPDY_MALFORMED')
      }
    }),
  )
  assert.throws(
    () => new SpdyFrameReader().push(Buffer.from('GET / HTTP/1.1\r\n\r\n')),
    /no SPDY\/3\.1/,
  )
})

test('the dictionary is the one of the protocol', () => {
  assert.equal(spdyDictionary.length, 1423)
  // The id in the zlib header is the Adler-32 of the dictionary.
  assert.equal(deflateSync('', { dictionary: spdyDictionary }).readUInt32BE(2), 0xe3c6a7c2)
})

test('header blocks of a connection share one compression state', async () => {
  const [writer, reader] = [new SpdyHeaderCodec(), new SpdyHeaderCodec()]
  const headers = fc.dictionary(
    fc.stringMatching(/^[a-z-]{1,12}$/),
    fc.string({ maxLength: 40, unit: 'grapheme-ascii' }),
  )
  await fc.assert(
    fc.asyncProperty(headers, async (wanted) => {
      const plain = { ...wanted }
      assert.deepEqual({ ...(await reader.decode(await writer.encode(plain))) }, plain)
    }),
    { numRuns: 30 },
  )
  await assert.rejects(reader.decode(Buffer.from('garbage')))
})

test('streams carry data both ways, half-close, and arrive with their headers', async () => {
  const [clientEnd, serverEnd] = pipe()
  const seen: string[] = []
  new SpdyConnection({
    transport: serverEnd,
    role: 'server',
    clock,
    onStream: (stream: SpdyStream) => {
      seen.push(`${stream.headers.streamtype} ${stream.headers.port}`)
      stream.pipe(stream)
    },
  })
  const client = new SpdyConnection({ transport: clientEnd, role: 'client', clock })
  const payloads = ['', 'hello', 'x'.repeat(200_000)]
  const answers = await Promise.all(
    payloads.map(async (payload, index) => {
      const stream = await client.open({ streamtype: 'data', port: String(index) })
      stream.end(payload)
      return text(stream)
    }),
  )
  assert.deepEqual(answers, payloads)
  assert.deepEqual(seen, ['data 0', 'data 1', 'data 2'])
  client.close()
})

test('a slow reader stops the transport instead of filling memory', async () => {
  const [clientEnd, serverEnd] = pipe()
  let received: SpdyStream | undefined
  new SpdyConnection({
    transport: serverEnd,
    role: 'server',
    clock,
    onStream: (stream) => void (received = stream),
  })
  const client = new SpdyConnection({ transport: clientEnd, role: 'client', clock })
  const stream = await client.open({ streamtype: 'data', port: '1' })
  stream.end(Buffer.alloc(8_000_000, 'a'))
  while (received === undefined || !serverEnd.isPaused())
    await new Promise((resolve) => setImmediate(resolve))
  assert.ok(received.readableLength < 1_000_000, `${received.readableLength} bytes wait`)
  assert.equal((await text(received)).length, 8_000_000)
  client.close()
})

test('a port that refuses is told on the error stream, and the others go on', async () => {
  const [clientEnd, serverEnd] = pipe()
  const connect = (port: number): Promise<Duplex> => {
    if (port === 81) return Promise.reject(new Error('nothing listens on port 81'))
    const [near, far] = pipe()
    far.pipe(far)
    return Promise.resolve(near)
  }
  servePortForward(serverEnd, connect, clock)
  const client = new SpdyConnection({ transport: clientEnd, role: 'client', clock })
  const forward = async (port: string, requestid: string): Promise<[string, string]> => {
    const error = await client.open({ streamtype: 'error', port, requestid })
    error.end()
    const data = await client.open({ streamtype: 'data', port, requestid })
    data.on('error', () => {})
    data.end('ping')
    const [answer, message] = await Promise.all([text(data).catch(() => 'cut'), text(error)])
    return [answer, message]
  }
  assert.deepEqual(await forward('80', '0'), ['ping', ''])
  assert.deepEqual(await forward('81', '1'), ['cut', 'nothing listens on port 81'])
  assert.deepEqual(await forward('80', '2'), ['ping', ''])
  client.close()
})
