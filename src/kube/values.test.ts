import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  compareVersions,
  formatMicroTime,
  formatTime,
  generatedName,
  humanDuration,
  normaliseQuantity,
  parseApiVersion,
  parseTime,
  quantityToNumber,
  resourcePath,
  resources,
  validateDns1035Label,
  validateDnsLabel,
  validateDnsSubdomain,
  validateLabelValue,
  validatePortName,
  validateQualifiedName,
  withCondition,
} from './index.ts'

test('quantities become the text that Kubernetes stores', () => {
  const cases: [string | number, string][] = [
    ['0.5', '500m'],
    ['1024Mi', '1Gi'],
    ['1.5Gi', '1536Mi'],
    ['0.5Ki', '512'],
    ['0.5Mi', '512Ki'],
    ['1000k', '1M'],
    ['1000m', '1'],
    ['0', '0'],
    ['-0.25', '-250m'],
    ['12e3', '12e3'],
    ['1e6', '1e6'],
    ['0.1n', '1n'],
    [2, '2'],
    ['100u', '100u'],
  ]
  for (const [given, wanted] of cases) assert.equal(normaliseQuantity(given), wanted, String(given))
  assert.throws(() => normaliseQuantity('1.2.3'), /quantities must match/)
  assert.throws(() => normaliseQuantity('1ki'), /quantities must match/)
  assert.throws(() => normaliseQuantity(''), /quantities must match/)
})

test('normalising a quantity keeps its value and is idempotent', () => {
  const suffix = fc.constantFrom('', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi')
  fc.assert(
    fc.property(fc.integer({ min: -100_000, max: 100_000 }), suffix, (value, unit) => {
      const text = normaliseQuantity(`${value}${unit}`)
      assert.equal(normaliseQuantity(text), text)
      assert.equal(quantityToNumber(text), quantityToNumber(`${value}${unit}`))
    }),
  )
})

test('times are written as seconds, micro times with six digits, and read with any offset', () => {
  const ms = Date.UTC(2026, 0, 31, 12, 0, 5, 78)
  assert.equal(formatTime(ms), '2026-01-31T12:00:05Z')
  assert.equal(formatMicroTime(ms), '2026-01-31T12:00:05.078000Z')
  assert.equal(parseTime('2026-01-31T13:00:05.078+01:00'), ms)
  assert.equal(parseTime('yesterday'), undefined)
})

test('ages look as kubectl prints them', () => {
  const cases: [number, string][] = [
    [45, '45s'],
    [119, '119s'],
    [192, '3m12s'],
    [3600, '60m'],
    [5 * 3600, '5h'],
    [50 * 3600, '2d2h'],
    [12 * 86400, '12d'],
    [800 * 86400, '2y70d'],
  ]
  for (const [seconds, wanted] of cases) assert.equal(humanDuration(seconds * 1000), wanted)
})

test('names are judged by the rule of their kind', () => {
  assert.deepEqual(validateDnsLabel('my-name'), [])
  assert.match(validateDnsLabel('My_name')[0] ?? '', /^a lowercase RFC 1123 label must consist/)
  assert.equal(validateDnsLabel('a'.repeat(64))[0], 'must be no more than 63 bytes')
  assert.deepEqual(validateDnsSubdomain('a.b-c.9'), [])
  assert.equal(validateDnsSubdomain('a..b').length, 1)
  assert.equal(validateDns1035Label('9a').length, 1)
  assert.deepEqual(validateQualifiedName('istio.io/dataplane-mode'), [])
  assert.equal(validateQualifiedName('/x')[0], 'prefix part must be non-empty')
  assert.equal(validateQualifiedName('a/b/c').length, 1)
  assert.deepEqual(validateLabelValue(''), [])
  assert.equal(validateLabelValue('-x').length, 1)
  assert.deepEqual(validatePortName('http-web'), [])
  assert.equal(validatePortName('http--x')[0], 'must not contain consecutive hyphens')
  assert.equal(validatePortName('8080')[0], 'must contain at least one letter (a-z)')
})

test('generated names are the base and five characters, and always fit a label', () => {
  const random = (below: number) => below - 1
  assert.equal(generatedName('web-', random), 'web-99999')
  assert.equal(generatedName('x'.repeat(80), random).length, 63)
})

test('versions are ordered as discovery prefers them', () => {
  const versions = ['v1alpha1', 'v1', 'v2', 'foo', 'v1beta2', 'v1beta1', 'v10']
  assert.deepEqual(versions.sort(compareVersions), [
    'v10',
    'v2',
    'v1',
    'v1beta2',
    'v1beta1',
    'v1alpha1',
    'foo',
  ])
})

test('API versions and resource paths tell the core group from the others', () => {
  assert.deepEqual(parseApiVersion('v1'), { group: '', version: 'v1' })
  assert.deepEqual(parseApiVersion('apps/v1'), { group: 'apps', version: 'v1' })
  assert.equal(resourcePath(resources.pods, 'a', 'b'), '/api/v1/namespaces/a/pods/b')
  assert.equal(resourcePath(resources.deployments), '/apis/apps/v1/deployments')
})

test('the transition time of a condition moves only when its status does', () => {
  const first = withCondition(undefined, { type: 'Ready', status: 'False' }, 't1')
  const reasoned = withCondition(first, { type: 'Ready', status: 'False', reason: 'R' }, 't2')
  assert.deepEqual(reasoned, [
    { type: 'Ready', status: 'False', reason: 'R', lastTransitionTime: 't1' },
  ])
  assert.equal(
    withCondition(reasoned, { type: 'Ready', status: 'False', reason: 'R' }, 't3'),
    reasoned,
  )
  const ready = withCondition(reasoned, { type: 'Ready', status: 'True' }, 't4')
  assert.equal(ready[0]?.lastTransitionTime, 't4')
})
