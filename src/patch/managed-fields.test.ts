import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadBuiltinSchemas } from '../schema/index.ts'
import { FieldSet, pathText } from './field-set.ts'
import { applyServerSide, managedFieldsOf, trackUpdate } from './index.ts'

type Json = Record<string, unknown>

interface Entry {
  readonly manager: string
  readonly operation: string
  readonly apiVersion: string
  readonly time: string
  readonly fieldsV1: Json
}

const schemas = loadBuiltinSchemas()
const configMap = schemas.get({ group: '', version: 'v1', kind: 'ConfigMap' })?.node
const pod = schemas.get({ group: '', version: 'v1', kind: 'Pod' })?.node
const annotation = 'kubectl.kubernetes.io/last-applied-configuration'
const base = { schema: configMap, apiVersion: 'v1' }
const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}Z`

const map = (data: Json, metadata: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'a', ...metadata },
  data,
})

const entriesOf = (object: Json): Entry[] =>
  (object['metadata'] as { managedFields?: Entry[] }).managedFields ?? []

/** The object after an update by a manager. */
function updated(live: Json | undefined, next: Json, manager: string, more: Json = {}): Json {
  const options = { ...base, live, object: next, manager, time: at(0), ...more }
  const metadata = { ...(next['metadata'] as Json), managedFields: trackUpdate(options) }
  return { ...next, metadata }
}

test('structures that every object has are owned by nobody, what is in them is', () => {
  const spec = { containers: [{ name: 'c', image: 'i' }], nodeSelector: { a: 'b' } }
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', generateName: 'p-' },
    spec,
  }
  const [entry] = entriesOf(
    updated(undefined, object, 'm', {
      schema: pod,
      implied: ['spec', 'spec.containers', 'status'],
    }),
  )
  assert.deepEqual(entry?.fieldsV1, {
    'f:metadata': { 'f:generateName': {} },
    'f:spec': {
      'f:containers': { 'k:{"name":"c"}': { '.': {}, 'f:image': {}, 'f:name': {} } },
      'f:nodeSelector': {},
    },
  })
})

test('an update tracks nothing on an object that nobody tracks, an apply begins with all of it', () => {
  const live = map({ a: '1' })
  assert.deepEqual(
    trackUpdate({ ...base, live, object: map({ a: '2' }), manager: 'm', time: at(0) }),
    [],
  )
  const { object } = applyServerSide({
    ...base,
    live,
    config: map({ b: '1' }),
    manager: 'm',
    force: false,
    time: at(1),
  })
  assert.deepEqual(
    entriesOf(object).map(({ manager, fieldsV1 }) => [manager, fieldsV1]),
    [
      ['m', { 'f:data': { 'f:b': {} } }],
      ['before-first-apply', { 'f:data': { '.': {}, 'f:a': {} } }],
    ],
  )
})

test('the time of a manager moves when it takes fields, not when it loses or removes some', () => {
  const one = updated(undefined, map({ a: '1', b: '1' }), 'm1')
  const two = updated(one, map({ a: '2', b: '1' }), 'm2', { time: at(1) })
  const three = updated(two, map({ a: '2' }), 'm1', { time: at(2) })
  assert.deepEqual(
    entriesOf(three).map(({ manager, time, fieldsV1 }) => [manager, time, fieldsV1]),
    [
      ['m1', at(0), { 'f:data': {} }],
      ['m2', at(1), { 'f:data': { 'f:a': {} } }],
    ],
  )
})

test('the oldest updaters become one when there are more than ten, applies stay', () => {
  let live: Json | undefined = applyServerSide({
    ...base,
    live: undefined,
    config: map({ applied: '1' }),
    manager: 'applier',
    force: false,
    time: at(0),
  }).object
  const data: Json = { applied: '1' }
  for (let i = 1; i <= 14; i++) {
    data[`k${i}`] = '1'
    live = updated(live, map({ ...data }), `m${i}`, { time: at(i) })
  }
  const entries = entriesOf(live ?? {})
  const updaters = entries.filter(({ operation }) => operation === 'Update')
  assert.deepEqual(
    updaters.map(({ manager }) => manager),
    ['ancient-changes', 'm6', 'm7', 'm8', 'm9', 'm10', 'm11', 'm12', 'm13', 'm14'],
  )
  assert.deepEqual(Object.keys(updaters[0]?.fieldsV1['f:data'] as Json), [
    'f:k1',
    'f:k2',
    'f:k3',
    'f:k4',
    'f:k5',
  ])
  assert.equal(entries[0]?.manager, 'applier')
})

test('managedFields from a client count when they are whole; one empty entry forgets them', () => {
  const present = [{ manager: 'present' }]
  const good = [{ manager: 'm', operation: 'Update', apiVersion: 'v1', fieldsV1: { 'f:data': {} } }]
  assert.equal(managedFieldsOf(good, present), good)
  assert.equal(managedFieldsOf([{}], present), undefined)
  for (const bad of [
    undefined,
    null,
    [],
    'x',
    [{ ...good[0], operation: 'Delete' }],
    [{ ...good[0], fieldsV1: { data: {} } }],
    [{ ...good[0], fieldsV1: { 'f:data': { 'k:nonsense': {} } } }],
    [good[0], {}],
  ]) {
    assert.equal(managedFieldsOf(bad, present), present, JSON.stringify(bad))
  }
})

const taking = (live: Json, config: Json, manager = 'kubectl') =>
  applyServerSide({ ...base, live, config, manager, force: false, time: at(9) })

const clientSide = (data: Json, applied = data): Json => {
  const text = `${JSON.stringify(map(applied, { annotations: {} }))}\n`
  return updated(
    undefined,
    map(data, { annotations: { [annotation]: text } }),
    'kubectl-client-side-apply',
  )
}

test('kubectl takes over what it applied client-side, and the annotation follows', () => {
  const live = clientSide({ a: '1', b: '1' })
  const { object, conflicts } = taking(live, map({ a: '2' }))
  assert.deepEqual(conflicts, [])
  assert.deepEqual(object['data'], { a: '2', b: '1' })
  const { annotations } = object['metadata'] as { annotations: Record<string, string> }
  assert.equal(
    annotations[annotation],
    '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"a"}}\n',
  )
  assert.equal(taking(live, map({ a: '2' }), 'other').conflicts.length, 1)
})

test('what was changed since the client-side apply is a conflict even for kubectl', () => {
  const live = clientSide({ a: '1', b: '1' })
  const edited = updated(live, { ...live, data: { a: '5', b: '1' } }, 'editor', { time: at(1) })
  const { conflicts } = taking(edited, map({ a: '2', b: '2' }))
  assert.deepEqual(conflicts, [{ owner: '"editor" using v1', field: '.data.a' }])
  for (const text of ['not JSON', '[]', '{"apiVersion":"v2","data":{"a":"1"}}']) {
    const { metadata, ...rest } = live
    const annotations = { [annotation]: text }
    const broken = { ...rest, metadata: { ...(metadata as Json), annotations } }
    assert.equal(taking(broken, map({ a: '2' })).conflicts.length, 1, text)
  }
})

test('a configuration with two items of one key is told so, and a live list keeps what it has', () => {
  const podOf = (containers: Json[]): Json => ({ metadata: { name: 'p' }, spec: { containers } })
  const options = { schema: pod, apiVersion: 'v1', manager: 'm', force: false, time: at(0) }
  const env = [
    { name: 'A', value: '1' },
    { name: 'A', value: '2' },
  ]
  const twice = podOf([{ name: 'c', env }])
  const { repeated } = applyServerSide({ ...options, live: undefined, config: twice })
  assert.deepEqual(repeated, [{ path: '.spec.containers[name="c"].env', key: '[name="A"]' }])
  const applied = applyServerSide({
    ...options,
    live: twice,
    config: podOf([{ name: 'c', image: 'i' }]),
  })
  assert.deepEqual((applied.object['spec'] as { containers: Json[] }).containers, [
    { name: 'c', env, image: 'i' },
  ])
})

test('conflicts are listed as fields first, then what is below them', () => {
  const set = FieldSet.decode({
    'f:b': { 'f:x': {}, '.': {} },
    'f:a': { 'k:{"name":"n"}': { 'f:y': {} }, 'v:1': {} },
    'f:c': {},
  })
  assert.deepEqual([...(set?.paths() ?? [])].map(pathText), [
    '.b',
    '.c',
    '.a[=1]',
    '.a[name="n"].y',
    '.b.x',
  ])
})

const word = fc.constantFrom('f:a', 'f:b', 'k:{"n":"a"}', 'v:1')
const tree: fc.Arbitrary<Json> = fc.letrec((tie) => ({
  tree: fc.dictionary(
    fc.oneof(word, fc.constant('.')),
    fc.oneof({ maxDepth: 3 }, fc.constant({}), tie('tree')),
    {
      maxKeys: 3,
      noNullPrototype: true,
    },
  ),
})).tree as fc.Arbitrary<Json>

const setOf = (fields: Json): FieldSet => {
  const set = FieldSet.decode(fields)
  assert.ok(set)
  return set
}

test('what a client wrote out of order or twice over is written in the one form', () => {
  const odd = { 'f:b': { '.': {} }, 'f:a': { 'f:z': {}, '.': {}, 'f:y': {} }, '.': {} }
  const text = '{"f:a":{".":{},"f:y":{},"f:z":{}},"f:b":{}}'
  assert.equal(JSON.stringify(setOf(odd).encode()), text)
  const good = JSON.parse(text) as Json
  assert.equal(setOf(good).encode(), good, 'what is in form already is not written anew')
})

test('sets are sets: union, difference and intersection fit together, and texts round-trip', () => {
  fc.assert(
    fc.property(tree, tree, (left, right) => {
      const [a, b] = [setOf(left), setOf(right)]
      const same = (one: FieldSet, other: FieldSet): void =>
        assert.deepEqual(one.encode(), other.encode())
      same(a.union(b), b.union(a))
      same(a.difference(b).union(a.intersection(b)), a)
      same(a.union(b).difference(b), a.difference(b))
      same(a.intersection(b), a.difference(a.difference(b)))
      assert.ok(a.difference(a).empty)
      assert.equal(a.union(b).equals(a), b.difference(a).empty)
      same(setOf(a.encode()), a)
      assert.equal([...a.paths()].length, new Set([...a.paths()].map((path) => path.join())).size)
    }),
  )
})
