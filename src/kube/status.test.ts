import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  alreadyExists,
  applyConflict,
  conflict,
  fieldInvalid,
  fieldNotSupported,
  fieldRequired,
  invalid,
  isApiError,
  namespaceTerminating,
  notFound,
  strictDecoding,
  tooLargeResourceVersion,
} from './index.ts'

const configMap = { group: '', kind: 'configmaps', name: 'a' }

test('a missing object is a 404 that names the resource, with its group', () => {
  assert.deepEqual(notFound({ group: '', kind: 'configmaps', name: 'x' }).status, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'configmaps "x" not found',
    reason: 'NotFound',
    details: { name: 'x', kind: 'configmaps' },
    code: 404,
  })
  assert.equal(
    notFound({ group: 'ex.io', kind: 'foos', name: 'a' }).message,
    'foos.ex.io "a" not found',
  )
})

test('a conflict can be retried and says so in the words that client-go knows', () => {
  const error = conflict(configMap)
  assert.equal(
    error.message,
    'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
  )
  assert.equal(error.status.reason, 'Conflict')
  assert.equal(error.retryable, true)
  assert.equal(isApiError(alreadyExists(configMap), 'AlreadyExists'), true)
})

test('an invalid object lists every field, in brackets only when there are several', () => {
  const subject = { group: 'ex.io', kind: 'Foo', name: 'b' }
  const one = fieldRequired('spec.size')
  const two = fieldNotSupported('spec.color', 'green', ['red', 'blue'])
  assert.equal(
    invalid(subject, [one]).message,
    'Foo.ex.io "b" is invalid: spec.size: Required value',
  )
  const both = invalid(subject, [one, two])
  assert.equal(
    both.message,
    'Foo.ex.io "b" is invalid: [spec.size: Required value, spec.color: Unsupported value: "green": supported values: "red", "blue"]',
  )
  assert.deepEqual(both.status.details?.causes, [one, two])
  assert.equal(both.status.code, 422)
  assert.equal(fieldInvalid('a', 'x', 'no').message, 'Invalid value: "x": no')
})

test('apply conflicts carry a cause for each field, from which kubectl builds its help', () => {
  const single = applyConflict([{ owner: '"m1" using v1', field: '.data.k' }])
  assert.equal(single.message, 'Apply failed with 1 conflict: conflict with "m1" using v1: .data.k')
  assert.deepEqual(single.status.details?.causes, [
    { reason: 'FieldManagerConflict', message: 'conflict with "m1" using v1', field: '.data.k' },
  ])
  const several = applyConflict([
    { owner: '"b"', field: '.data.x' },
    { owner: '"a"', field: '.data.y' },
    { owner: '"b"', field: '.data.z' },
  ])
  assert.equal(
    several.message,
    'Apply failed with 3 conflicts: conflicts with "a":\n- .data.y\nconflicts with "b":\n- .data.x\n- .data.z',
  )
})

test('special refusals have the causes that clients look for', () => {
  const terminating = namespaceTerminating(configMap, 'nd')
  assert.equal(terminating.status.details?.causes?.[0]?.reason, 'NamespaceTerminating')
  assert.equal(
    terminating.message,
    'configmaps "a" is forbidden: unable to create new content in namespace nd because it is being terminated',
  )
  const future = tooLargeResourceVersion('9', '5').status
  assert.equal(future.details?.causes?.[0]?.reason, 'ResourceVersionTooLarge')
  assert.equal(future.details?.retryAfterSeconds, 1)
  assert.equal(
    strictDecoding({ version: 'v1', kind: 'ConfigMap' }, ['unknown field "datax"']).message,
    'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datax"',
  )
})
