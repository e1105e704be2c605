import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { findVirtualHost, normalizePath } from './match.ts'
import type { RouteTable, VirtualHost } from './types.ts'

const host = (name: string): VirtualHost => ({ name, routes: [], includeAttemptCount: false })
const table: RouteTable = {
  name: 't',
  ignorePort: true,
  exact: new Map([['shop.test', host('exact')]]),
  suffixes: [
    { text: '.eu.shop.test', host: host('long suffix') },
    { text: '.shop.test', host: host('suffix') },
  ],
  prefixes: [{ text: 'shop.', host: host('prefix') }],
  any: host('any'),
}

test('the most specific virtual host serves an authority', () => {
  const cases: Record<string, string> = {
    'shop.test': 'exact',
    'SHOP.test:8080': 'exact',
    'a.shop.test': 'suffix',
    'b.a.shop.test': 'suffix',
    'a.eu.shop.test': 'long suffix',
    '.shop.test': 'any',
    'shop.example': 'prefix',
    'shop.': 'any',
    'other.test': 'any',
    '[::1]:80': 'any',
  }
  for (const [authority, expected] of Object.entries(cases)) {
    assert.equal(findVirtualHost(table, authority)?.name, expected, authority)
  }
})

test('a normalized path has no dot segments, and normalizing again changes nothing', () => {
  const segment = fc.constantFrom('a', 'b.c', '.', '..', '%2e', '%2E%2e', '', 'x\\..\\y', '...')
  const path = fc.array(segment, { maxLength: 8 }).map((parts) => `/${parts.join('/')}`)
  fc.assert(
    fc.property(path, (text) => {
      const normal = normalizePath(text)
      if (normal === undefined) return
      assert.ok(normal.startsWith('/'))
      assert.ok(!normal.split('/').some((part) => part === '.' || part === '..'), normal)
      assert.equal(normalizePath(normal), normal)
    }),
  )
})

test('a path that leads above the root is no path', () => {
  for (const path of ['/..', '/a/../..', '/%2e%2e/x', 'x', '*']) {
    assert.equal(normalizePath(path), undefined, path)
  }
  assert.equal(normalizePath('/a/./b/../c'), '/a/c')
  assert.equal(normalizePath('/a/..'), '/')
  assert.equal(normalizePath('/a/b/.'), '/a/b/')
})
