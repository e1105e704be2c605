/** The errors of this room. */
import { MeshError } from '../base/index.ts'

export function badMaterial(secret: string, detail: string, cause?: unknown): MeshError {
  return new MeshError(
    'CA_MATERIAL',
    `Secret ${secret} can't be used as the certificate authority: ${detail}`,
    {
      hint:
        'Correct its data (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem), ' +
        'or delete it and restart istiod for a fresh self-signed root.',
      cause,
    },
  )
}

export function ttlTooLong(askedMs: number, maxMs: number): MeshError {
  return new MeshError(
    'CA_TTL',
    `a lifetime of ${Math.round(askedMs / 1000)} s is over the maximum of ${Math.round(maxMs / 1000)} s`,
    { hint: 'Lower SECRET_TTL of the proxy, or raise MAX_WORKLOAD_CERT_TTL of istiod.' },
  )
}

export function notReady(): MeshError {
  return new MeshError('CA_NOT_READY', 'the certificate authority has no key yet', {
    retryable: true,
  })
}
