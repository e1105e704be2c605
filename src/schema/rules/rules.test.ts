import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json } from '../json.ts'
import { fromOpenApi } from '../openapi-node.ts'
import type { KindSchema } from '../types.ts'
import { validateCustomResource } from './custom.ts'
import { validateRules } from './evaluate.ts'

const gvk = { group: 'example.com', version: 'v1', kind: 'Thing' }

/** A kind whose `spec` has this schema, in the form of a CRD. */
function kindOf(spec: Json): KindSchema {
  const node = fromOpenApi({ type: 'object', properties: { spec } })
  return { gvk, node, custom: true }
}

function complaints(spec: Json, value: unknown, old?: unknown): string[] {
  const wrap = (inner: unknown) => ({ apiVersion: 'example.com/v1', kind: 'Thing', spec: inner })
  const before = old === undefined ? undefined : wrap(old)
  return validateRules(kindOf(spec), wrap(value), before).map(
    ({ field, message }) => `${field}: ${message}`,
  )
}

const text = { type: 'string' }
const integer = { type: 'integer' }

function rule(expression: string, more: Json = {}): Json[] {
  return [{ rule: expression, ...more }]
}

test('a failed rule says its message, or else the rule, and shows the type of the value', () => {
  const schema = {
    type: 'object',
    properties: { min: integer, max: integer },
    'x-kubernetes-validations': [
      { rule: 'self.min <= self.max', message: ' min must not exceed max ' },
      { rule: 'self.min > 0' },
    ],
  }
  assert.deepEqual(complaints(schema, { min: 1, max: 2 }), [])
  assert.deepEqual(complaints(schema, { min: 0, max: -1 }), [
    'spec: Invalid value: "object": min must not exceed max',
    'spec: Invalid value: "object": failed rule: self.min > 0',
  ])
})

test('an error in a rule is a complaint that names the error', () => {
  const schema = {
    type: 'object',
    properties: { a: integer, b: { 'x-kubernetes-int-or-string': true } },
    'x-kubernetes-validations': [
      { rule: 'self.a > 0', message: 'a must be positive' },
      { rule: 'self.b > 0' },
    ],
  }
  assert.deepEqual(complaints(schema, { b: 'x' }), [
    'spec: Invalid value: "object": no such key: a evaluating rule: a must be positive',
    `spec: Invalid value: "object": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.b > 0`,
  ])
  assert.deepEqual(complaints(schema, { a: 1, b: 3 }), [])
})

test('numbers are ints or doubles by the schema, not by how they are written', () => {
  const schema = {
    type: 'object',
    properties: { whole: integer, real: { type: 'number' } },
    'x-kubernetes-validations': [
      { rule: 'self.whole + 1 == 4 && self.whole / 2 == 1' },
      { rule: 'self.real / 2.0 == 1.5 && type(self.real) == double' },
    ],
  }
  assert.deepEqual(complaints(schema, { whole: 3, real: 3 }), [])
})

test('paths name indexes of lists, keys of maps and fields, with dots only for fields', () => {
  const schema = {
    type: 'object',
    properties: {
      ports: {
        type: 'array',
        items: {
          type: 'object',
          properties: { number: { ...integer, 'x-kubernetes-validations': rule('self > 0') } },
        },
      },
      labels: {
        type: 'object',
        additionalProperties: { ...text, 'x-kubernetes-validations': rule("!self.contains('*')") },
      },
    },
  }
  const value = { ports: [{ number: 1 }, { number: 0 }], labels: { 'a.b/c': '*', d: 'x' } }
  assert.deepEqual(
    validateRules(kindOf(schema), { spec: value }).map(({ field }) => field),
    ['spec.ports[1].number', 'spec.labels[a.b/c]'],
  )
})

test('rules of a whole resource see its name and kind, and complain about no field', () => {
  const node = fromOpenApi({
    type: 'object',
    'x-kubernetes-validations': [
      { rule: "self.metadata.name == 'default'", message: 'there is only one' },
      { rule: "self.kind == 'Thing' && self.apiVersion.startsWith('example.com/')" },
    ],
  })
  const object = { apiVersion: 'example.com/v1', kind: 'Thing', metadata: { name: 'other' } }
  assert.deepEqual(validateRules({ gvk, node, custom: true }, object), [
    {
      reason: 'FieldValueInvalid',
      message: 'Invalid value: "object": there is only one',
      field: '<nil>',
    },
  ])
})

test('transition rules run only when there is an old value to compare with', () => {
  const schema = {
    type: 'object',
    properties: { id: { ...text, 'x-kubernetes-validations': rule('self == oldSelf') } },
  }
  assert.deepEqual(complaints(schema, { id: 'a' }), [])
  assert.deepEqual(complaints(schema, { id: 'a' }, {}), [])
  assert.deepEqual(complaints(schema, {}, { id: 'a' }), [])
  assert.deepEqual(complaints(schema, { id: 'a' }, { id: 'a' }), [])
  assert.deepEqual(complaints(schema, { id: 'b' }, { id: 'a' }), [
    'spec.id: Invalid value: "string": failed rule: self == oldSelf',
  ])
})

test('with optionalOldSelf a transition rule runs on creation as well', () => {
  const schema = {
    type: 'object',
    properties: {
      size: {
        ...integer,
        'x-kubernetes-validations': rule(
          'oldSelf.hasValue() ? self >= oldSelf.value() : self == 1',
          { optionalOldSelf: true, message: 'starts at 1 and never shrinks' },
        ),
      },
    },
  }
  assert.deepEqual(complaints(schema, { size: 1 }), [])
  assert.equal(complaints(schema, { size: 2 }).length, 1)
  assert.deepEqual(complaints(schema, { size: 3 }, { size: 2 }), [])
  assert.equal(complaints(schema, { size: 1 }, { size: 2 }).length, 1)
})

test('elements of keyed lists keep their old values wherever they stand', () => {
  const list = (more: Json) => ({
    type: 'object',
    properties: {
      list: {
        type: 'array',
        ...more,
        items: {
          type: 'object',
          properties: { name: text, value: integer },
          'x-kubernetes-validations': rule('self.value >= oldSelf.value'),
        },
      },
    },
  })
  const keyed = list({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
  const a = { name: 'a', value: 1 }
  const b = { name: 'b', value: 5 }
  assert.deepEqual(complaints(keyed, { list: [b, a] }, { list: [a, b] }), [])
  assert.deepEqual(complaints(keyed, { list: [{ name: 'b', value: 4 }, a] }, { list: [a, b] }), [
    'spec.list[0]: Invalid value: "object": failed rule: self.value >= oldSelf.value',
  ])
  assert.deepEqual(complaints(list({}), { list: [{ name: 'a', value: 0 }] }, { list: [a] }), [])
})

test('lists of type set and map are equal in any order and merge when added', () => {
  const schema = {
    type: 'object',
    properties: {
      set: { type: 'array', 'x-kubernetes-list-type': 'set', items: text },
      map: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
        items: { type: 'object', properties: { name: text, value: integer } },
      },
      plain: { type: 'array', items: text },
    },
    'x-kubernetes-validations': [
      { rule: 'self.set == oldSelf.set' },
      { rule: '(self.set + oldSelf.set).size() == 2' },
      { rule: 'self.map == oldSelf.map' },
      { rule: '(self.map + oldSelf.map).size() == 2' },
      { rule: 'self.plain != oldSelf.plain' },
    ],
  }
  const one = { name: 'x', value: 1 }
  const two = { name: 'y', value: 2 }
  const value = { set: ['a', 'b'], map: [one, two], plain: ['a', 'b'] }
  const old = { set: ['b', 'a'], map: [two, one], plain: ['b', 'a'] }
  assert.deepEqual(complaints(schema, value, old), [])
})

test('reason, fieldPath and messageExpression shape the complaint', () => {
  const complaint = (more: Json): unknown => {
    const schema = {
      type: 'object',
      properties: {
        x: integer,
        deep: { type: 'object', additionalProperties: { type: 'object', properties: { y: text } } },
      },
      'x-kubernetes-validations': rule('self.x > 0', { message: 'plain', ...more }),
    }
    return validateRules(kindOf(schema), { spec: { x: 0 } })[0]
  }
  assert.deepEqual(complaint({ reason: 'FieldValueRequired', fieldPath: '.x' }), {
    reason: 'FieldValueRequired',
    message: 'Required value: plain',
    field: 'spec.x',
  })
  assert.deepEqual(complaint({ reason: 'FieldValueForbidden', fieldPath: ".deep['a.b'].y" }), {
    reason: 'FieldValueForbidden',
    message: 'Forbidden: plain',
    field: 'spec.deep[a.b].y',
  })
  assert.deepEqual(complaint({ reason: 'FieldValueDuplicate' }), {
    reason: 'FieldValueDuplicate',
    message: 'Duplicate value: "object"',
    field: 'spec',
  })
  const said = (messageExpression: string) =>
    (complaint({ messageExpression }) as { message: string }).message
  assert.equal(said("'x is ' + string(self.x)"), 'Invalid value: "object": x is 0')
  for (const useless of ["''", "'a\\nb'", 'string(1 / self.x)', "self.deep['a'].y"]) {
    assert.equal(said(useless), 'Invalid value: "object": plain', useless)
  }
})

test('field names that are no identifiers are written with words between underscores', () => {
  const names = ['a-b', 'a.b', 'a/b', 'a__b', 'namespace', 'for', '_x', 'x1']
  const schema = {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, integer])),
    'x-kubernetes-validations': [
      { rule: 'self.a__dash__b + self.a__dot__b + self.a__slash__b == 3' },
      { rule: 'self.a__underscores__b + self.__namespace__ + self.__for__ == 3' },
      { rule: 'self.namespace + self._x + self.x1 == 3' },
    ],
  }
  assert.deepEqual(complaints(schema, Object.fromEntries(names.map((name) => [name, 1]))), [])
})

test('formats give rules times, durations and bytes; quantities and name formats are functions', () => {
  const schema = {
    type: 'object',
    properties: {
      at: { type: 'string', format: 'date-time' },
      day: { type: 'string', format: 'date' },
      wait: { type: 'string', format: 'duration' },
      data: { type: 'string', format: 'byte' },
      cpu: { 'x-kubernetes-int-or-string': true },
      name: text,
    },
    'x-kubernetes-validations': [
      { rule: 'self.at > self.day && self.at.getFullYear() == 2024' },
      { rule: "self.wait == duration('90s') && size(self.data) == 3" },
      { rule: "quantity(string(self.cpu)).isLessThan(quantity('1'))" },
      { rule: "quantity('1Gi').add(quantity('1Ki')).asInteger() == 1073742848" },
      { rule: "quantity('500m').isInteger() == false && quantity('2').sub(3).sign() == -1" },
      { rule: "!isQuantity('1x') && quantity('1.5').asApproximateFloat() == 1.5" },
      { rule: '!format.dns1123Label().validate(self.name).hasValue()' },
      { rule: "format.dns1035Label().validate('1a').value().size() == 1" },
      { rule: "format.named('labelValue').value().validate('-').hasValue()" },
      { rule: "!format.named('nothing').hasValue()" },
      { rule: "!format.dns1123LabelPrefix().validate('abc-').hasValue()" },
    ],
  }
  const value = {
    at: '2024-05-01T10:00:00Z',
    day: '2024-05-01',
    wait: '1m30s',
    data: 'AQID',
    cpu: '500m',
    name: 'a-name',
  }
  assert.deepEqual(complaints(schema, value), [])
})

test('null in a nullable field is a value of its own, and rules of the field are not run', () => {
  const schema = {
    type: 'object',
    properties: {
      name: { type: 'string', nullable: true, 'x-kubernetes-validations': rule('self.size() > 9') },
    },
    'x-kubernetes-validations': [
      { rule: 'has(self.name) && self.name == null' },
      { rule: "self.name.startsWith('x')", message: 'needs x' },
    ],
  }
  assert.deepEqual(complaints(schema, { name: null }), [
    `spec: Invalid value: "object": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: needs x`,
  ])
})

test('embedded resources show rules their type and name; what no schema knows stays hidden', () => {
  const schema = {
    type: 'object',
    'x-kubernetes-preserve-unknown-fields': true,
    properties: {
      template: {
        type: 'object',
        'x-kubernetes-embedded-resource': true,
        'x-kubernetes-preserve-unknown-fields': true,
        'x-kubernetes-validations': rule("self.kind == 'Pod' && self.metadata.name == 'a'"),
      },
    },
    'x-kubernetes-validations': rule('has(self.template.kind)'),
  }
  const template = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { x: 1 } }
  assert.deepEqual(complaints(schema, { template, other: [1] }), [])
})

test('a rule that costs too much is stopped, and with it the rules after it', () => {
  const schema = {
    type: 'object',
    properties: {
      list: {
        type: 'array',
        items: text,
        'x-kubernetes-validations': [
          { rule: 'self.all(a, self.all(b, self.all(c, a + b != c)))', message: 'too much' },
          { rule: 'false' },
        ],
      },
      other: { ...text, 'x-kubernetes-validations': rule('false') },
    },
  }
  const list = Array.from({ length: 300 }, (_, i) => `x${i}`)
  assert.deepEqual(complaints(schema, { list, other: 'x' }), [
    `spec.list: Invalid value: "array": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: too much`,
  ])
})

test('all rules for one object share one budget', () => {
  const schema = {
    type: 'object',
    properties: {
      list: {
        type: 'array',
        items: { ...text, 'x-kubernetes-validations': rule("!self.contains('x')") },
      },
    },
  }
  const list = Array.from({ length: 500 }, () => 'ab'.repeat(100_000))
  const found = complaints(schema, { list })
  assert.match(found.at(-1) ?? '', /^spec\.list\[\d+\]: .*running out of cost budget, no further/)
  assert.equal(found.length, 1)
})

test('rules are not checked while the object does not fit its schema, and the answer says so', () => {
  const kind = kindOf({
    type: 'object',
    required: ['name'],
    properties: { name: { ...text, maxLength: 3 }, size: { ...integer, maximum: 5 } },
    'x-kubernetes-validations': rule('self.size == 1'),
  })
  const fields = (spec: Json) =>
    validateCustomResource(kind, { spec }).map(({ field, message }) => `${field}: ${message}`)
  assert.deepEqual(fields({ name: 'toolong', size: 2 }), [
    'spec.name: Too long: may not be more than 3 bytes',
    '<nil>: Invalid value: "null": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
  ])
  assert.deepEqual(fields({ name: 'a', size: 9 }), [
    'spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5',
    'spec: Invalid value: "object": failed rule: self.size == 1',
  ])
})

test('an update is not blamed for what it leaves as it was', () => {
  const kind = kindOf({
    type: 'object',
    required: ['needed'],
    properties: {
      name: { ...text, pattern: '^[a-z]*$', 'x-kubernetes-validations': rule('self.size() < 3') },
      other: integer,
      'dotted.key': { type: 'object', additionalProperties: { ...text, maxLength: 1 } },
      list: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['id'],
        items: { type: 'object', properties: { id: text, value: { ...integer, maximum: 5 } } },
      },
      plain: { type: 'array', items: { ...integer, maximum: 5 } },
    },
  })
  const fields = (spec: Json, old: Json) =>
    validateCustomResource(kind, { spec }, { spec: old }).map(({ field }) => field)
  const old = {
    needed: 1,
    name: 'UPPER',
    'dotted.key': { 'a.b': 'long' },
    list: [{ id: 'a', value: 9 }],
    plain: [9],
  }
  assert.deepEqual(fields({ ...old, other: 1 }, old), [])
  assert.deepEqual(fields({ ...old, list: [{ id: 'b', value: 1 }, ...old.list] }, old), [])
  assert.deepEqual(fields({ ...old, name: 'OTHER' }, old), ['spec.name', 'spec.name'])
  assert.deepEqual(fields({ ...old, plain: [9, 1] }, old), ['spec.plain[0]'])
  assert.deepEqual(fields({ ...old, list: [{ id: 'b', value: 9 }] }, old), ['spec.list[0].value'])
  const { needed, ...without } = old
  assert.equal(needed, 1)
  assert.equal(fields(without, old)[0], 'spec.needed')
})
