/** The errors of this room. */
import { MeshError } from '../base/index.ts'

/** What was read is no DER, or no certificate, request or key. */
export function malformed(what: string, detail: string): MeshError {
  return new MeshError('X509_MALFORMED', `${what} can't be read: ${detail}`)
}

export function refusedCsr(detail: string): MeshError {
  return new MeshError('X509_CSR_REFUSED', `the certificate request is refused: ${detail}`, {
    hint: 'Send a PKCS#10 request in PEM, signed with its own ECDSA, Ed25519 or RSA (2048 bits or more) key.',
  })
}

export function notSpiffe(text: string): MeshError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}...` : text
  return new MeshError('X509_NOT_SPIFFE', `${JSON.stringify(shown)} is no SPIFFE id`, {
    hint: 'The form is spiffe://<trust domain>/ns/<namespace>/sa/<service account>.',
  })
}
