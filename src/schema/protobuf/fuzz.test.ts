import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ApiError } from '../../kube/index.ts'
import { type FieldFacts, readProtobufBundle } from './bundle.ts'
import { decodeKubernetesProtobuf } from './index.ts'
import { double, envelope, message } from './testing.ts'

const bundle = readProtobufBundle()
const kinds = Object.entries(bundle.kinds)

/** A number below a bound: what the generator draws its choices from. */
type Draw = (bound: number) => number

interface Sample {
  readonly bytes: Uint8Array
  readonly json: unknown
}

const empty = message()
const specials: Record<string, readonly Sample[]> = {
  'meta.v1.Time': [
    { bytes: empty, json: null },
    { bytes: message([1, 0], [2, 0]), json: '1970-01-01T00:00:00Z' },
  ],
  'meta.v1.MicroTime': [
    { bytes: message([2, 999_999_999], [1, -1]), json: '1969-12-31T23:59:59.999999Z' },
  ],
  'meta.v1.FieldsV1': [{ bytes: message([1, '{"f:a":{}}']), json: { 'f:a': {} } }],
  'runtime.RawExtension': [{ bytes: message([1, '[1,{"a":"b"}]']), json: [1, { a: 'b' }] }],
  'apiextensions.v1.JSON': [{ bytes: message([1, '""']), json: '' }],
  'resource.Quantity': [{ bytes: message([1, '1Gi']), json: '1Gi' }],
  'intstr.IntOrString': [
    { bytes: message([1, 0], [2, -3], [3, '']), json: -3 },
    { bytes: message([1, 1], [2, 0], [3, '50%']), json: '50%' },
  ],
  'apiextensions.v1.JSONSchemaPropsOrBool': [
    { bytes: message([1, false]), json: false },
    { bytes: message([1, true], [2, message([5, 'x'])]), json: { type: 'x' } },
  ],
  'apiextensions.v1.JSONSchemaPropsOrArray': [
    { bytes: message([2, message([5, 'x'])]), json: [{ type: 'x' }] },
  ],
  'apiextensions.v1.JSONSchemaPropsOrStringArray': [
    { bytes: message([2, 'a'], [2, 'b']), json: ['a', 'b'] },
  ],
}

/** One value of a type: its field on the wire, and what JSON shows. */
function field(number: number, type: string, draw: Draw, depth: number): Sample {
  const pick = <T>(items: readonly T[]): T => items[draw(items.length)] as T
  switch (type) {
    case 'string': {
      const text = pick(['', 'a', 'ü€😀', '\ufffd', '__proto__'])
      return { bytes: message([number, text]), json: text }
    }
    case 'bytes': {
      const raw = pick([Uint8Array.of(), Uint8Array.of(0, 255), Uint8Array.of(1)])
      return { bytes: message([number, raw]), json: Buffer.from(raw).toString('base64') }
    }
    case 'bool': {
      const value = draw(2) === 1
      return { bytes: message([number, value]), json: value }
    }
    case 'int32':
    case 'int64': {
      const large = type === 'int32' ? 2 ** 31 - 1 : Number.MAX_SAFE_INTEGER
      const value = pick([0, 1, -1, 300, large, -large])
      return { bytes: message([number, value]), json: value }
    }
    case 'double': {
      const value = pick([1.5, -2, 1e300])
      return { bytes: double(number, value), json: value }
    }
  }
  const sample = specials[type] === undefined ? object(type, draw, depth + 1) : pick(specials[type])
  return { bytes: message([number, sample.bytes]), json: sample.json }
}

function put(map: object, key: string, value: unknown): void {
  Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true })
}

/** Some of a message's fields, in any order. */
function object(name: string, draw: Draw, depth: number): Sample {
  const facts = bundle.messages[name] ?? []
  const chosen = depth > 6 ? [] : facts.filter(() => draw(3) === 0)
  if (draw(2) === 0) chosen.reverse()
  const parts: Uint8Array[] = []
  const json: Record<string, unknown> = {}
  let list: unknown[] | undefined = facts[0]?.[1] === '[]' ? [] : undefined
  for (const fact of chosen) {
    const [, key, type] = fact
    const values = several(fact, draw, depth)
    parts.push(...values.map(({ bytes }) => bytes))
    if (key === '[]') list = values.map((value) => value.json)
    else if (fact[3] === 'l') json[key] = values.map((value) => value.json)
    else if (fact[3] === 'm') {
      const map = {}
      for (const { json: entry } of values) put(map, ...(entry as [string, unknown]))
      json[key] = map
    } else {
      const value = values[0]?.json
      if (key === '' && type.includes('.')) Object.assign(json, value)
      else if (fact[3] !== 'o' || !['', 0, false, null].some((zero) => Object.is(zero, value)))
        json[key] = value
    }
  }
  return { bytes: Buffer.concat(parts), json: list ?? json }
}

function several([number, , type, shape]: FieldFacts, draw: Draw, depth: number): Sample[] {
  const count = shape === 'l' || shape === 'm' ? 1 + draw(2) : 1
  return Array.from({ length: count }, () => {
    if (shape !== 'm') return field(number, type, draw, depth)
    const key = field(1, 'string', draw, depth)
    const value = field(2, type, draw, depth)
    const bytes = message([number, Buffer.concat([key.bytes, value.bytes])])
    return { bytes, json: [key.json, value.json] }
  })
}

/** A body of a random kind, made from a seed. */
function body(kind: number, seed: number): { apiVersion: string; kind: string } & Sample {
  const [key, name] = kinds[kind % kinds.length] as [string, string]
  const slash = key.lastIndexOf('/')
  const type = { apiVersion: key.slice(0, slash), kind: key.slice(slash + 1) }
  let state = seed >>> 0
  const draw: Draw = (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
  const { bytes, json } = object(name, draw, 0)
  return { ...type, bytes: envelope(type.apiVersion, type.kind, bytes), json }
}

/** Decodes; any failure but a 400 fails the test. */
function attempt(bytes: Uint8Array): 'decoded' | 'refused' {
  try {
    JSON.stringify(decodeKubernetesProtobuf(bytes))
    return 'decoded'
  } catch (error) {
    assert.ok(error instanceof ApiError && error.status.code === 400, String(error))
    return 'refused'
  }
}

const anyKind = fc.nat(kinds.length - 1)
const anySeed = fc.nat()

describe('protobuf bodies of any content', () => {
  test('objects of every served kind come back as they were written, in any order of fields', () => {
    fc.assert(
      fc.property(anyKind, anySeed, (kind, seed) => {
        const { bytes, json, ...type } = body(kind, seed)
        assert.deepEqual(decodeKubernetesProtobuf(bytes), { ...type, ...(json as object) })
      }),
      { numRuns: 600 },
    )
  })

  test('a body cut off anywhere is decoded or refused with 400', () => {
    const { bytes } = body(
      kinds.findIndex(([key]) => key === 'apps/v1/Deployment'),
      5,
    )
    const results = new Set(Array.from(bytes, (_byte, end) => attempt(bytes.subarray(0, end))))
    assert.ok(results.has('refused'))
  })

  test('changed bytes are decoded or refused with 400, and never hang', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255))
    fc.assert(
      fc.property(anyKind, anySeed, fc.array(change, { maxLength: 8 }), (kind, seed, changes) => {
        const { bytes } = body(kind, seed)
        for (const [at, to] of changes) bytes[at % bytes.length] = to
        attempt(bytes)
      }),
      { numRuns: 1500 },
    )
  })

  test('random bytes in an envelope are decoded or refused with 400', () => {
    fc.assert(
      fc.property(anyKind, fc.uint8Array({ maxLength: 300 }), (kind, bytes) => {
        const { apiVersion, kind: name } = body(kind, 0)
        attempt(envelope(apiVersion, name, bytes))
        attempt(bytes)
      }),
      { numRuns: 1500 },
    )
  })
})
