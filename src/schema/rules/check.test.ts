import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builtinCrds } from '../builtin-crds.ts'
import type { Json } from '../json.ts'
import { checkRules } from './check.ts'

function crdOf(...specs: Json[]): Json {
  const versions = specs.map((spec, i) => ({
    name: `v${i + 1}`,
    schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
  }))
  return { spec: { versions } }
}

function complaints(spec: Json): string[] {
  const prefix = 'spec.validation.openAPIV3Schema.properties[spec].'
  return checkRules(crdOf(spec)).map(({ field, message }) => {
    assert.ok(field.startsWith(prefix), field)
    return `${field.slice(prefix.length).replace('x-kubernetes-validations', 'rules')}: ${message}`
  })
}

function withRule(rule: Json): Json {
  return {
    type: 'object',
    properties: { port: { type: 'integer' }, labels: { type: 'object' } },
    'x-kubernetes-validations': [rule],
  }
}

test('every rule of the CRDs of Istio and Gateway API compiles against its schema', () => {
  let rules = 0
  const count = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const own: unknown = Object.getOwnPropertyDescriptor(value, 'x-kubernetes-validations')?.value
    if (Array.isArray(own)) rules += own.length
    for (const child of Object.values(value)) count(child)
  }
  for (const gatewayChannel of ['standard', 'experimental'] as const) {
    for (const crd of builtinCrds({ gatewayChannel })) {
      assert.deepEqual(checkRules(crd), [], crd.metadata.name)
      count(crd)
    }
  }
  assert.ok(rules > 840, `${rules} rules`)
})

test('a rule that does not compile is shown with the place in its text', () => {
  assert.deepEqual(complaints(withRule({ rule: 'self.prot > 0' })), [
    'rules[0].rule: Invalid value: {"rule":"self.prot > 0"}: compilation failed: ' +
      "ERROR: <input>:1:5: undefined field 'prot'\n | self.prot > 0\n | ....^",
  ])
  assert.match(complaints(withRule({ rule: 'self.port +' }))[0] ?? '', /Syntax error/)
  assert.match(
    complaints(withRule({ rule: "self.port == '1'" }))[0] ?? '',
    /found no matching overload for '_==_' applied to '\(int, string\)'/,
  )
  assert.match(
    complaints(withRule({ rule: 'self.port' }))[0] ?? '',
    /: cel expression must evaluate to a bool$/,
  )
  assert.deepEqual(complaints(withRule({ rule: ' ' })), [
    'rules[0].rule: Required value: rule is not specified',
  ])
})

test('messages, reasons and field paths are checked as well', () => {
  const about = (more: Json) => complaints(withRule({ rule: 'self.port > 0', ...more }))
  assert.deepEqual(
    about({ message: 'fine', reason: 'FieldValueForbidden', fieldPath: '.port' }),
    [],
  )
  assert.deepEqual(about({ message: ' ' }), [
    'rules[0].message: Invalid value: " ": message must be non-empty if specified',
  ])
  assert.match(about({ message: 'a\nb' })[0] ?? '', /message must not contain line breaks/)
  assert.deepEqual(about({ rule: 'self.port\n > 0' }), [
    'rules[0].message: Required value: message must be specified if rule contains line breaks',
  ])
  assert.match(about({ messageExpression: '1 + 1' })[0] ?? '', /must evaluate to a string$/)
  assert.match(about({ messageExpression: 'x' })[0] ?? '', /undeclared reference to 'x'/)
  assert.match(
    about({ reason: 'Other' })[0] ?? '',
    /^rules\[0\]\.reason: Unsupported value: "Other"/,
  )
  assert.deepEqual(about({ fieldPath: '.nothing' }), [
    'rules[0].fieldPath: Invalid value: ".nothing": fieldPath must be a valid path: does not refer to a valid field',
  ])
  assert.match(about({ fieldPath: 'port' })[0] ?? '', /expected \[ or \. but got: port/)
})

test('transition rules are refused where nothing tells which old value belongs to a new one', () => {
  const rules = [{ rule: 'self == oldSelf' }]
  const element = { type: 'string', maxLength: 10, 'x-kubernetes-validations': rules }
  const list = (more: Json) => ({ type: 'array', maxItems: 5, items: element, ...more })
  const inside = (child: Json) => ({ type: 'object', properties: { list: child } })
  assert.match(
    complaints(inside(list({})))[0] ?? '',
    /^properties\[list\]\.items\.rules\[0\]\.rule: .*oldSelf cannot be used on the uncorrelatable portion of the schema within .*\[list\]$/,
  )
  assert.equal(complaints(inside(list({ 'x-kubernetes-list-type': 'set' }))).length, 1)
  const keyed = {
    type: 'array',
    maxItems: 5,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    items: { type: 'object', properties: { name: element } },
  }
  assert.deepEqual(complaints(inside(keyed)), [])
  const map = { type: 'object', maxProperties: 5, additionalProperties: element }
  assert.deepEqual(complaints(inside(map)), [])
})

test('versions with different schemas are named one by one', () => {
  const wrong = withRule({ rule: 'self.prot' })
  const fields = checkRules(crdOf(withRule({ rule: 'true' }), wrong)).map(({ field }) => field)
  assert.deepEqual(fields, [
    'spec.versions[1].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule',
  ])
  assert.equal(checkRules(crdOf(wrong, wrong)).length, 1)
  assert.deepEqual(checkRules(undefined), [])
})
