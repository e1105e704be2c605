import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GroupVersionKind } from '../kube/index.ts'
import {
  applyDefaults,
  blocksRules,
  builtinCrds,
  decodingFailure,
  hasRules,
  type KindSchema,
  loadBuiltinSchemas,
  prune,
  unknownFields,
  validate,
} from './index.ts'

const registry = loadBuiltinSchemas()
for (const crd of builtinCrds()) registry.addCrd(crd)

function kindOf(gvk: GroupVersionKind): KindSchema {
  const kind = registry.get(gvk)
  assert.ok(kind, `${gvk.kind} has no schema`)
  return kind
}

const foo = { group: 'ex.io', version: 'v1', kind: 'Foo' }

/** A kind with a schema of its own, as a user would bring it. */
function customKind(spec: object): KindSchema {
  const own = loadBuiltinSchemas()
  own.addCrd({
    metadata: { name: 'foos.ex.io' },
    spec: {
      group: 'ex.io',
      names: { plural: 'foos', kind: 'Foo' },
      versions: [
        { name: 'v1', schema: { openAPIV3Schema: { type: 'object', properties: { spec } } } },
      ],
    },
  })
  const kind = own.get(foo)
  assert.ok(kind)
  return kind
}

/** `field: message` of every complaint about a Foo with this spec. */
function complaints(schema: object, spec: unknown): string[] {
  const object = { apiVersion: 'ex.io/v1', kind: 'Foo', metadata: { name: 'a' }, spec }
  return validate(customKind(schema), object).map(({ field, message }) => `${field}: ${message}`)
}

const object = (properties: object, more: object = {}) => ({ type: 'object', properties, ...more })

test('wrong types, missing fields and values outside the enum get the texts of the API', () => {
  const schema = object(
    { replicas: { type: 'integer', minimum: 0 }, color: { type: 'string', enum: ['red', 'blue'] } },
    { required: ['color'] },
  )
  assert.deepEqual(complaints(schema, { replicas: 'x', color: 'green' }), [
    'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
    'spec.color: Unsupported value: "green": supported values: "red", "blue"',
  ])
  assert.deepEqual(complaints(schema, { replicas: -1 }), [
    'spec.color: Required value',
    'spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0',
  ])
  assert.deepEqual(complaints(schema, { color: 'red', replicas: 1 }), [])
})

test('lengths count characters, patterns and item counts are checked', () => {
  const schema = object({
    name: { type: 'string', maxLength: 2, pattern: '^[a-z]*$' },
    list: { type: 'array', maxItems: 1, minItems: 1, items: { type: 'string' } },
    map: { type: 'object', maxProperties: 1, additionalProperties: { type: 'string' } },
  })
  assert.deepEqual(
    complaints(object({ name: { type: 'string', maxLength: 2 } }), { name: '😀😀' }),
    [],
  )
  assert.deepEqual(complaints(schema, { name: 'ABC', list: ['a', 'b'], map: { a: 'x', b: 'y' } }), [
    'spec.name: Too long: may not be more than 2 bytes',
    'spec.list: Too many: 2: must have at most 1 items',
    'spec.map: Too many: 2: must have at most 1 items',
  ])
  assert.deepEqual(complaints(schema, { name: 'AB' }), [
    'spec.name: Invalid value: "AB": spec.name in body should match \'^[a-z]*$\'',
  ])
  assert.deepEqual(complaints(schema, { list: [] }), [
    'spec.list: Invalid value: 0: spec.list in body should have at least 1 items',
  ])
})

test('lists of type set and map must not repeat; absent keys count with their default', () => {
  const ports = {
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['port', 'protocol'],
    items: object({ port: { type: 'integer' }, protocol: { type: 'string', default: 'TCP' } }),
  }
  const names = { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } }
  const schema = object({ ports, names })
  assert.deepEqual(
    complaints(schema, {
      ports: [{ port: 1 }, { port: 1, protocol: 'TCP' }],
      names: ['a', 'b', 'a'],
    }),
    [
      'spec.ports[1]: Duplicate value: map[string]interface {}{"port":1,"protocol":"TCP"}',
      'spec.names[2]: Duplicate value: "a"',
    ],
  )
  assert.deepEqual(complaints(schema, { ports: [{ port: 1 }, { port: 1, protocol: 'UDP' }] }), [])
})

test('oneOf, anyOf, not and int-or-string hold', () => {
  const schema = object(
    { a: { type: 'string' }, b: { type: 'string' }, port: { 'x-kubernetes-int-or-string': true } },
    { oneOf: [{ required: ['a'] }, { required: ['b'] }] },
  )
  assert.deepEqual(complaints(schema, { a: 'x', port: 80 }), [])
  assert.deepEqual(complaints(schema, { b: 'x', port: 'http' }), [])
  assert.deepEqual(complaints(schema, { a: 'x', b: 'y' }), [
    'spec: Invalid value: "object": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives',
  ])
  assert.match(complaints(schema, { a: 'x', port: 1.5 })[0] ?? '', /must be of type integer,string/)
})

test('null is refused in custom kinds unless nullable, and goes away where it may be dropped', () => {
  const schema = object({
    a: { type: 'string' },
    b: { type: 'string', nullable: true },
    c: { type: 'string', default: 'x' },
  })
  assert.equal(complaints(schema, { a: null, b: null }).length, 1)
  const kind = customKind(schema)
  const value = { metadata: { name: 'a' }, spec: { a: null, b: null, c: null } }
  applyDefaults(kind, value)
  assert.deepEqual(value.spec, { b: null, c: 'x' })
  assert.deepEqual(validate(kind, value), [])
})

test('defaults fill nested objects, also those which are defaulted themselves, and are not shared', () => {
  const schema = object({
    inner: object({ size: { type: 'integer', default: 3 } }, { default: {} }),
    list: { type: 'array', items: object({ on: { type: 'boolean', default: true } }) },
  })
  const kind = customKind(schema)
  const one = { spec: { list: [{}] } }
  const two = { spec: {} as { inner?: { size: number } } }
  applyDefaults(kind, one)
  applyDefaults(kind, two)
  assert.deepEqual(one, { spec: { list: [{ on: true }], inner: { size: 3 } } })
  if (two.spec.inner !== undefined) two.spec.inner.size = 9
  const three = { spec: {} }
  applyDefaults(kind, three)
  assert.deepEqual(three, { spec: { inner: { size: 3 } } })
})

test('unknown fields are named with their paths and pruned, but kept where the schema says so', () => {
  const kind = customKind(
    object({
      known: { type: 'string' },
      free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      list: { type: 'array', items: object({ a: { type: 'string' } }) },
      map: { type: 'object', additionalProperties: object({ a: { type: 'string' } }) },
    }),
  )
  const value = {
    apiVersion: 'ex.io/v1',
    kind: 'Foo',
    metadata: { name: 'x', labels: { any: 'thing' }, wrong: 1 },
    extra: true,
    spec: {
      known: 'x',
      junk: 1,
      free: { a: 1 },
      list: [{ a: 'x' }, { foo: 1 }],
      map: { k: { b: 1 } },
    },
  }
  const paths = ['metadata.wrong', 'extra', 'spec.junk', 'spec.list[1].foo', 'spec.map.k.b']
  assert.deepEqual(unknownFields(kind, value), paths)
  assert.deepEqual(prune(kind, value), paths)
  assert.deepEqual(unknownFields(kind, value), [])
  assert.deepEqual(value.spec.free, { a: 1 })
  const pod = kindOf({ group: '', version: 'v1', kind: 'Pod' })
  const found = unknownFields(pod, { spec: { containers: [{ name: 'a', foo: 1 }], junk: 2 } })
  assert.deepEqual(found, ['spec.containers[0].foo', 'spec.junk'])
})

test('built-in kinds take null for absent, and fail to decode on a wrong type with 400', () => {
  const deployment = kindOf({ group: 'apps', version: 'v1', kind: 'Deployment' })
  const value = {
    metadata: { name: 'a', creationTimestamp: null },
    spec: { replicas: 'two', selector: {}, template: {}, strategy: null },
  }
  const errors = validate(deployment, value)
  assert.equal(errors.length, 1)
  const failure = decodingFailure(deployment.gvk, errors)
  assert.equal(failure?.status.code, 400)
  assert.equal(
    failure?.message,
    'Deployment in version "v1" cannot be handled as a Deployment: spec.replicas: spec.replicas in body must be of type integer: "string"',
  )
  const secret = kindOf({ group: '', version: 'v1', kind: 'Secret' })
  assert.match(validate(secret, { data: { a: '%%' } })[0]?.message ?? '', /must be of type byte/)
})

test('quantities and times of built-in kinds become the stored form', () => {
  const pod = kindOf({ group: '', version: 'v1', kind: 'Pod' })
  const value = {
    metadata: { creationTimestamp: '2026-01-31T13:00:00.5+01:00' },
    spec: { containers: [{ resources: { limits: { cpu: 0.5, memory: '1024Mi' } } }] },
  }
  applyDefaults(pod, value)
  assert.deepEqual(value.spec.containers[0]?.resources.limits, { cpu: '500m', memory: '1Gi' })
  assert.equal(value.metadata.creationTimestamp, '2026-01-31T12:00:00Z')
  const lease = kindOf({ group: 'coordination.k8s.io', version: 'v1', kind: 'Lease' })
  const held = { spec: { renewTime: '2026-01-31T12:00:00Z' } }
  applyDefaults(lease, held)
  assert.equal(held.spec.renewTime, '2026-01-31T12:00:00.000000Z')
})

test('Istio and Gateway API kinds refuse what their CRDs refuse, and carry their rules', () => {
  const peer = kindOf({ group: 'security.istio.io', version: 'v1', kind: 'PeerAuthentication' })
  const [error] = validate(peer, { metadata: { name: 'a' }, spec: { mtls: { mode: 'BLAH' } } })
  assert.equal(
    error?.message,
    'Unsupported value: "BLAH": supported values: "UNSET", "DISABLE", "PERMISSIVE", "STRICT"',
  )
  assert.equal(blocksRules(error === undefined ? [] : [error]), true)
  const gateway = kindOf({ group: 'gateway.networking.k8s.io', version: 'v1', kind: 'Gateway' })
  assert.equal(hasRules(gateway.node), true)
  const listener = { name: 'http', port: 80, protocol: 'HTTP' }
  const value = { spec: { gatewayClassName: 'istio', listeners: [listener, listener] } }
  applyDefaults(gateway, value)
  assert.deepEqual((value.spec.listeners[0] as { allowedRoutes?: unknown }).allowedRoutes, {
    namespaces: { from: 'Same' },
  })
  const fields = validate(gateway, value).map(({ field, reason }) => `${field} ${reason}`)
  assert.deepEqual(fields, ['spec.listeners[1] FieldValueDuplicate'])
})

test('the built-in CRDs are complete objects: names, versions, one stored, columns', () => {
  const crds = builtinCrds()
  const names = crds.map(({ metadata }) => metadata.name)
  for (const name of [
    'authorizationpolicies.security.istio.io',
    'virtualservices.networking.istio.io',
    'httproutes.gateway.networking.k8s.io',
    'tcproutes.gateway.networking.k8s.io',
  ]) {
    assert.ok(names.includes(name), name)
  }
  const text = JSON.stringify(crds)
  assert.equal(text.includes('"ref":'), false, 'a reference was not resolved')
  assert.equal(text.includes('"description":"'), false)
  const standard = builtinCrds({ gatewayChannel: 'standard' })
  assert.ok(standard.length < crds.length)
})

test('a removed CRD takes its kinds along, and a changed one replaces them', () => {
  const own = loadBuiltinSchemas()
  const crd = (type: string) => ({
    metadata: { name: 'foos.ex.io' },
    spec: {
      group: 'ex.io',
      names: { plural: 'foos', kind: 'Foo' },
      versions: [
        {
          name: 'v1',
          schema: { openAPIV3Schema: { type: 'object', properties: { a: { type } } } },
        },
      ],
    },
  })
  own.addCrd(crd('string'))
  assert.equal(own.get(foo)?.node.properties?.['a']?.type, 'string')
  own.addCrd(crd('integer'))
  assert.equal(own.get(foo)?.node.properties?.['a']?.type, 'integer')
  own.removeCrd('foos.ex.io')
  assert.equal(own.get(foo), undefined)
})
