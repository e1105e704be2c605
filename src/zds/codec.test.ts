import assert from 'node:assert'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  decodeAck,
  decodeHello,
  decodeRequest,
  encodeAck,
  encodeHello,
  encodeRequest,
  type ZdsRequest,
  zdsLimits,
} from './index.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const uid = fc.string({ minLength: 1 })
const request: fc.Arbitrary<ZdsRequest> = fc.oneof(
  fc.record({
    kind: fc.constant('add' as const),
    uid,
    info: fc.record({ name: fc.string(), namespace: fc.string(), serviceAccount: fc.string() }),
  }),
  fc.record({ kind: fc.constantFrom('keep' as const, 'del' as const), uid }),
  fc.constant({ kind: 'snapshotSent' as const }),
)

describe('ZDS codec', () => {
  it('what is encoded is decoded', () => {
    fc.assert(
      fc.property(request, (value) => assert.deepEqual(decodeRequest(encodeRequest(value)), value)),
    )
  })

  it('field numbers are those of Istio: keep is 5, the uid of del is 2', () => {
    assert.strictEqual(hex(encodeHello()), '0801')
    const info = { name: 'n', namespace: 's', serviceAccount: 'a' }
    assert.strictEqual(
      hex(encodeRequest({ kind: 'add', uid: 'u', info })),
      '0a0e0a017512090a016e120173 1a0161'.replace(' ', ''),
    )
    assert.strictEqual(hex(encodeRequest({ kind: 'keep', uid: 'u' })), '2a030a0175')
    assert.strictEqual(hex(encodeRequest({ kind: 'del', uid: 'u' })), '1203120175')
    assert.strictEqual(hex(encodeRequest({ kind: 'snapshotSent' })), '1a00')
    assert.strictEqual(hex(encodeAck()), '0a00')
    assert.strictEqual(hex(encodeAck('no')), '0a040a026e6f')
  })

  it('the longest names fit into a packet, and long error texts are cut to fit', () => {
    const info = {
      name: 'n'.repeat(253),
      namespace: 's'.repeat(63),
      serviceAccount: 'a'.repeat(253),
    }
    const add = encodeRequest({ kind: 'add', uid: 'u'.repeat(36), info })
    assert.ok(add.length <= zdsLimits.packetBytes)
    const ack = encodeAck('ü'.repeat(5000))
    assert.ok(ack.length <= zdsLimits.packetBytes)
    assert.match(decodeAck(ack), /^üüü/)
  })

  it('what is no message of ours is refused with a sentence, whatever the bytes', () => {
    assert.throws(() => decodeRequest(Buffer.from('0a030a0175', 'hex')), {
      code: 'ZDS_BAD_PACKET',
      message: /"u" has no workload_info/,
    })
    assert.throws(() => decodeRequest(Buffer.from('1a', 'hex')), { code: 'ZDS_BAD_PACKET' })
    assert.throws(() => decodeRequest(Buffer.from('1200', 'hex')), /del has no uid/)
    assert.throws(() => decodeHello(new Uint8Array()), { code: 'ZDS_VERSION' })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        for (const decode of [decodeRequest, decodeAck, decodeHello]) {
          try {
            decode(bytes)
          } catch (error) {
            assert.match(String((error as { code?: unknown }).code), /^ZDS_/)
          }
        }
      }),
    )
  })
})
