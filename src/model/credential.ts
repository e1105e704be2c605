/**
 * Certificates from a Secret or ConfigMap. The private key is kept out of everything that prints:
 * it is no property, so that logs, dumps and JSON never have it, and equality sees its digest.
 */
import assert from 'node:assert/strict'

export interface CredentialParts {
  readonly kind: 'Secret' | 'ConfigMap'
  readonly namespace: string
  readonly name: string
  /** PEM chain, leaf first. */
  readonly certificate?: string
  readonly privateKey?: string
  /** Tells keys apart; belongs to every key. */
  readonly privateKeyDigest?: string
  /** PEM roots to check peers with. */
  readonly ca?: string
  readonly crl?: string
  /** DER of an OCSP response, base64. */
  readonly ocspStaple?: string
}

export class Credential implements Omit<CredentialParts, 'privateKey'> {
  readonly kind: 'Secret' | 'ConfigMap'
  readonly namespace: string
  readonly name: string
  readonly certificate: string
  readonly ca: string
  readonly crl: string
  readonly ocspStaple: string
  /** Empty without a key. */
  readonly privateKeyDigest: string
  readonly #privateKey: string

  constructor(parts: CredentialParts) {
    const { kind, namespace, name, privateKey = '' } = parts
    this.kind = kind
    this.namespace = namespace
    this.name = name
    this.certificate = parts.certificate ?? ''
    this.ca = parts.ca ?? ''
    this.crl = parts.crl ?? ''
    this.ocspStaple = parts.ocspStaple ?? ''
    this.#privateKey = privateKey
    assert.equal(privateKey === '', parts.privateKeyDigest === undefined, 'a key and its digest')
    this.privateKeyDigest = parts.privateKeyDigest ?? ''
  }

  /** PEM; empty when there is none. Only for the proxy that may have it. */
  revealPrivateKey(): string {
    return this.#privateKey
  }
}
