/**
 * Writing certificates. Own DER instead of @peculiar/x509: that library needs a Reflect polyfill at
 * run time and took 2.3 ms for what takes 0.15 ms here; in tests it is the oracle.
 */
import { createHash, type KeyObject, randomBytes } from 'node:crypto'
import { MeshError, parseIp } from '../base/index.ts'
import { parseCertificate } from './certificate.ts'
import { bitString, der, integer, oid, sequence, tags, time } from './der.ts'
import { type KeyPair, sign, signatureAlgorithm } from './keys.ts'
import { derToPem } from './pem.ts'

export interface SubjectNames {
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
  /** Text form. */
  readonly ips?: readonly string[]
}

export interface DistinguishedName {
  readonly organizations?: readonly string[]
  readonly commonName?: string
}

export interface Validity {
  /** Milliseconds since the epoch; certificates know seconds only. */
  readonly notBefore: number
  readonly notAfter: number
}

export interface Issuer {
  readonly certificatePem: string
  readonly key: KeyObject
}

export interface IssueOptions extends Validity {
  readonly issuer: Issuer
  readonly publicKey: KeyObject
  /** Empty by default; then the alternative names are critical (RFC 5280, 4.2.1.6). */
  readonly subject?: DistinguishedName
  readonly names?: SubjectNames
  /** Default both. */
  readonly usages?: readonly ('server' | 'client')[]
  /** An intermediate authority instead of an end entity. */
  readonly ca?: boolean
}

export interface CaOptions extends Validity {
  readonly keys: KeyPair
  readonly subject: DistinguishedName
}

/** A PEM certificate for an end entity or an intermediate authority. */
export async function issueCertificate(options: IssueOptions): Promise<string> {
  const { issuer, names = {}, subject = {}, usages = ['server', 'client'] } = options
  const parent = parseCertificate(issuer.certificatePem)
  const nameless = subject.commonName === undefined && (subject.organizations ?? []).length === 0
  const parentKeyId = parent.subjectKeyId
  return signTbs({
    validity: options,
    issuerName: parent.subject,
    subjectName: encodeName(subject),
    publicKey: options.publicKey,
    key: issuer.key,
    extensions: [
      ...(options.ca === true ? caExtensions() : endEntityExtensions(usages)),
      keyIdExtension(options.publicKey),
      ...(parentKeyId === undefined
        ? []
        : [extension('2.5.29.35', false, sequence(der(0x80, parentKeyId)))]),
      ...(hasNames(names) ? [sanExtension(names, nameless)] : []),
    ],
  })
}

/** A self-signed authority. The same keys and subject give a successor that old leaves verify with. */
export function createCaCertificate(options: CaOptions): Promise<string> {
  const name = encodeName(options.subject)
  return signTbs({
    validity: options,
    issuerName: name,
    subjectName: name,
    publicKey: options.keys.publicKey,
    key: options.keys.privateKey,
    extensions: [...caExtensions(), keyIdExtension(options.keys.publicKey)],
  })
}

interface Tbs {
  readonly validity: Validity
  readonly issuerName: Uint8Array
  readonly subjectName: Uint8Array
  readonly publicKey: KeyObject
  readonly key: KeyObject
  readonly extensions: readonly Uint8Array[]
}

async function signTbs(parts: Tbs): Promise<string> {
  const { notBefore, notAfter } = parts.validity
  if (!(notAfter > notBefore)) {
    throw new MeshError('X509_VALIDITY', 'a certificate can not end before it begins', {
      hint: 'Is the clock of this machine right, and is the issuer still valid?',
    })
  }
  const algorithm = signatureAlgorithm(parts.key)
  const tbs = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial()),
    algorithm,
    parts.issuerName,
    sequence(time(notBefore), time(notAfter)),
    parts.subjectName,
    parts.publicKey.export({ type: 'spki', format: 'der' }) as Buffer,
    der(0xa3, sequence(...parts.extensions)),
  )
  return derToPem(sequence(tbs, algorithm, bitString(await sign(tbs, parts.key))))
}

/** 16 random bytes, made positive and of full length. */
function serial(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes
}

function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  const flag = critical ? [der(tags.boolean, Buffer.from([0xff]))] : []
  return sequence(oid(id), ...flag, der(tags.octetString, value))
}

function caExtensions(): Buffer[] {
  return [
    extension('2.5.29.19', true, sequence(der(tags.boolean, Buffer.from([0xff])))),
    // keyCertSign, cRLSign
    extension('2.5.29.15', true, bitString(Buffer.from([0x06]), 1)),
  ]
}

function endEntityExtensions(usages: readonly ('server' | 'client')[]): Buffer[] {
  const purposes = usages.map((usage) =>
    oid(usage === 'server' ? '1.3.6.1.5.5.7.3.1' : '1.3.6.1.5.5.7.3.2'),
  )
  return [
    // digitalSignature, keyEncipherment
    extension('2.5.29.15', true, bitString(Buffer.from([0xa0]), 5)),
    extension('2.5.29.37', false, sequence(...purposes)),
    extension('2.5.29.19', true, sequence()),
  ]
}

function keyIdExtension(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' }) as Buffer
  const id = createHash('sha256').update(spki).digest().subarray(0, 20)
  return extension('2.5.29.14', false, der(tags.octetString, id))
}

function hasNames(names: SubjectNames): boolean {
  return [names.uris, names.dns, names.ips].some((list) => list !== undefined && list.length > 0)
}

/** The SubjectAltName extension with these names. */
export function sanExtension(names: SubjectNames, critical: boolean): Buffer {
  const values: Buffer[] = []
  for (const uri of names.uris ?? []) values.push(der(0x86, ascii(uri)))
  for (const name of names.dns ?? []) values.push(der(0x82, ascii(name)))
  for (const ip of names.ips ?? []) {
    const bytes = parseIp(ip)
    if (bytes === undefined) throw new MeshError('X509_NAME', `"${ip}" is no IP address`)
    values.push(der(0x87, bytes))
  }
  return extension('2.5.29.17', critical, sequence(...values))
}

function ascii(text: string): Buffer {
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new MeshError('X509_NAME', `${JSON.stringify(text)} can't be a name in a certificate`, {
      hint: 'Names are printable ASCII without blanks.',
    })
  }
  return Buffer.from(text, 'latin1')
}

function encodeName(name: DistinguishedName): Buffer {
  const attribute = (id: string, text: string): Buffer =>
    der(tags.set, sequence(oid(id), der(tags.utf8String, Buffer.from(text, 'utf8'))))
  return sequence(
    ...(name.organizations ?? []).map((text) => attribute('2.5.4.10', text)),
    ...(name.commonName === undefined ? [] : [attribute('2.5.4.3', name.commonName)]),
  )
}
