import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builtinCrds } from '../builtin-crds.ts'
import type { Json } from '../json.ts'
import { checkRules } from './check.ts'

function complaints(spec: Json): { field: string; message: string }[] {
  const openAPIV3Schema = { type: 'object', properties: { spec } }
  return checkRules({ spec: { versions: [{ name: 'v1', schema: { openAPIV3Schema } }] } })
}

const at = 'spec.validation.openAPIV3Schema'
const advice =
  'adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)'

/** Twenty elements with a text that is looked for in another. */
function search(textMax: number, wantedMax: number): Json {
  const string = (maxLength: number) => ({ type: 'string', maxLength })
  return {
    type: 'array',
    maxItems: 20,
    items: {
      type: 'object',
      required: ['text', 'wanted'],
      properties: { text: string(textMax), wanted: string(wantedMax) },
      'x-kubernetes-validations': [{ rule: '!self.text.contains(self.wanted)' }],
    },
  }
}

test('a rule that its bounds make too costly is refused with the factor that the API names', () => {
  const [own, ...others] = complaints(search(4096, 4096))
  assert.equal(own?.field, `${at}.properties[spec].items.x-kubernetes-validations[0].rule`)
  assert.equal(
    own.message,
    `Forbidden: estimated rule cost exceeds budget by factor of 5.4x (try simplifying the rule, or ${advice}`,
  )
  assert.deepEqual(others, [])
  assert.deepEqual(complaints(search(4096, 512)), [])
  assert.deepEqual(complaints(search(1024, 1024)), [])
})

test('what nothing bounds costs as much as fits into a request', () => {
  const list = (more: Json): Json => ({
    type: 'array',
    items: { type: 'string' },
    'x-kubernetes-validations': [{ rule: 'self.all(a, self.exists_one(b, a == b))' }],
    ...more,
  })
  const [own, share, whole] = complaints(list({}))
  assert.match(own?.message ?? '', /^Forbidden: estimated rule cost exceeds .* more than 100x/)
  assert.equal(share?.field, own?.field)
  assert.match(share?.message ?? '', /^Forbidden: contributed to estimated rule cost total/)
  assert.equal(whole?.field, at)
  assert.match(
    whole?.message ?? '',
    /^Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x \(try simplifying the rule\(s\), or adding/,
  )
  assert.deepEqual(complaints(list({ maxItems: 16, items: { type: 'string', maxLength: 63 } })), [])
})

test('many rules within their limit can be too much together', () => {
  const costly = search(4096, 700)
  const properties = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f${i}`, costly]))
  const found = complaints({ type: 'object', properties })
  assert.equal(found.filter(({ message }) => message.includes('contributed to')).length, 12)
  assert.match(found.at(-1)?.message ?? '', /exceeds budget by factor of 1\.1x/)
  assert.equal(found.at(-1)?.field, at)
})

test('the definitions of Istio and of the Gateway API are within both limits', () => {
  for (const gatewayChannel of ['standard', 'experimental'] as const) {
    for (const crd of builtinCrds({ gatewayChannel })) assert.deepEqual(checkRules(crd), [])
  }
})

test('each kind of expression has a bounded cost when its values have', () => {
  const text = { type: 'string', maxLength: 10 }
  const list = { type: 'array', maxItems: 5, items: text }
  const properties = {
    text,
    list,
    map: { type: 'object', maxProperties: 5, additionalProperties: text },
  }
  for (const rule of [
    'self.text.matches("^a+$") ? self.list.size() > 0 : "a" in self.list',
    'self.list.map(a, a + "x").filter(a, a.startsWith("x")).join(",").split(",").size() < 9',
    'self.map.all(k, self.map[k].lowerAscii() == k) || self.list.isSorted()',
    'optional.of(self.text).orValue("") != [self.text, self.list[0]][1] && has(self.text)',
    '{"a": self.text}.exists(k, k.indexOf(self.text) > 0 || isURL(self.text))',
    'self.text.find("a+").replace("a", "b").substring(0) <= self.text',
  ]) {
    const found = complaints({
      type: 'object',
      properties,
      'x-kubernetes-validations': [{ rule, messageExpression: '"is " + self.text' }],
    })
    assert.deepEqual(found, [], rule)
  }
})
