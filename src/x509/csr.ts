/** PKCS#10 requests: what a node proxy sends and what the authority checks. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { readExtensions, readSans } from './certificate.ts'
import { bitString, DerReader, der, integer, oid, sequence, tags } from './der.ts'
import { refusedCsr } from './errors.ts'
import { sanExtension } from './issue.ts'
import { type KeyPair, sign, signatureAlgorithm } from './keys.ts'
import { limits } from './limits.ts'
import { derToPem, pemToDer } from './pem.ts'

export interface CsrInfo {
  readonly publicKey: KeyObject
  /** What the requester asks for; an authority decides by other means. */
  readonly uriSans: readonly string[]
}

const what = 'the certificate request'
const extensionRequest = '1.2.840.113549.1.9.14'

/** A PEM request with an empty subject and the URIs as critical alternative names. */
export async function createCsr(keys: KeyPair, uris: readonly string[]): Promise<string> {
  const attribute = sequence(
    oid(extensionRequest),
    der(tags.set, sequence(sanExtension({ uris }, true))),
  )
  const info = sequence(
    integer(Buffer.from([0])),
    sequence(),
    keys.publicKey.export({ type: 'spki', format: 'der' }) as Buffer,
    der(0xa0, attribute),
  )
  const signature = await sign(info, keys.privateKey)
  const request = sequence(info, signatureAlgorithm(keys.privateKey), bitString(signature))
  return derToPem(request, 'CERTIFICATE REQUEST')
}

/** Digest by the OID of the signature algorithm; Ed25519 has its own inside. */
const digests: Readonly<
  Record<string, { readonly keyType: string; readonly digest: string | null }>
> = {
  [oid('1.2.840.10045.4.3.2').toString('hex')]: { keyType: 'ec', digest: 'sha256' },
  [oid('1.2.840.10045.4.3.3').toString('hex')]: { keyType: 'ec', digest: 'sha384' },
  [oid('1.2.840.10045.4.3.4').toString('hex')]: { keyType: 'ec', digest: 'sha512' },
  [oid('1.2.840.113549.1.1.11').toString('hex')]: { keyType: 'rsa', digest: 'sha256' },
  [oid('1.2.840.113549.1.1.12').toString('hex')]: { keyType: 'rsa', digest: 'sha384' },
  [oid('1.2.840.113549.1.1.13').toString('hex')]: { keyType: 'rsa', digest: 'sha512' },
  [oid('1.3.101.112').toString('hex')]: { keyType: 'ed25519', digest: null },
}

/** Reads a PEM request and checks that its sender has the private key. Throws a MeshError if not. */
export function parseCsr(pem: string): CsrInfo {
  if (pem.length > limits.csrBytesMax) throw refusedCsr(`it has ${pem.length} characters`)
  const label = pem.includes('NEW CERTIFICATE REQUEST')
    ? 'NEW CERTIFICATE REQUEST'
    : 'CERTIFICATE REQUEST'
  const outer = new DerReader(pemToDer(pem, label), what)
  const request = outer.enter(tags.sequence)
  outer.end()
  const info = request.next(tags.sequence)
  const algorithm = request.enter(tags.sequence).next(tags.oid).whole.toString('hex')
  const signature = request.next(tags.bitString).content
  request.end()

  const fields = new DerReader(info.content, what)
  fields.next(tags.integer)
  fields.next(tags.sequence)
  const publicKey = readPublicKey(fields.next(tags.sequence).whole)
  const attributes = fields.peek() === 0xa0 ? fields.enter(0xa0) : undefined
  fields.end()

  const scheme = digests[algorithm]
  if (scheme === undefined || scheme.keyType !== publicKey.asymmetricKeyType) {
    throw refusedCsr('its signature algorithm is not supported or does not fit its key')
  }
  if (signature[0] !== 0 || !verify(scheme.digest, info.whole, publicKey, signature.subarray(1))) {
    throw refusedCsr('its signature is wrong')
  }
  return { publicKey, uriSans: attributes === undefined ? [] : requestedUris(attributes) }
}

function readPublicKey(spki: Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  } catch {
    throw refusedCsr('its public key can not be read')
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  if (asymmetricKeyType === 'ed25519') return key
  if (asymmetricKeyType === 'ec') {
    const curve = asymmetricKeyDetails?.namedCurve ?? ''
    if (['prime256v1', 'secp384r1', 'secp521r1'].includes(curve)) return key
  }
  if (
    asymmetricKeyType === 'rsa' &&
    (asymmetricKeyDetails?.modulusLength ?? 0) >= limits.rsaBitsMin
  ) {
    return key
  }
  throw refusedCsr(`its key (${asymmetricKeyType}) is too weak or of a kind that is not supported`)
}

function requestedUris(attributes: DerReader): string[] {
  const wanted = oid(extensionRequest)
  while (!attributes.done) {
    const attribute = attributes.enter(tags.sequence)
    if (!attribute.next(tags.oid).whole.equals(wanted)) continue
    const san = readExtensions(attribute.enter(tags.set)).get('551d11')
    return san === undefined ? [] : readSans(san, what).uris
  }
  return []
}
