import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  checkFieldSelector,
  isApiError,
  labelSelectorMatches,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  type Requirement,
  type RequirementOperator,
  selectorText,
} from './index.ts'

const messageOf = (action: () => unknown): string => {
  try {
    action()
  } catch (thrown) {
    assert.ok(isApiError(thrown, 'BadRequest'))
    return thrown.message
  }
  return assert.fail('nothing was thrown')
}

test('every operator of a label selector matches as Kubernetes does', () => {
  const labels = { app: 'web', tier: 'front', weight: '5' }
  const cases: [string, boolean][] = [
    ['app=web', true],
    ['app==web,tier!=back', true],
    ['app in (web, api)', true],
    ['app notin (web)', false],
    ['absent notin (x)', true],
    ['absent!=x', true],
    ['app', true],
    ['!absent', true],
    ['!app', false],
    ['weight>4', true],
    ['weight < 5', false],
    ['absent=', false],
    ['app in (web),!canary,tier', true],
    ['in=x', false],
    ['', true],
  ]
  for (const [text, wanted] of cases) {
    assert.equal(matchesLabels(parseLabelSelector(text), labels), wanted, text)
  }
})

test('the empty value can be selected in both forms', () => {
  assert.ok(matchesLabels(parseLabelSelector('a='), { a: '' }))
  assert.ok(matchesLabels(parseLabelSelector('a in (,x)'), { a: '' }))
})

test('a bad selector is answered with the text that kubectl shows', () => {
  assert.match(
    messageOf(() => parseLabelSelector('a in b')),
    /^unable to parse requirement: found 'b' expected: '\('$/,
  )
  assert.match(
    messageOf(() => parseLabelSelector('a=b,')),
    /^found '', expected: identifier after ','$/,
  )
  assert.match(
    messageOf(() => parseLabelSelector('a b')),
    /^unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt$/,
  )
  assert.match(
    messageOf(() => parseLabelSelector('a=b!')),
    /^found '!', expected: ',' or 'end of string'$/,
  )
  assert.match(
    messageOf(() => parseLabelSelector('a in ()')),
    /values: Invalid value: \[\]: for 'in', 'notin' operators, values set can't be empty$/,
  )
  assert.match(
    messageOf(() => parseLabelSelector('a/b/c=d')),
    /^unable to parse requirement: key: Invalid value: "a\/b\/c": a qualified name must/,
  )
})

const name = fc
  .stringMatching(/^[a-z][a-z0-9]{0,4}$/)
  .filter((word) => word !== 'in' && word !== 'notin')
const requirement = fc.oneof(
  fc.record({
    key: name,
    operator: fc.constantFrom<RequirementOperator>('exists', '!'),
    values: fc.constant<string[]>([]),
  }),
  fc.record({
    key: name,
    operator: fc.constantFrom<RequirementOperator>('=', '==', '!='),
    values: fc.tuple(name),
  }),
  fc.record({
    key: name,
    operator: fc.constantFrom<RequirementOperator>('in', 'notin'),
    values: fc.uniqueArray(name, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({
    key: name,
    operator: fc.constantFrom<RequirementOperator>('gt', 'lt'),
    values: fc.tuple(fc.nat(9).map(String)),
  }),
)

test('the text of any selector reads back to a selector that matches the same labels', () => {
  const labels = fc.dictionary(name, fc.oneof(name, fc.nat(9).map(String)), { maxKeys: 4 })
  fc.assert(
    fc.property(fc.array<Requirement>(requirement, { maxLength: 4 }), labels, (selector, of) => {
      const again = parseLabelSelector(selectorText(selector))
      assert.equal(again.length, selector.length)
      assert.equal(matchesLabels(again, of), matchesLabels(selector, of))
    }),
  )
})

test('any text either parses or is a 400, and never anything else', () => {
  const noise = fc.string({ unit: fc.constantFrom(...'ab,=!()<> in/.-1'.split('')), maxLength: 20 })
  fc.assert(
    fc.property(noise, (text) => {
      try {
        parseLabelSelector(text)
      } catch (thrown) {
        assert.ok(isApiError(thrown, 'BadRequest'), String(thrown))
      }
    }),
  )
})

test('an absent LabelSelector matches nothing, an empty one everything', () => {
  assert.equal(labelSelectorMatches(undefined, { a: 'b' }), false)
  assert.equal(labelSelectorMatches({}, { a: 'b' }), true)
  const selector = {
    matchLabels: { a: 'b' },
    matchExpressions: [{ key: 'c', operator: 'NotIn', values: ['d'] }],
  }
  assert.equal(labelSelectorMatches(selector, { a: 'b' }), true)
  assert.equal(labelSelectorMatches(selector, { a: 'b', c: 'd' }), false)
  assert.equal(
    messageOf(() => labelSelectorMatches({ matchExpressions: [{ key: 'a', operator: 'Is' }] }, {})),
    '"Is" is not a valid label selector operator',
  )
})

test('field selectors know =, == and !=, escapes, and which fields may be selected', () => {
  const selector = parseFieldSelector('metadata.name=a,status.phase!=Running,spec.x==1\\,2')
  const fields = { 'metadata.name': 'a', 'status.phase': 'Pending', 'spec.x': '1,2' }
  assert.equal(matchesFields(selector, fields), true)
  assert.equal(matchesFields(selector, { ...fields, 'status.phase': 'Running' }), false)
  assert.equal(matchesFields(parseFieldSelector('spec.nodeName='), {}), true)
  assert.equal(
    messageOf(() =>
      checkFieldSelector(parseFieldSelector('data.x=1'), ['metadata.name', 'metadata.namespace']),
    ),
    '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
  )
  assert.match(
    messageOf(() => parseFieldSelector('nonsense')),
    /^invalid selector: 'nonsense'/,
  )
})
