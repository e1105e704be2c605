import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromOpenApi, loadBuiltinSchemas } from '../schema/index.ts'
import { applyServerSide, trackUpdate } from './index.ts'

type Json = Record<string, unknown>

const schemas = loadBuiltinSchemas()
const configMap = schemas.get({ group: '', version: 'v1', kind: 'ConfigMap' })?.node
const deployment = schemas.get({ group: 'apps', version: 'v1', kind: 'Deployment' })?.node

const time = '2026-01-01T00:00:00Z'
const later = '2026-01-02T00:00:00Z'

function apply(live: Json | undefined, config: Json, manager: string, more: object = {}) {
  const base = { schema: configMap, apiVersion: 'v1', time, force: false }
  return applyServerSide({ ...base, live, config, manager, ...more })
}

/** The object after an apply that must go through. */
function applied(live: Json | undefined, config: Json, manager: string, more: object = {}): Json {
  const { object, conflicts } = apply(live, config, manager, more)
  assert.deepEqual(conflicts, [])
  return object
}

const managersOf = (object: Json) => (object['metadata'] as { managedFields: Json[] }).managedFields

const fieldsOf = (object: Json, manager: string) =>
  managersOf(object).find((entry) => entry['manager'] === manager)?.['fieldsV1']

const withoutManagers = (object: Json) => {
  const { managedFields: _managed, ...metadata } = object['metadata'] as Json
  return { ...object, metadata }
}

const cm = (data: Json, metadata: Json = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'a', ...metadata },
  data,
})

test('an apply creates the object and owns the fields that it states, containers not included', () => {
  const object = applied(undefined, cm({ k: 'v' }, { labels: { app: 'x' } }), 'm1')
  assert.deepEqual(withoutManagers(object), cm({ k: 'v' }, { labels: { app: 'x' } }))
  assert.deepEqual(managersOf(object), [
    {
      manager: 'm1',
      operation: 'Apply',
      apiVersion: 'v1',
      time,
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:data': { 'f:k': {} }, 'f:metadata': { 'f:labels': { 'f:app': {} } } },
    },
  ])
})

test('an update owns what it changed, containers included', () => {
  const options = { schema: configMap, apiVersion: 'v1', time, manager: 'kubectl' }
  const created = cm({ k: 'v' })
  const managedFields = trackUpdate({ ...options, live: undefined, object: created })
  assert.deepEqual(managedFields[0]?.['fieldsV1'], { 'f:data': { '.': {}, 'f:k': {} } })
  const live = cm({ k: 'v' }, { managedFields })
  const same = trackUpdate({ ...options, live, object: structuredClone(live), time: later })
  assert.deepEqual(same, managedFields, 'a write that changes nothing moved the time')
  const next = cm({ k: 'w', l: 'x' }, { managedFields })
  const others = trackUpdate({ ...options, live, object: next, manager: 'other', time: later })
  assert.deepEqual(
    others.map((entry) => [entry['manager'], entry['fieldsV1']]),
    [
      ['kubectl', { 'f:data': {} }],
      ['other', { 'f:data': { 'f:k': {}, 'f:l': {} } }],
    ],
  )
})

test('fields that are no longer stated go away, unless someone else owns them', () => {
  const one = applied(undefined, cm({ a: '1', b: '1', c: '1' }), 'm1')
  const two = applied(one, cm({ b: '1' }), 'm2')
  const three = applied(two, cm({ c: '1' }), 'm1')
  assert.deepEqual(three['data'], { b: '1', c: '1' })
  assert.deepEqual(fieldsOf(three, 'm2'), { 'f:data': { 'f:b': {} } })
})

test('changing the field of another is a conflict that names owner and field; force takes it', () => {
  const one = applied(undefined, cm({ k: 'v' }), 'm1')
  const { conflicts } = apply(one, cm({ k: 'w' }), 'm2')
  assert.deepEqual(conflicts, [{ owner: '"m1"', field: '.data.k' }])
  const forced = applied(one, cm({ k: 'w' }), 'm2', { force: true })
  assert.deepEqual(forced['data'], { k: 'w' })
  assert.equal(fieldsOf(forced, 'm1'), undefined)
  const managedFields = trackUpdate({
    live: undefined,
    object: cm({ k: 'v' }),
    manager: 'm1',
    schema: configMap,
    apiVersion: 'v1',
    time,
  })
  const updated = apply(cm({ k: 'v' }, { managedFields }), cm({ k: 'w' }), 'm2')
  assert.deepEqual(updated.conflicts, [{ owner: '"m1" using v1', field: '.data.k' }])
})

test('an object without managers belongs to before-first-apply', () => {
  const { conflicts } = apply(cm({ k: 'v' }), cm({ k: 'w' }), 'm1')
  assert.deepEqual(conflicts, [{ owner: '"before-first-apply" using v1', field: '.data.k' }])
  const shared = applied(cm({ k: 'v' }), cm({ k: 'v' }), 'm1')
  assert.deepEqual(fieldsOf(shared, 'm1'), { 'f:data': { 'f:k': {} } })
})

test('an apply that changes nothing keeps the time, and managedFields may not be applied', () => {
  const one = applied(undefined, cm({ k: 'v' }), 'm1')
  assert.deepEqual(applied(one, cm({ k: 'v' }), 'm1', { time: later }), one)
  assert.throws(
    () => apply(one, cm({}, { managedFields: [{}] }), 'm1'),
    /metadata.managedFields must be nil/,
  )
})

const workload = (containers: Json[], spec: Json = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd' },
  spec: { ...spec, template: { spec: { containers } } },
})

const containersOf = (object: Json) =>
  (object as { spec: { template: { spec: { containers: Json[] } } } }).spec.template.spec.containers

test('lists with keys merge by item: two managers share a container and its ports', () => {
  const more = { schema: deployment, apiVersion: 'apps/v1' }
  const one = applied(
    undefined,
    workload([{ name: 'c', image: 'a', ports: [{ containerPort: 80 }] }]),
    'm1',
    more,
  )
  const two = applied(one, workload([{ name: 'c', env: [{ name: 'X', value: '1' }] }]), 'm2', more)
  assert.deepEqual(containersOf(two), [
    { name: 'c', image: 'a', ports: [{ containerPort: 80 }], env: [{ name: 'X', value: '1' }] },
  ])
  const key = 'k:{"containerPort":80,"protocol":"TCP"}'
  assert.ok(JSON.stringify(fieldsOf(two, 'm1')).includes(JSON.stringify(key)))
  const conflict = apply(two, workload([{ name: 'c', image: 'b' }]), 'm2', more).conflicts
  assert.deepEqual(conflict, [
    { owner: '"m1"', field: '.spec.template.spec.containers[name="c"].image' },
  ])
  const three = applied(two, workload([], { replicas: 2 }), 'm1', more)
  assert.deepEqual(containersOf(three), [{ name: 'c', env: [{ name: 'X', value: '1' }] }])
})

test('items of the configuration come in its order, items of others keep their places', () => {
  const more = { schema: deployment, apiVersion: 'apps/v1' }
  const named = (...names: string[]) => workload(names.map((name) => ({ name })))
  const live = applied(applied(undefined, named('a', 'b', 'c'), 'm1', more), named('x'), 'm2', more)
  const names = containersOf(applied(live, named('c', 'a', 'd'), 'm1', more)).map(
    ({ name }) => name,
  )
  assert.deepEqual(
    names.filter((name) => name !== 'x'),
    ['c', 'a', 'd'],
  )
  assert.ok(names.includes('x'))
})

const random = fromOpenApi({
  type: 'object',
  properties: {
    metadata: { type: 'object' },
    spec: {
      type: 'object',
      properties: {
        s: { type: 'string' },
        m: { type: 'object', additionalProperties: { type: 'string' } },
        am: { type: 'object', 'x-kubernetes-map-type': 'atomic', additionalProperties: {} },
        set: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
        al: { type: 'array', items: { type: 'string' } },
        lm: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['k'],
          items: { type: 'object', properties: { k: { type: 'string' }, v: { type: 'string' } } },
        },
      },
    },
  },
})

const word = fc.constantFrom('a', 'b', 'c')
const map = fc.dictionary(word, word, { maxKeys: 3, noNullPrototype: true })
const spec = fc.record(
  {
    s: word,
    m: map,
    am: map,
    set: fc.uniqueArray(word, { minLength: 1 }),
    al: fc.array(word, { maxLength: 2 }),
    lm: fc.uniqueArray(
      fc.record({ k: word, v: word }, { requiredKeys: ['k'], noNullPrototype: true }),
      { selector: ({ k }) => k, minLength: 1 },
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
)
const wrap = (inner: Json) => ({ metadata: {}, spec: inner })
const more = { schema: random, force: true }

test('any sequence of applies: the last one is in the object, and repeating it changes nothing', () => {
  const step = fc.tuple(fc.constantFrom('m1', 'm2', 'm3'), spec)
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), (steps) => {
      let live: Json | undefined
      for (const [manager, inner] of steps) {
        live = applied(live, wrap(inner), manager, more)
        const again = applied(live, wrap(inner), manager, { ...more, time: later })
        assert.deepEqual(again, live, 'applying the same twice changed something')
        const unforced = apply(live, wrap(inner), manager, { ...more, force: false })
        assert.deepEqual(
          unforced.conflicts,
          [],
          'a manager is in conflict with what it just applied',
        )
        const { s, am, al, m } = inner
        const now = (live as { spec?: Json }).spec ?? {}
        assert.deepEqual([now['s'] ?? s, now['am'] ?? am], [s ?? now['s'], am ?? now['am']])
        if (al !== undefined) assert.deepEqual(now['al'], al)
        for (const [key, value] of Object.entries(m ?? {})) {
          assert.equal((now['m'] as Json)[key], value)
        }
      }
    }),
  )
})

test('when every manager lets go of everything, nothing is left', () => {
  fc.assert(
    fc.property(spec, spec, (one, two) => {
      let live = applied(undefined, wrap(one), 'm1', more)
      live = applied(live, wrap(two), 'm2', more)
      live = applied(live, { metadata: {} }, 'm1', more)
      live = applied(live, { metadata: {} }, 'm2', more)
      assert.deepEqual(Object.keys((live['spec'] as Json | undefined) ?? {}), [])
    }),
  )
})
