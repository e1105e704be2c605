import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatIp, MeshError } from '../base/index.ts'
import { decodeProxyHeader, encodeProxyHeader } from './proxy-protocol.ts'

const ipv4 = fc.ipV4()
const ipv6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map((bytes) => formatIp(bytes))
const port = fc.integer({ min: 0, max: 65_535 })
const extensions = fc.array(
  fc.tuple(fc.integer({ min: 1, max: 255 }), fc.uint8Array({ maxLength: 60 })),
)

test('a header comes back as it was written, whatever follows it', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)),
      port,
      port,
      extensions,
      fc.uint8Array(),
      ([from, to], fromPort, toPort, list, rest) => {
        const header = {
          source: { address: from, port: fromPort },
          destination: { address: to, port: toPort },
          extensions: new Map(list),
        }
        const bytes = encodeProxyHeader(header)
        const decoded = decodeProxyHeader(Buffer.concat([bytes, rest]))
        assert.ok(decoded.kind === 'complete' && decoded.header !== undefined)
        assert.equal(decoded.length, bytes.length)
        assert.equal(decoded.header.source.port, fromPort)
        assert.equal(decoded.header.destination.port, toPort)
        assert.deepEqual(encodeProxyHeader(decoded.header), bytes)
        for (let cut = 0; cut < bytes.length; cut++) {
          assert.equal(decodeProxyHeader(bytes.subarray(0, cut)).kind, 'incomplete')
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('the bytes of the specification: an IPv4 connection with one extension', () => {
  const bytes = encodeProxyHeader({
    source: { address: '192.0.2.1', port: 56_324 },
    destination: { address: '198.51.100.7', port: 443 },
    extensions: new Map([[0xd0, Buffer.from('id')]]),
  })
  assert.equal(
    bytes.toString('hex'),
    '0d0a0d0a000d0a515549540a' +
      '2111' +
      '0011' +
      'c0000201' +
      'c6336407' +
      'dc04' +
      '01bb' +
      'd00002' +
      '6964',
  )
})

test('a LOCAL header says nothing about addresses', () => {
  const bytes = Buffer.concat([
    Buffer.from('0d0a0d0a000d0a515549540a', 'hex'),
    Buffer.of(0x20, 0, 0, 0),
  ])
  assert.deepEqual(decodeProxyHeader(bytes), { kind: 'complete', header: undefined, length: 16 })
})

test('anything else is refused with PROXY_HEADER, and never read past its end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), (noise) => {
      for (const prefix of [Buffer.alloc(0), Buffer.from('0d0a0d0a000d0a515549540a21', 'hex')]) {
        try {
          decodeProxyHeader(Buffer.concat([prefix, noise]))
        } catch (error) {
          assert.ok(error instanceof MeshError && error.code === 'PROXY_HEADER')
        }
      }
    }),
  )
})
