import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { accepts } from './accept.ts'
import { builtinCrds } from './builtin-crds.ts'
import { arbitraryOf } from './fixture.ts'
import { loadBuiltinSchemas } from './schema-registry.ts'
import type { KindSchema, SchemaNode } from './types.ts'
import { complaintsOf, validate } from './validate.ts'

const schemas = loadBuiltinSchemas()
for (const crd of builtinCrds()) schemas.addCrd(crd)

function kindOf(group: string, version: string, kind: string): KindSchema {
  const found = schemas.get({ group, version, kind })
  assert.ok(found)
  return found
}

test('the quick check and the walk agree about any object of any kind', () => {
  let fine = 0
  for (const kind of [
    kindOf('', 'v1', 'Pod'),
    kindOf('', 'v1', 'Service'),
    kindOf('apps', 'v1', 'Deployment'),
    kindOf('networking.istio.io', 'v1', 'VirtualService'),
    kindOf('networking.istio.io', 'v1', 'DestinationRule'),
    kindOf('gateway.networking.k8s.io', 'v1', 'HTTPRoute'),
  ]) {
    for (const part of ['metadata', 'spec', 'status']) {
      const { [part]: node } = kind.node.properties ?? {}
      if (node === undefined) continue
      fc.assert(
        fc.property(arbitraryOf(node, 3), (value) => {
          const object = { [part]: value }
          const walked = complaintsOf(kind, object)
          if (walked.length === 0) fine++
          assert.deepEqual(validate(kind, object), walked)
        }),
        { numRuns: 150 },
      )
    }
  }
  assert.ok(fine > 200, `only ${fine} objects were fine`)
})

test('the quick check and the walk agree about every single constraint', () => {
  const node: SchemaNode = {
    type: 'object',
    required: ['word'],
    properties: {
      word: { type: 'string', minLength: 2, maxLength: 3, pattern: '^[a-z😀]*$' },
      choice: { type: 'string', enum: ['A', 'B'] },
      number: { type: 'number', minimum: 1, maximum: 9, exclusiveMaximum: true, multipleOf: 0.5 },
      either: { anyOf: [{ type: 'integer' }, { type: 'string' }], intOrString: true },
      code: { type: 'integer', enum: [1, 2] },
      names: {
        type: 'array',
        maxItems: 2,
        minItems: 1,
        listType: 'set',
        items: { type: 'string' },
      },
      ports: {
        type: 'array',
        listType: 'map',
        listMapKeys: ['name', 'port'],
        items: { type: 'object', properties: { port: { type: 'integer', default: 1 } } },
      },
      free: { preserveUnknown: true },
      bag: { type: 'object', maxProperties: 1, additionalProperties: { type: 'boolean' } },
      amount: { type: 'string', format: 'quantity', nullable: true },
    },
  }
  const values: Record<string, readonly unknown[]> = {
    word: ['a', 'ab', 'abcd', '😀', '😀😀', '😀😀😀', '😀😀😀😀', 'AB', '', null, 1, undefined],
    choice: ['A', 'C', '', null, 1],
    number: [0.5, 1, 8.5, 9, 1.25, '1', null],
    either: [1, 'a', 1.5, true, null],
    code: [1, 3, '1'],
    names: [[], ['a'], ['a', 'a'], ['a', 'b', 'c'], [1], 'a', {}],
    ports: [[{ port: 1 }, {}], [{ name: 'a' }, { name: 'b' }], [{ name: 1 }, { name: '1' }], [{}]],
    free: [null, 1, [], { a: 1 }],
    bag: [{}, { a: true }, { a: 1 }, { a: true, b: true }, []],
    amount: [null, 1, 1.5, '1Gi', 'x', true],
  }
  const gvk = { group: 'example.com', version: 'v1', kind: 'Thing' }
  for (const custom of [true, false]) {
    const kind = { gvk, node, custom }
    const explain = (each: SchemaNode, value: unknown) =>
      complaintsOf({ ...kind, node: each }, value).length === 0
    for (const [name, list] of Object.entries(values)) {
      for (const value of list) {
        const object = { word: 'abc', [name]: value }
        const quick = accepts(node, object, { builtin: !custom, explain })
        const text = `${custom} ${name} ${JSON.stringify(value)}`
        assert.equal(quick, complaintsOf(kind, object).length === 0, text)
      }
    }
  }
})
