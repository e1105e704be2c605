/**
 * Which certificates their issuers took back. A list counts only when the issuer's key signed it; a
 * certificate whose issuer has no list is good, as with Istio's node proxy.
 */
import { X509Certificate } from 'node:crypto'
import {
  parseCertificate,
  parseRevocationList,
  type RevocationList,
  splitPem,
} from '../x509/index.ts'

export class Revocations {
  readonly #listeners = new Set<() => void>()
  /** By the issuer's encoded name, in hexadecimal. */
  #lists = new Map<string, RevocationList[]>()
  #pem = ''

  /** What `replace` was given last. */
  get pem(): string {
    return this.#pem
  }

  /** Takes these lists in the place of all others; throws, changing nothing, when one is broken. */
  replace(pem: string): void {
    if (pem === this.#pem) return
    const lists = new Map<string, RevocationList[]>()
    for (const text of splitPem(pem, 'X509 CRL')) {
      const list = parseRevocationList(text)
      const issuer = list.issuer.toString('hex')
      lists.set(issuer, [...(lists.get(issuer) ?? []), list])
    }
    this.#lists = lists
    this.#pem = pem
    for (const listener of this.#listeners) listener()
  }

  /** Calls back when the lists have changed; returns the remover. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * The serial number of the first revoked certificate of a peer's chain.
   * @param leaf with what the peer sent above it
   * @param rootsPem whom the mesh trusts: roots are not sent along
   */
  revokedIn(leaf: X509Certificate, rootsPem: string): string | undefined {
    if (this.#lists.size === 0) return undefined
    const chain: X509Certificate[] = []
    for (let at: X509Certificate | undefined = leaf; at !== undefined; at = at.issuerCertificate) {
      // A root that was sent along names itself as its issuer.
      if (chain.some((known) => known.fingerprint256 === at?.fingerprint256)) break
      chain.push(at)
    }
    const issuers = [...chain, ...splitPem(rootsPem).map((root) => new X509Certificate(root))]
    for (const certificate of chain) {
      const { issuer, serial } = parseCertificate(certificate.raw)
      for (const list of this.#lists.get(issuer.toString('hex')) ?? []) {
        if (!list.revoked.has(serial)) continue
        const isSigner = (above: X509Certificate): boolean =>
          certificate.checkIssued(above) && list.signedBy(above.publicKey)
        if (issuers.some(isSigner)) return serial
      }
    }
    return undefined
  }
}
