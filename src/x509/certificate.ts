/**
 * Reading certificates: the few fields which a mesh decides on, from the DER itself. The text form of
 * names (`URI:..., DNS:...`) is not unambiguous, therefore nothing here goes through it.
 */
import { formatIp, parseIp, unmap } from '../base/index.ts'
import { DerReader, readTime, tags } from './der.ts'
import { limits } from './limits.ts'
import { pemToDer } from './pem.ts'

export interface CertificateInfo {
  /** Lower-case hexadecimal without leading zeros. */
  readonly serial: string
  /** Milliseconds since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
  /** The names as they are encoded, for chaining. */
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly uriSans: readonly string[]
  readonly dnsSans: readonly string[]
  /** Canonical text. */
  readonly ipSans: readonly string[]
  readonly isCa: boolean
  readonly subjectKeyId: Buffer | undefined
  readonly der: Buffer
}

const what = 'the certificate'
const oids = { subjectKeyId: '551d0e', san: '551d11', basicConstraints: '551d13' } as const

/** The URI names of a peer's certificate (`getPeerX509Certificate().raw`). Throws on broken DER. */
export function uriSans(certificate: Uint8Array): string[] {
  return [...parseCertificate(certificate).uriSans]
}

/** Reads DER or PEM (its first certificate). Throws a MeshError when it is broken. */
export function parseCertificate(source: Uint8Array | string): CertificateInfo {
  const bytes = typeof source === 'string' ? pemToDer(source) : source
  const outer = new DerReader(bytes, what)
  if (bytes.length > limits.certificateBytesMax) outer.fail(`it has ${bytes.length} bytes`)
  const certificate = outer.enter(tags.sequence)
  outer.end()
  const tbs = certificate.enter(tags.sequence)
  certificate.next(tags.sequence)
  certificate.next(tags.bitString)
  certificate.end()

  tbs.optional(0xa0)
  const serial = tbs.next(tags.integer).content
  tbs.next(tags.sequence)
  const issuer = tbs.next(tags.sequence).whole
  const validity = tbs.enter(tags.sequence)
  const notBefore = readTime(validity.next())
  const notAfter = readTime(validity.next())
  if (notBefore === undefined || notAfter === undefined) {
    return tbs.fail('its validity is not two times')
  }
  validity.end()
  const subject = tbs.next(tags.sequence).whole
  tbs.next(tags.sequence)
  tbs.optional(0x81)
  tbs.optional(0x82)
  const wrapped = tbs.peek() === 0xa3 ? tbs.enter(0xa3) : undefined
  tbs.end()
  const extensions = wrapped === undefined ? new Map<string, Buffer>() : readExtensions(wrapped)
  const san = extensions.get(oids.san)
  const names = san === undefined ? { uris: [], dns: [], ips: [] } : readSans(san, what)
  const keyId = extensions.get(oids.subjectKeyId)
  return {
    serial: serial.toString('hex').replace(/^0+(?=.)/, ''),
    notBefore,
    notAfter,
    issuer,
    subject,
    uriSans: names.uris,
    dnsSans: names.dns,
    ipSans: names.ips,
    isCa: readIsCa(extensions.get(oids.basicConstraints)),
    subjectKeyId: keyId && new DerReader(keyId, what).next(tags.octetString).content,
    der: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  }
}

/** Extension values by the hexadecimal of their OID. A second one of a kind is an error (RFC 5280). */
export function readExtensions(wrapped: DerReader): Map<string, Buffer> {
  const list = wrapped.enter(tags.sequence)
  wrapped.end()
  const values = new Map<string, Buffer>()
  while (!list.done) {
    const extension = list.enter(tags.sequence)
    const id = extension.next(tags.oid).content.toString('hex')
    extension.optional(tags.boolean)
    const value = extension.next(tags.octetString).content
    extension.end()
    if (values.has(id)) list.fail('an extension is there twice')
    values.set(id, value)
  }
  return values
}

export interface AlternativeNames {
  readonly uris: string[]
  readonly dns: string[]
  readonly ips: string[]
}

/** The names of a SubjectAltName extension's value; kinds that no mesh uses are left out. */
export function readSans(value: Uint8Array, subjectOfErrors: string): AlternativeNames {
  const outer = new DerReader(value, subjectOfErrors)
  const list = outer.enter(tags.sequence)
  outer.end()
  const names: AlternativeNames = { uris: [], dns: [], ips: [] }
  for (let count = 0; !list.done; count++) {
    if (count >= limits.sansMax) list.fail(`it has more than ${limits.sansMax} alternative names`)
    const { tag, content } = list.next()
    if (tag === 0x87 && (content.length === 4 || content.length === 16)) {
      names.ips.push(formatIp(unmap(content)))
    }
    if (tag !== 0x82 && tag !== 0x86) continue
    if (content.length > limits.uriCharactersMax) list.fail('an alternative name is too long')
    // IA5String. Control characters (NUL above all) are how names were forged elsewhere.
    if (content.some((byte) => byte < 0x20 || byte > 0x7e)) {
      list.fail('an alternative name has characters outside printable ASCII')
    }
    const names7bit = tag === 0x86 ? names.uris : names.dns
    names7bit.push(content.toString('latin1'))
  }
  return names
}

/** Whether a server with this certificate may answer for the host (RFC 6125, alternative names only). */
export function servesHost(certificate: CertificateInfo, host: string): boolean {
  const ip = parseIp(host)
  if (ip !== undefined) return certificate.ipSans.includes(formatIp(ip))
  const wanted = host.toLowerCase().replace(/\.$/, '')
  const parent = wanted.indexOf('.')
  return certificate.dnsSans.some((name) => {
    const pattern = name.toLowerCase()
    if (pattern === wanted) return true
    return pattern.startsWith('*.') && parent > 0 && pattern.slice(1) === wanted.slice(parent)
  })
}

function readIsCa(value: Buffer | undefined): boolean {
  if (value === undefined) return false
  const constraints = new DerReader(value, what).enter(tags.sequence)
  return constraints.optional(tags.boolean)?.content[0] === 0xff
}
