/** What the rooms of the data plane exchange about identities. */

export interface WorkloadCertificate {
  /** SPIFFE id. */
  readonly identity: string
  /** PKCS#8 */
  readonly keyPem: string
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  /** Every certificate that the mesh trusts. */
  readonly rootsPem: string
  /** Milliseconds since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
  /** Lower-case hexadecimal. */
  readonly serial: string
}

/** Where certificates come from: the control plane, or a fixture. */
export interface CertificateSource {
  /** The chain as on the wire: leaf, intermediates, and last the bundle of roots. */
  request(csrPem: string, identity: string, ttlMs: number): Promise<readonly string[]>
}

/** Who waits: a connection, a pod that just came, or nobody yet (renewal). */
export type FetchPriority = 'realtime' | 'warmup' | 'background'

export interface IdentityStatus {
  readonly identity: string
  readonly state: 'initializing' | 'available' | 'unavailable'
  readonly certificate: WorkloadCertificate | undefined
  /** Why the last attempt failed; also set while an older certificate is still good. */
  readonly error: string | undefined
}
