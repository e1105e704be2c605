import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { metadataSpan } from './slices.ts'

test('what is cut out of any stored object is its metadata, with and without managedFields', () => {
  const key = fc.oneof(
    fc.string(),
    fc.constantFrom('managedFields', 'spec', 'metadata', '}', '"', '\\'),
  )
  const value = fc.jsonValue({ maxDepth: 3 })
  const labels = fc.dictionary(key, fc.oneof(fc.string({ unit: 'grapheme' }), value))
  const managed = fc.option(fc.array(fc.dictionary(key, value)), { nil: undefined })
  fc.assert(
    fc.property(labels, labels, managed, fc.boolean(), (before, rest, managedFields, first) => {
      const { managedFields: _own, ...others } = before
      const own = managedFields === undefined ? {} : { managedFields }
      const metadata = first
        ? { ...own, labels: rest, ...others }
        : { labels: rest, ...others, ...own }
      const bytes = Buffer.from(
        JSON.stringify({ kind: 'K', apiVersion: 'v1', metadata, spec: rest }),
      )
      const { start, end, managedStart, managedEnd } = metadataSpan(bytes)
      const plain = (given: unknown): unknown => JSON.parse(JSON.stringify(given))
      assert.deepEqual(JSON.parse(bytes.toString('utf8', start, end)), plain(metadata))
      const without = Buffer.concat([bytes.subarray(0, managedStart), bytes.subarray(managedEnd)])
      const stripped = { labels: rest, ...others }
      assert.deepEqual(JSON.parse(without.toString()).metadata, plain(stripped))
    }),
    { numRuns: 500 },
  )
})

test('bytes that are no stored object are refused', () => {
  assert.throws(
    () => metadataSpan(Buffer.from('{"kind":"K","metadata":{"name":"x"')),
    /no whole metadata/,
  )
})
