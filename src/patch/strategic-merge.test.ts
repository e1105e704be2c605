import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isApiError } from '../kube/index.ts'
import { loadBuiltinSchemas } from '../schema/index.ts'
import { strategicMergePatch } from './index.ts'

const schemas = loadBuiltinSchemas()
const deployment = schemas.get({ group: 'apps', version: 'v1', kind: 'Deployment' })?.node
const service = schemas.get({ group: '', version: 'v1', kind: 'Service' })?.node
const serviceAccount = schemas.get({ group: '', version: 'v1', kind: 'ServiceAccount' })?.node

type Containers = { name: string; [field: string]: unknown }[]

/** Patches the pod spec of a Deployment and returns the patched pod spec. */
function patchPod(spec: object, patch: object): Record<string, unknown> {
  const wrap = (inner: object) => ({ spec: { template: { spec: inner } } })
  const result = strategicMergePatch(wrap(spec), wrap(patch), deployment)
  return (result as { spec: { template: { spec: Record<string, unknown> } } }).spec.template.spec
}

const names = (list: unknown) => (list as Containers).map(({ name }) => name)

test('containers merge by name and new ones come first, as kubectl users see it', () => {
  const spec = { containers: [{ name: 'web', image: 'nginx' }] }
  const patched = patchPod(spec, { containers: [{ name: 'cache', image: 'redis' }] })
  assert.deepEqual(patched['containers'], [
    { name: 'cache', image: 'redis' },
    { name: 'web', image: 'nginx' },
  ])
  const changed = patchPod(spec, { containers: [{ name: 'web', image: 'nginx:2' }] })
  assert.deepEqual(changed['containers'], [{ name: 'web', image: 'nginx:2' }])
  assert.deepEqual(spec, { containers: [{ name: 'web', image: 'nginx' }] })
})

test('a list without a merge strategy is replaced, as tolerations are', () => {
  const spec = { tolerations: [{ key: 'a', operator: 'Exists' }] }
  const patched = patchPod(spec, { tolerations: [{ key: 'b', operator: 'Exists' }] })
  assert.deepEqual(patched['tolerations'], [{ key: 'b', operator: 'Exists' }])
})

test('$patch: delete removes the element with the same merge key', () => {
  const spec = { containers: [{ name: 'a' }, { name: 'b' }] }
  const patched = patchPod(spec, { containers: [{ name: 'a', $patch: 'delete' }] })
  assert.deepEqual(patched['containers'], [{ name: 'b' }])
})

test('$patch: replace in a list keeps only what the patch has, in a map too', () => {
  const spec = { containers: [{ name: 'a' }, { name: 'b' }], nodeSelector: { x: '1', y: '2' } }
  const patched = patchPod(spec, {
    containers: [{ name: 'c' }, { $patch: 'replace' }],
    nodeSelector: { z: '3', $patch: 'replace' },
  })
  assert.deepEqual(patched, { containers: [{ name: 'c' }], nodeSelector: { z: '3' } })
})

test('$setElementOrder sorts the merged list and keeps elements that only the server has', () => {
  const spec = { containers: [{ name: 'a' }, { name: 'server' }, { name: 'b' }] }
  const patched = patchPod(spec, {
    '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }, { name: 'c' }],
    containers: [{ name: 'c', image: 'new' }],
  })
  assert.deepEqual(new Set(names(patched['containers'])), new Set(['a', 'b', 'c', 'server']))
  const order = names(patched['containers']).filter((name) => name !== 'server')
  assert.deepEqual(order, ['b', 'a', 'c'])
  assert.equal('$setElementOrder/containers' in patched, false)
})

test('an order that contradicts the patch list is refused', () => {
  assert.throws(
    () =>
      patchPod(
        { containers: [] },
        {
          '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }],
          containers: [{ name: 'b' }, { name: 'a' }],
        },
      ),
    (error) =>
      isApiError(error, 'BadRequest') && /spec.template.spec.containers/.test(error.message),
  )
})

test('$deleteFromPrimitiveList takes values out of a set of scalars', () => {
  const target = { metadata: { finalizers: ['a', 'b', 'c'] } }
  const patch = {
    metadata: {
      '$deleteFromPrimitiveList/finalizers': ['b'],
      '$setElementOrder/finalizers': ['c', 'a'],
    },
  }
  const patched = strategicMergePatch(target, patch, serviceAccount)
  assert.deepEqual(patched, { metadata: { finalizers: ['c', 'a'] } })
  const added = strategicMergePatch(
    target,
    { metadata: { finalizers: ['d', 'a'] } },
    serviceAccount,
  )
  assert.deepEqual(
    new Set((added as typeof target).metadata.finalizers),
    new Set(['a', 'b', 'c', 'd']),
  )
})

test('$retainKeys drops the members of a union which the patch does not choose', () => {
  const target = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } }
  const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } }
  assert.deepEqual(strategicMergePatch(target, patch, deployment), {
    spec: { strategy: { type: 'Recreate' } },
  })
  const bad = { spec: { strategy: { $retainKeys: ['rollingUpdate'], type: 'Recreate' } } }
  assert.throws(
    () => strategicMergePatch(target, bad, deployment),
    /"type" is in the patch but not/,
  )
})

test('null removes a field, and nulls of new values are not stored', () => {
  const spec = { nodeSelector: { a: 'b' }, hostNetwork: true }
  const patched = patchPod(spec, { hostNetwork: null, securityContext: { runAsUser: null } })
  assert.deepEqual(patched, { nodeSelector: { a: 'b' }, securityContext: {} })
})

test('Service ports merge by port, container ports by containerPort, volume mounts by mountPath', () => {
  const ports = strategicMergePatch(
    { spec: { ports: [{ port: 80, name: 'http' }] } },
    { spec: { ports: [{ port: 80, targetPort: 8080 }] } },
    service,
  )
  assert.deepEqual(ports, { spec: { ports: [{ port: 80, name: 'http', targetPort: 8080 }] } })
  const patched = patchPod(
    {
      containers: [
        {
          name: 'a',
          ports: [{ containerPort: 1 }],
          volumeMounts: [{ mountPath: '/x', name: 'v' }],
        },
      ],
    },
    {
      containers: [
        {
          name: 'a',
          ports: [{ containerPort: 1, name: 'p' }],
          volumeMounts: [{ mountPath: '/x', name: 'w' }],
        },
      ],
    },
  )
  assert.deepEqual(patched['containers'], [
    {
      name: 'a',
      ports: [{ containerPort: 1, name: 'p' }],
      volumeMounts: [{ mountPath: '/x', name: 'w' }],
    },
  ])
})

test('an element without its merge key is a 422 that names the list', () => {
  assert.throws(
    () => patchPod({ containers: [{ name: 'a' }] }, { containers: [{ image: 'x' }] }),
    (error) =>
      isApiError(error, 'Invalid') &&
      /spec.template.spec.containers: .* does not contain declared merge key: name/.test(
        error.message,
      ),
  )
  assert.throws(() => patchPod({ a: {} }, { a: { $patch: 'swap' } }), /unknown \$patch "swap"/)
})
