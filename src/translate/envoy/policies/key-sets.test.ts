import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import test from 'node:test'
import { unusableKeySet, usableKeySet } from './key-sets.ts'

function rsa(bits: number): object {
  return generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ format: 'jwk' })
}

function curve(namedCurve: string): Record<string, unknown> {
  return { ...generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' }) }
}

function set(...keys: readonly unknown[]): string {
  return JSON.stringify({ keys })
}

test('keys of every kind that servers have are usable as they are', () => {
  const edwards = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
  const keys = [rsa(2048), curve('P-256'), curve('P-384'), curve('P-521'), edwards]
  for (const key of keys) assert.equal(usableKeySet(set(key)), set(key), JSON.stringify(key))
})

test('a key that does not fit its curve, its algorithm or its kind is taken out', () => {
  const good = rsa(2048)
  const point = curve('P-256')
  const bad = [
    { ...point, y: point.x },
    { ...point, crv: 'P-384' },
    { ...point, alg: 'RS256' },
    { kty: 'RSA', e: 'AQAB', n: 'abc' },
    { ...good, e: 'Ag' },
    { ...good, alg: 'ES256' },
    { kty: 'OKP', crv: 'Ed25519', x: 'AA' },
    { kty: 'unheard-of' },
    'no key',
    null,
  ]
  for (const key of bad) {
    assert.equal(usableKeySet(set(key)), undefined, JSON.stringify(key))
    assert.deepEqual(JSON.parse(usableKeySet(set(key, good)) ?? ''), { keys: [good] })
  }
})

test('what is no key set is told apart from one', () => {
  for (const text of ['', 'null', '[]', '{}', '{"keys":{}}', '{"keys":[]}', '<html>']) {
    assert.equal(usableKeySet(text), undefined, text)
  }
})

test('the stand-in for a missing key set is a set that proxies take', () => {
  assert.equal(usableKeySet(unusableKeySet), unusableKeySet)
})
