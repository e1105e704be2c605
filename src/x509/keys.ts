/** Key pairs, always handed on as PKCS#8 PEM, and signatures as X.509 names them. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign as signCallback,
} from 'node:crypto'
import { promisify } from 'node:util'
import { der, oid, sequence, tags } from './der.ts'
import { malformed } from './errors.ts'

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** PKCS#8 */
  readonly privatePem: string
}

const generate = promisify(generateKeyPair)

/** ECDSA on P-256, made on libuv's pool. */
export async function generateEcKeyPair(): Promise<KeyPair> {
  const { privateKey, publicKey } = await generate('ec', { namedCurve: 'P-256' })
  return pair(privateKey, publicKey)
}

export async function generateRsaKeyPair(bits = 2048): Promise<KeyPair> {
  const { privateKey, publicKey } = await generate('rsa', { modulusLength: bits })
  return pair(privateKey, publicKey)
}

/** Any unencrypted private key in PEM (PKCS#8, PKCS#1, SEC1). */
export function readKeyPair(pem: string): KeyPair {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(pem)
  } catch (error) {
    throw malformed('the private key', error instanceof Error ? error.message : String(error))
  }
  return pair(privateKey, createPublicKey(privateKey))
}

function pair(privateKey: KeyObject, publicKey: KeyObject): KeyPair {
  return {
    privateKey,
    publicKey,
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}

/** The AlgorithmIdentifier with which `sign` signs; SHA-256 except for Ed25519. */
export function signatureAlgorithm(key: KeyObject): Buffer {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return sequence(oid('1.2.840.10045.4.3.2'))
    case 'rsa':
      return sequence(oid('1.2.840.113549.1.1.11'), der(tags.null))
    case 'ed25519':
      return sequence(oid('1.3.101.112'))
    default:
      throw malformed('the private key', `its type ${key.asymmetricKeyType} is not supported`)
  }
}

/** Signs on libuv's pool: an RSA signature would stop the event loop for most of a millisecond. */
export function sign(data: Uint8Array, key: KeyObject): Promise<Buffer> {
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return new Promise((resolve, reject) => {
    signCallback(digest, data, key, (error, signature) =>
      error ? reject(error) : resolve(signature),
    )
  })
}
