/**
 * Key sets (JWKS) before they go to a proxy. Envoy refuses a whole listener for a set without a single
 * key it can use, and sets come from servers on the Internet: what Envoy would skip is taken out here,
 * and where nothing is left a key to which nobody has the private part takes its place.
 */

/** The set with the keys that Envoy can use; undefined when it has none, or is no set at all. */
export function usableKeySet(text: string): string | undefined {
  const keys = keysOf(text)
  const usable = keys.filter((key) => isKey(key) && isUsable(key))
  if (usable.length === 0) return undefined
  return usable.length === keys.length ? text : JSON.stringify({ keys: usable })
}

type Key = Readonly<Record<string, unknown>>

function keysOf(text: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== 'object' || parsed === null || !('keys' in parsed)) return []
    return Array.isArray(parsed.keys) ? parsed.keys : []
  } catch {
    return []
  }
}

function isKey(key: unknown): key is Key {
  return typeof key === 'object' && key !== null && !Array.isArray(key)
}

function isUsable(key: Key): boolean {
  const { kty, alg } = key
  const algorithm = typeof alg === 'string' ? alg : ''
  if (kty === 'RSA') return /^([RP]S.*)?$/.test(algorithm) && isRsa(key)
  if (kty === 'EC') return isOnCurve(key, algorithm)
  if (kty === 'OKP') {
    const fits = key.crv === 'Ed25519' && (algorithm === '' || algorithm === 'EdDSA')
    return fits && bytesOf(key.x)?.length === ed25519Bytes
  }
  return kty === 'oct' && /^(HS.*)?$/.test(algorithm) && (bytesOf(key.k)?.length ?? 0) > 0
}

const ed25519Bytes = 32
/** What BoringSSL takes, and nobody signs with less. */
const rsaBytes = { least: 64, most: 2048 }

function isRsa({ n, e }: Key): boolean {
  const modulus = bytesOf(n)
  const exponent = numberOf(e)
  if (modulus === undefined || exponent === undefined) return false
  const { length } = modulus
  const isOdd = ((modulus.at(-1) ?? 0) & 1) === 1
  return (
    length >= rsaBytes.least &&
    length <= rsaBytes.most &&
    isOdd &&
    exponent > 1n &&
    exponent % 2n === 1n &&
    exponent < 1n << 33n
  )
}

interface Curve {
  readonly algorithm: string
  readonly p: bigint
  readonly b: bigint
}

function hex(...parts: readonly string[]): bigint {
  return BigInt(`0x${parts.join('')}`)
}

/** NIST's curves, y² = x³ - 3x + b modulo p (SP 800-186). */
const curves: Readonly<Record<string, Curve>> = {
  'P-256': {
    algorithm: 'ES256',
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: hex('5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b'),
  },
  'P-384': {
    algorithm: 'ES384',
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: hex(
      'b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875a',
      'c656398d8a2ed19d2a85c8edd3ec2aef',
    ),
  },
  'P-521': {
    algorithm: 'ES512',
    p: 2n ** 521n - 1n,
    b: hex(
      '51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109',
      'e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f',
      '00',
    ),
  },
}

function isOnCurve({ crv, x, y }: Key, algorithm: string): boolean {
  const curve = typeof crv === 'string' ? curves[crv] : undefined
  const [u, v] = [numberOf(x), numberOf(y)]
  if (curve === undefined || u === undefined || v === undefined) return false
  const { p, b } = curve
  const fits = algorithm === '' || algorithm === curve.algorithm
  return fits && u < p && v < p && (v * v - (u * u * u - 3n * u + b)) % p === 0n
}

function numberOf(text: unknown): bigint | undefined {
  const bytes = bytesOf(text)
  if (bytes === undefined || bytes.length === 0) return undefined
  return BigInt(`0x${bytes.toString('hex')}`)
}

/** Base64url. */
function bytesOf(text: unknown): Buffer | undefined {
  if (typeof text !== 'string' || !/^[\w-]+={0,2}$/.test(text)) return undefined
  return Buffer.from(text, 'base64url')
}

/** SHA-256 of `weft no key 0` to `weft no key 7`, first and last bit set: nobody knows its factors. */
const unusableModulus = [
  'h8fKiJY5teUm5MBPZBA5BNFmgDVsnquLOL8PnkRMijFBt3FT7wJmZcHJsdpEqKkbpUEyKhL6MbtN',
  'PS7KtJCmWHrYJL_7rNgx49Pnwah6SWlYuo5oLPrMVCaxJfiyFDzkiU3XaQL5evhhpD_Ty2sk02pw',
  'GzCgeHcq_NzYJQkbtslPCdEnLfU40_R-wmBvkdxgC9_c2n_oj3EKV9kJ3PPHPJI3hh-MdX8PZYD4',
  'bPF3H_wtogp-bTJJVsNsucPeuQreEdTGUXSY6WZay-yrrItJYCsnqabQUQ7mEjk3qpCHpfRc1ymV',
  '8E4kAMqOvrmic41gQDfjAI7H-zoIm9pvjqFb9Q',
].join('')

/** Stands for a key set that could not be had: a token that claims it is refused. */
export const unusableKeySet = JSON.stringify({
  keys: [
    { kty: 'RSA', alg: 'RS256', use: 'sig', kid: 'unavailable', e: 'AQAB', n: unusableModulus },
  ],
})
