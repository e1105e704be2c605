import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Edit, hashKey, PersistentMap } from './persistent-map.ts'

const operations = fc.array(
  fc.record({
    key: fc.integer({ min: 0, max: 60 }).map((value) => `k${value}`),
    value: fc.option(fc.integer(), { nil: undefined }),
  }),
  { maxLength: 200 },
)

test('a persistent map answers like a Map, whatever the history', () => {
  fc.assert(
    fc.property(operations, fc.boolean(), (steps, batched) => {
      const expected = new Map<string, number>()
      const edit = batched ? new Edit() : undefined
      let map = PersistentMap.empty<number>()
      for (const { key, value } of steps) {
        if (value === undefined) expected.delete(key)
        else expected.set(key, value)
        map = value === undefined ? map.delete(key, edit) : map.set(key, value, edit)
        assert.equal(map.size, expected.size)
      }
      assert.deepEqual(new Map(map.entries()), expected)
      for (const [key, value] of expected) assert.equal(map.get(key), value)
    }),
  )
})

test('changing a map leaves every earlier version as it was', () => {
  fc.assert(
    fc.property(operations, operations, (first, second) => {
      let map = PersistentMap.empty<number>()
      const edit = new Edit()
      for (const { key, value } of first) if (value !== undefined) map = map.set(key, value, edit)
      const before = new Map(map.entries())
      const later = new Edit()
      let next = map
      for (const { key, value } of second) {
        next = value === undefined ? next.delete(key, later) : next.set(key, value, later)
      }
      assert.deepEqual(new Map(map.entries()), before)
    }),
  )
})

test('keys whose hashes are equal stay apart', () => {
  // Two texts with one FNV-1a hash, found by search.
  const [left, right] = collidingKeys()
  assert.equal(hashKey(left), hashKey(right))
  const map = PersistentMap.empty<string>().set(left, 'l').set(right, 'r').set('other', 'o')
  assert.equal(map.get(left), 'l')
  assert.equal(map.get(right), 'r')
  assert.equal(map.delete(left).get(left), undefined)
  assert.equal(map.delete(left).get(right), 'r')
  assert.equal(map.delete(left).size, 2)
})

function collidingKeys(): [string, string] {
  const seen = new Map<number, string>()
  for (let index = 0; ; index++) {
    const key = `pod-${index}`
    const hash = hashKey(key)
    const other = seen.get(hash)
    if (other !== undefined) return [other, key]
    seen.set(hash, key)
  }
}
