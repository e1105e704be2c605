import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../base/index.ts'
import {
  addressRecord,
  answerMessage,
  canonicalName,
  type DnsRecord,
  decodeMessage,
  encodeMessage,
  type Message,
  queryMessage,
  recordTypes,
  udpLimitOf,
} from './index.ts'

const label = fc.stringMatching(/^[a-z0-9_-]{1,12}$/)
const name = fc.array(label, { maxLength: 6 }).map((labels) => labels.join('.'))
const bytes = fc.uint8Array({ maxLength: 40 })
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffffffff })

const typedData = fc.oneof(
  fc
    .ipV4()
    .map((address) => ({ type: recordTypes.A, data: { kind: 'address' as const, address } })),
  fc
    .tuple(fc.constantFrom(recordTypes.CNAME, recordTypes.PTR, recordTypes.NS), name)
    .map(([type, target]) => ({ type, data: { kind: 'name' as const, name: target } })),
  fc.tuple(u16, u16, u16, name).map(([priority, weight, port, target]) => ({
    type: recordTypes.SRV,
    data: { kind: 'service' as const, priority, weight, port, target },
  })),
  fc.array(bytes, { maxLength: 3 }).map((strings) => ({
    type: recordTypes.TXT,
    data: { kind: 'text' as const, strings },
  })),
  fc.tuple(name, name, u32, u32).map(([primary, mailbox, serial, minimum]) => ({
    type: recordTypes.SOA,
    data: {
      kind: 'authority' as const,
      primary,
      mailbox,
      serial,
      refresh: 1,
      retry: 2,
      expire: 3,
      minimum,
    },
  })),
  fc
    .tuple(fc.constantFrom(46, 65, 257, 999), bytes)
    .map(([type, raw]) => ({ type, data: { kind: 'raw' as const, bytes: raw } })),
)

const record: fc.Arbitrary<DnsRecord> = fc
  .tuple(name, u32, typedData)
  .map(([owner, ttlSeconds, rest]) => ({ name: owner, class: 1, ttlSeconds, ...rest }))

const message: fc.Arbitrary<Message> = fc.record({
  id: u16,
  response: fc.boolean(),
  opcode: fc.integer({ min: 0, max: 15 }),
  authoritative: fc.boolean(),
  truncated: fc.boolean(),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  responseCode: fc.integer({ min: 0, max: 15 }),
  questions: fc.array(fc.record({ name, type: u16, class: u16 }), { maxLength: 2 }),
  answers: fc.array(record, { maxLength: 8 }),
  authorities: fc.array(record, { maxLength: 3 }),
  additionals: fc.array(record, { maxLength: 3 }),
  edns: fc.option(
    fc.record({ udpBytes: u16, version: fc.constant(0), dnssecOk: fc.boolean(), options: bytes }),
    { nil: undefined },
  ),
})

test('every message read from its own wire form is the same message', () => {
  fc.assert(
    fc.property(message, (original) => {
      assert.deepEqual(plain(decodeMessage(encodeMessage(original))), plain(original))
    }),
  )
})

// fast-check makes objects without a prototype, and Buffers compare unlike Uint8Arrays.
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, item) => (item instanceof Uint8Array ? [...item] : item)),
  )
}

test('random bytes are read or refused with a DNS error, never anything else', () => {
  const garbage = fc.uint8Array({ maxLength: 200 })
  const damaged = fc.tuple(message, fc.nat(), fc.nat(255)).map(([original, at, value]) => {
    const wire = encodeMessage(original)
    wire[at % wire.length] = value
    return wire.subarray(0, wire.length - (at % 5))
  })
  fc.assert(
    fc.property(fc.oneof(garbage, damaged), (wire) => {
      try {
        decodeMessage(wire)
      } catch (error) {
        assert.ok(error instanceof MeshError && error.code === 'DNS_FORMAT', String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('names that repeat are compressed, and a pointer loop is refused', () => {
  const query = queryMessage(7, 'reviews.bookinfo.svc.cluster.local', recordTypes.A)
  const answers = Array.from({ length: 10 }, (_, index) =>
    addressRecord('reviews.bookinfo.svc.cluster.local', `10.244.0.${index}`, 5),
  )
  const wire = encodeMessage(answerMessage(query, { answers }))
  assert.equal(wire.length, 12 + 36 + 4 + 10 * 16)
  const loop = Uint8Array.from([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1])
  assert.throws(() => decodeMessage(loop), /points forwards/)
})

test('an answer too long for UDP keeps whole records, says so, and keeps EDNS', () => {
  const plainQuery = queryMessage(1, 'many.example', recordTypes.A)
  const edns = { udpBytes: 4096, version: 0, dnssecOk: false, options: new Uint8Array() }
  for (const query of [plainQuery, { ...plainQuery, edns }]) {
    const answers = Array.from({ length: 5000 }, (_, index) =>
      addressRecord('many.example', `10.0.${index >> 8}.${index & 255}`, 5),
    )
    const limit = udpLimitOf(query)
    const wire = encodeMessage(answerMessage(query, { answers }), limit)
    const decoded = decodeMessage(wire)
    assert.ok(wire.length <= limit && wire.length > limit - 17, `${wire.length} of ${limit}`)
    assert.equal(decoded.truncated, true)
    assert.equal(decoded.edns === undefined, query.edns === undefined)
    assert.deepEqual(decoded.answers, answers.slice(0, decoded.answers.length))
  }
  assert.equal(udpLimitOf(plainQuery), 512)
})

test('labels and names over their limits and empty labels are refused', () => {
  const make = (text: string) => () => encodeMessage(queryMessage(1, text, 1))
  assert.throws(make('a'.repeat(64)), /63/)
  assert.throws(make(Array(130).fill('a').join('.')), /255/)
  assert.throws(make('a..b'), /empty label/)
  assert.doesNotThrow(make('a.b.'))
})

test('a dot inside a label survives, and names compare without case', () => {
  const wire = encodeMessage(queryMessage(1, 'a\\.b.c\\000', 1))
  assert.equal(decodeMessage(wire).questions[0]?.name, 'a\\.b.c\\000')
  assert.equal(canonicalName('Reviews.Bookinfo.SVC.'), 'reviews.bookinfo.svc')
})
