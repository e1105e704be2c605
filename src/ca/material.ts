/**
 * The authority's keys and certificates as they stand in Secrets: our own root in `istio-ca-secret`,
 * or an intermediate that the operator plugged in as `cacerts`.
 */
import { X509Certificate } from 'node:crypto'
import { toError } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import {
  createCaCertificate,
  type KeyPair,
  parseCertificate,
  parseRevocationList,
  type RevocationList,
  readKeyPair,
  splitPem,
} from '../x509/index.ts'
import { badMaterial } from './errors.ts'
import { limits } from './limits.ts'

export interface Secret extends KubeObject {
  type?: string
  data?: Record<string, string>
}

export const selfSignedSecretName = 'istio-ca-secret'
export const pluggedInSecretName = 'cacerts'
/** In the Secret `cacerts`: we made what is in it ourselves (USE_CACERTS_FOR_SELF_SIGNED_CA). */
const generatedKey = 'istio-generated'

export interface CaMaterial {
  /** Whether we made the root ourselves and may replace it. */
  readonly selfSigned: boolean
  readonly keys: KeyPair
  readonly certificatePem: string
  /** Between a leaf and the roots; without the roots. */
  readonly intermediates: readonly string[]
  /** One or several certificates. */
  readonly rootsPem: string
  /** Revocation lists as the operator gave them (`ca-crl.pem`); empty: none. */
  readonly crlPem: string
  readonly revocations: readonly RevocationList[]
  readonly notBefore: number
  readonly notAfter: number
  readonly secretName: string
  readonly resourceVersion: string | undefined
}

/** Reads a Secret of either kind and checks that its parts fit together. */
export function readMaterial(secret: Secret, nowMs: number): CaMaterial {
  const { namespace, name } = secret.metadata
  const where = `${namespace}/${name}`
  const text = (...keys: string[]): string => {
    for (const key of keys) {
      const value = secret.data?.[key]
      if (value !== undefined && value !== '') return Buffer.from(value, 'base64').toString('utf8')
    }
    return ''
  }
  const generated = secret.data?.[generatedKey] !== undefined
  const selfSigned = name === selfSignedSecretName || generated
  const certificateText = text('ca-cert.pem', 'tls.crt')
  const rootText = text('root-cert.pem', 'ca.crt') || (selfSigned ? certificateText : '')
  const chainText = text('cert-chain.pem') || certificateText
  try {
    const [certificatePem] = splitPem(certificateText)
    if (certificatePem === undefined) throw new Error('ca-cert.pem has no certificate')
    const roots = splitPem(rootText)
    if (roots.length === 0) throw new Error('root-cert.pem has no certificate')
    const keys = readKeyPair(text('ca-key.pem', 'tls.key'))
    const info = parseCertificate(certificatePem)
    const chain = splitPem(chainText)
    checkAuthority(certificatePem, keys, roots, chain)
    const crlPem = splitPem(text('ca-crl.pem'), 'X509 CRL').join('')
    const revocations = readRevocations(crlPem, [...new Set([certificatePem, ...chain, ...roots])])
    // An expired root of our own is replaced, an operator's can only be complained about.
    if (!selfSigned && info.notAfter <= nowMs) {
      throw new Error(`ca-cert.pem expired at ${new Date(info.notAfter).toISOString()}`)
    }
    return {
      selfSigned,
      keys,
      certificatePem,
      intermediates: chain.filter((pem) => !roots.includes(pem)),
      rootsPem: roots.join(''),
      crlPem,
      revocations,
      notBefore: info.notBefore,
      notAfter: info.notAfter,
      secretName: name,
      resourceVersion: secret.metadata.resourceVersion,
    }
  } catch (error) {
    throw badMaterial(where, toError(error).message, error)
  }
}

function checkAuthority(
  certificatePem: string,
  keys: KeyPair,
  roots: readonly string[],
  chain: readonly string[],
): void {
  const certificate = new X509Certificate(certificatePem)
  if (!certificate.ca) throw new Error('ca-cert.pem is not the certificate of an authority')
  if (!certificate.checkPrivateKey(keys.privateKey))
    throw new Error('ca-key.pem does not belong to ca-cert.pem')
  const issuers = [...roots, ...chain].map((pem) => new X509Certificate(pem))
  let current = certificate
  // Each step goes up one certificate; a chain longer than the material is a loop.
  for (let step = 0; step <= issuers.length; step++) {
    if (roots.some((root) => new X509Certificate(root).fingerprint256 === current.fingerprint256))
      return
    const child = current
    const issuer = issuers.find((candidate) => {
      return (
        candidate !== child && child.checkIssued(candidate) && child.verify(candidate.publicKey)
      )
    })
    if (issuer === undefined) break
    current = issuer
  }
  throw new Error('ca-cert.pem does not lead to any root of root-cert.pem')
}

/** Each list has to come from an authority of the chain, none of which may be on one. */
function readRevocations(crlPem: string, authorities: readonly string[]): RevocationList[] {
  const lists = splitPem(crlPem, 'X509 CRL').map((pem) => parseRevocationList(pem))
  for (const [index, list] of lists.entries()) {
    const issued = authorities.some((pem) => {
      const { subject } = parseCertificate(pem)
      return subject.equals(list.issuer) && list.signedBy(new X509Certificate(pem).publicKey)
    })
    if (!issued)
      throw new Error(`list ${index + 1} of ca-crl.pem is signed by no authority of the chain`)
  }
  if (authorities.some((pem) => isRevoked(lists, parseCertificate(pem)))) {
    throw new Error('a certificate of its own chain is on the revocation list')
  }
  return lists
}

/** Whether a list of its issuer has the certificate. */
export function isRevoked(
  lists: readonly RevocationList[],
  certificate: { readonly issuer: Buffer; readonly serial: string },
): boolean {
  return lists.some(
    ({ issuer, revoked }) => issuer.equals(certificate.issuer) && revoked.has(certificate.serial),
  )
}

/** A root for these keys; the subject is the trust domain. */
export function newRoot(options: {
  readonly keys: KeyPair
  readonly trustDomain: string
  readonly nowMs: number
  readonly rootTtlMs: number
}): Promise<string> {
  const { keys, trustDomain, nowMs, rootTtlMs } = options
  return createCaCertificate({
    keys,
    subject: { organizations: [trustDomain] },
    notBefore: nowMs - limits.clockSkewMs,
    notAfter: nowMs + rootTtlMs,
  })
}

/** The Secret in which a self-signed root is kept. */
export function selfSignedSecret(options: {
  readonly namespace: string
  readonly keys: KeyPair
  /** The one that signs. */
  readonly rootPem: string
  /** Earlier ones which are still trusted. */
  readonly earlierRoots?: readonly string[]
  readonly name?: string
  readonly resourceVersion?: string
}): Secret {
  const { namespace, keys, rootPem, earlierRoots = [], resourceVersion } = options
  const { name = selfSignedSecretName } = options
  const encode = (text: string): string => Buffer.from(text).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    type: 'istio.io/ca-root',
    data: {
      'ca-cert.pem': encode(rootPem),
      'ca-key.pem': encode(keys.privatePem),
      'cert-chain.pem': '',
      'key.pem': '',
      'root-cert.pem': encode([rootPem, ...earlierRoots].join('')),
      ...(name === pluggedInSecretName ? { [generatedKey]: '' } : {}),
    },
  }
}
