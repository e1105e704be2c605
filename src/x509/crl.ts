/**
 * Reading certificate revocation lists (RFC 5280, 5): who issued one, until when it counts, and which
 * serial numbers are on it. Whether the issuer's key signed it is a question of its own.
 */
import { type KeyObject, verify } from 'node:crypto'
import { DerReader, readTime, tags } from './der.ts'
import { limits } from './limits.ts'
import { pemToDer } from './pem.ts'

export interface RevocationList {
  /** The issuer's name as it is encoded, for chaining. */
  readonly issuer: Buffer
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number
  /** When the next one is due; undefined when it doesn't say. */
  readonly nextUpdate: number | undefined
  /** Serial numbers as `CertificateInfo.serial` has them. */
  readonly revoked: ReadonlySet<string>
  /** Whether this key signed it. */
  signedBy(key: KeyObject): boolean
}

const what = 'the revocation list'

/** The digest by the OID of the signature algorithm, in hexadecimal; null where the key implies it. */
const digests: Readonly<Record<string, string | null>> = {
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2b6570': null,
}

/** Reads DER or PEM (its first list). Throws a MeshError when it is broken. */
export function parseRevocationList(source: Uint8Array | string): RevocationList {
  const bytes = typeof source === 'string' ? pemToDer(source, 'X509 CRL') : source
  const outer = new DerReader(bytes, what)
  if (bytes.length > limits.crlBytesMax) outer.fail(`it has ${bytes.length} bytes`)
  const list = outer.enter(tags.sequence)
  outer.end()
  const signed = list.next(tags.sequence)
  const algorithm = list.enter(tags.sequence).next(tags.oid).content.toString('hex')
  const signature = list.next(tags.bitString).content.subarray(1)
  list.end()

  const tbs = new DerReader(signed.content, what)
  tbs.optional(tags.integer)
  tbs.next(tags.sequence)
  const issuer = tbs.next(tags.sequence).whole
  const thisUpdate = readTime(tbs.next())
  if (thisUpdate === undefined) return tbs.fail('it has no time of issue')
  const timed = tbs.peek() === tags.utcTime || tbs.peek() === tags.generalizedTime
  const nextUpdate = timed ? readTime(tbs.next()) : undefined
  const entries = tbs.peek() === tags.sequence ? tbs.enter(tags.sequence) : undefined
  const revoked = new Set<string>()
  while (entries !== undefined && !entries.done) {
    const serial = entries.enter(tags.sequence).next(tags.integer).content
    revoked.add(serial.toString('hex').replace(/^0+(?=.)/, ''))
  }
  const digest = Object.hasOwn(digests, algorithm) ? digests[algorithm] : undefined
  return {
    issuer,
    thisUpdate,
    nextUpdate,
    revoked,
    signedBy: (key) =>
      digest !== undefined && verifySafely(digest, signed.whole, { key, signature }),
  }
}

/** A key of another type than the signature's is no reason to fail. */
function verifySafely(
  digest: string | null,
  data: Uint8Array,
  { key, signature }: { readonly key: KeyObject; readonly signature: Uint8Array },
): boolean {
  try {
    return verify(digest, data, key, signature)
  } catch {
    return false
  }
}
