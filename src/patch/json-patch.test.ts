import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { applyPatch, createPatch } from 'rfc6902'
import { isApiError } from '../kube/index.ts'
import { jsonPatch, mergePatch } from './index.ts'

const key = fc.constantFrom('a', 'b', 'c/d', 'e~f', '')
const { json } = fc.letrec<{ json: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('x', 'y', true, null)),
  json: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    tie('leaf'),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(key, tie('json'), { maxKeys: 4, noNullPrototype: true }),
  ),
}))
const document = fc.dictionary(key, json, { maxKeys: 4, noNullPrototype: true })

test('a patch made by the oracle turns one document into the other', () => {
  fc.assert(
    fc.property(document, document, (from, to) => {
      const before = structuredClone(from)
      assert.deepEqual(jsonPatch(from, createPatch(from, to)), to)
      assert.deepEqual(from, before, 'the target was changed')
    }),
  )
})

/** A pointer that often exists: walks some way into a document. */
function pointerInto(value: unknown, choices: readonly number[]): string {
  let path = ''
  let at = value
  for (const choice of choices) {
    if (typeof at !== 'object' || at === null) break
    const keys = [...Object.keys(at), Array.isArray(at) ? '-' : 'new']
    const name = keys[choice % keys.length] ?? ''
    path += `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    at = (at as Record<string, unknown>)[name]
  }
  return path
}

test('random operations give the same document, or fail, as the oracle', () => {
  const steps = fc.array(fc.nat(9), { minLength: 1, maxLength: 3 })
  const op = fc.constantFrom('add', 'remove', 'replace', 'test', 'copy', 'move')
  fc.assert(
    fc.property(
      document,
      op,
      steps,
      steps,
      fc.constantFrom(1, 'x', true),
      (doc, name, to, from, value) => {
        const operation = {
          op: name,
          path: pointerInto(doc, to),
          from: pointerInto(doc, from),
          value,
        }
        // The oracle takes '-' where no element is meant, and moves values into themselves.
        fc.pre(!operation.from.endsWith('-') && (name === 'add' || !operation.path.endsWith('-')))
        fc.pre(name !== 'move' || !`${operation.path}/`.startsWith(`${operation.from}/`))
        const theirs: unknown = structuredClone(doc)
        const [error] = applyPatch(theirs, [operation as Parameters<typeof applyPatch>[1][number]])
        let ours: unknown
        try {
          ours = jsonPatch(doc, [operation])
        } catch (thrown) {
          assert.ok(isApiError(thrown), String(thrown))
          assert.notEqual(error, null, `the oracle applies ${JSON.stringify(operation)}`)
          return
        }
        assert.equal(error, null, `the oracle refuses ${JSON.stringify(operation)}`)
        assert.deepEqual(ours, theirs)
      },
    ),
    { numRuns: 300 },
  )
})

test('what cannot be applied is a 422 that names the operation, what is no patch a 400', () => {
  const codeOf = (operations: unknown): [number, string] => {
    try {
      jsonPatch({ a: [1] }, operations)
    } catch (thrown) {
      assert.ok(isApiError(thrown))
      return [thrown.status.code, thrown.message]
    }
    return assert.fail('nothing was thrown')
  }
  assert.deepEqual(codeOf([{ op: 'test', path: '/a', value: 2 }]), [
    422,
    `the JSON patch can't be applied: test "/a": the value differs`,
  ])
  assert.equal(codeOf([{ op: 'remove', path: '/b' }])[0], 422)
  assert.equal(codeOf([{ op: 'add', path: '/a/2', value: 1 }])[0], 422)
  assert.equal(codeOf([{ op: 'add', path: '/b/c', value: 1 }])[0], 422)
  assert.equal(codeOf([{ op: 'remove', path: '' }])[0], 422)
  assert.equal(codeOf({})[0], 400)
  assert.equal(codeOf([{ op: 'jump', path: '/a' }])[0], 400)
  assert.equal(codeOf([{ op: 'add', path: '/a' }])[0], 400)
  assert.equal(codeOf([{ op: 'add', path: 'a', value: 1 }])[0], 400)
  assert.equal(codeOf(Array(10_001).fill({ op: 'remove', path: '/a' }))[0], 413)
})

test('a key named __proto__ is data', () => {
  const patched = jsonPatch({}, [{ op: 'add', path: '/__proto__', value: { admin: true } }])
  assert.equal((patched as { admin?: boolean }).admin, undefined)
  assert.equal(JSON.stringify(patched), '{"__proto__":{"admin":true}}')
  const merged = mergePatch({}, JSON.parse('{"__proto__":{"admin":true}}'))
  assert.equal((merged as { admin?: boolean }).admin, undefined)
})

test('merge patch follows the examples of RFC 7386', () => {
  const cases: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ]
  for (const [target, patch, wanted] of cases) assert.deepEqual(mergePatch(target, patch), wanted)
})

test('applying a merge patch twice changes nothing more, and its nulls are gone', () => {
  fc.assert(
    fc.property(document, document, (target, patch) => {
      const once = mergePatch(target, patch) as Record<string, unknown>
      assert.deepEqual(mergePatch(once, patch), once)
      for (const [name, value] of Object.entries(patch)) {
        assert.equal(Object.hasOwn(once, name), value !== null, name)
      }
    }),
  )
})
