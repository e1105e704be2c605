/**
 * JSON Web Tokens: taking them apart, and checking signatures with keys of a JWKS. Pure: `node:crypto` only
 * computes. The texts are those that Envoy answers clients with.
 */
import {
  constants,
  createHmac,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { limits } from '../limits.ts'

export const jwtProblem = {
  missing: 'Jwt is missing',
  expired: 'Jwt is expired',
  notYet: 'Jwt not yet valid',
  form: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  headerBase64: 'Jwt header is an invalid Base64url encoded',
  headerJson: 'Jwt header is an invalid JSON',
  headerAlg: 'Jwt header [alg] field is required and must be a string',
  algUnknown: 'Jwt header [alg] is not supported',
  payloadBase64: 'Jwt payload is an invalid Base64url encoded',
  payloadJson: 'Jwt payload is an invalid JSON',
  issuerType: 'Jwt payload [iss] field is not a string',
  timeType: 'Jwt payload [exp] field is not an integer or not positive',
  signatureBase64: 'Jwt signature is an invalid Base64url encoded',
  issuer: 'Jwt issuer is not configured',
  audience: 'Audiences in Jwt are not allowed',
  signature: 'Jwt verification fails',
  fetch: 'Jwks remote fetch is failed',
  noKeys: "Jwks doesn't have any valid public key",
  noMatchingKey: "Jwks doesn't have key to match kid or alg from Jwt",
} as const

export type JwtProblem = (typeof jwtProblem)[keyof typeof jwtProblem]

export interface Token {
  readonly text: string
  readonly algorithm: string
  readonly keyId: string | undefined
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  /** As it stands in the token. */
  readonly payload: string
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly expires: number | undefined
  readonly notBefore: number | undefined
  readonly signature: Buffer
}

/** One letter alone carries no whole byte. */
function isBase64url(text: string): boolean {
  return text.length % 4 !== 1 && /^[A-Za-z0-9_-]*$/.test(text)
}

export function parseToken(text: string): Token | JwtProblem {
  const parts = text.length > limits.tokenBytes ? [] : text.split('.')
  const [head = '', payload = '', tail = ''] = parts
  if (parts.length !== 3) return jwtProblem.form
  if (!isBase64url(head)) return jwtProblem.headerBase64
  const header = readObject(head)
  if (header === undefined) return jwtProblem.headerJson
  const { alg, kid } = header
  if (typeof alg !== 'string') return jwtProblem.headerAlg
  if (algorithms[alg] === undefined) return jwtProblem.algUnknown
  if (!isBase64url(payload)) return jwtProblem.payloadBase64
  const claims = readObject(payload)
  if (claims === undefined) return jwtProblem.payloadJson
  const { iss = '', aud, exp, nbf } = claims
  if (typeof iss !== 'string') return jwtProblem.issuerType
  for (const time of [exp, nbf]) {
    if (time !== undefined && !(typeof time === 'number' && time >= 0)) return jwtProblem.timeType
  }
  if (!isBase64url(tail)) return jwtProblem.signatureBase64
  return {
    text,
    algorithm: alg,
    keyId: typeof kid === 'string' ? kid : undefined,
    header,
    claims,
    payload,
    issuer: iss,
    audiences: (Array.isArray(aud) ? aud : [aud]).filter((item) => typeof item === 'string'),
    expires: typeof exp === 'number' ? exp : undefined,
    notBefore: typeof nbf === 'number' ? nbf : undefined,
    signature: Buffer.from(tail, 'base64url'),
  }
}

function readObject(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    // Checked in the line above.
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

interface Algorithm {
  readonly keyType: 'RSA' | 'EC' | 'OKP' | 'oct'
  readonly curve?: string
  check(data: Buffer, signature: Buffer, key: KeyObject | Buffer): boolean
}

function rsa(hash: string): Algorithm {
  return {
    keyType: 'RSA',
    check: (data, signature, key) => !Buffer.isBuffer(key) && verify(hash, data, key, signature),
  }
}

function pss(hash: string): Algorithm {
  const padding = constants.RSA_PKCS1_PSS_PADDING
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST
  return {
    keyType: 'RSA',
    check: (data, signature, key) =>
      !Buffer.isBuffer(key) && verify(hash, data, { key, padding, saltLength }, signature),
  }
}

function ecdsa(hash: string, curve: string): Algorithm {
  return {
    keyType: 'EC',
    curve,
    check: (data, signature, key) =>
      !Buffer.isBuffer(key) && verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature),
  }
}

function hmac(hash: string): Algorithm {
  return {
    keyType: 'oct',
    check: (data, signature, key) => {
      if (!Buffer.isBuffer(key)) return false
      const own = createHmac(hash, key).update(data).digest()
      return own.length === signature.length && timingSafeEqual(own, signature)
    },
  }
}

const algorithms: Readonly<Record<string, Algorithm>> = {
  RS256: rsa('sha256'),
  RS384: rsa('sha384'),
  RS512: rsa('sha512'),
  PS256: pss('sha256'),
  PS384: pss('sha384'),
  PS512: pss('sha512'),
  ES256: ecdsa('sha256', 'P-256'),
  ES384: ecdsa('sha384', 'P-384'),
  ES512: ecdsa('sha512', 'P-521'),
  HS256: hmac('sha256'),
  HS384: hmac('sha384'),
  HS512: hmac('sha512'),
  EdDSA: {
    keyType: 'OKP',
    check: (data, signature, key) => !Buffer.isBuffer(key) && verify(null, data, key, signature),
  },
}

interface Key {
  readonly type: string
  readonly id: string | undefined
  readonly algorithm: string | undefined
  readonly curve: string | undefined
  readonly key: KeyObject | Buffer
}

export type KeySet = readonly Key[]

/** Keys that can't be used are left out, as in Envoy; a text that is no JWKS has none. */
export function parseKeySet(text: string): KeySet {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown }
    return Array.isArray(keys) ? keys.flatMap(parseKey) : []
  } catch {
    return []
  }
}

function parseKey(value: unknown): Key[] {
  if (typeof value !== 'object' || value === null) return []
  const jwk = value as JsonWebKey & { kid?: unknown; alg?: unknown }
  const { kty = '', kid, alg, crv, k } = jwk
  try {
    const key =
      kty === 'oct'
        ? Buffer.from(k ?? '', 'base64url')
        : createPublicKey({ key: jwk, format: 'jwk' })
    return [
      {
        type: kty,
        id: typeof kid === 'string' ? kid : undefined,
        algorithm: typeof alg === 'string' ? alg : undefined,
        curve: crv,
        key,
      },
    ]
  } catch {
    return []
  }
}

/** Undefined: the signature is right. */
export function checkSignature(token: Token, keys: KeySet): JwtProblem | undefined {
  if (keys.length === 0) return jwtProblem.noKeys
  const algorithm = algorithms[token.algorithm]
  if (algorithm === undefined) return jwtProblem.algUnknown
  const data = Buffer.from(token.text.slice(0, token.text.lastIndexOf('.')))
  let matched = false
  for (const { type, id, algorithm: only, curve, key } of keys) {
    if (token.keyId !== undefined && id !== undefined && token.keyId !== id) continue
    if (only !== undefined && only !== token.algorithm) continue
    if (type !== algorithm.keyType) continue
    if (algorithm.curve !== undefined && curve !== algorithm.curve) continue
    matched = true
    if (algorithm.check(data, token.signature, key)) return undefined
  }
  return matched ? jwtProblem.signature : jwtProblem.noMatchingKey
}
