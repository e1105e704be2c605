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

export function brokenTrust(secret: string): MeshError {
  return new MeshError(
    'CA_TRUST',
    `Secret ${secret} has none of the roots that the mesh trusts now; the present authority stays`,
    {
      hint:
        'Put the old and the new root into root-cert.pem, wait until proxies have both, then change ' +
        'ca-cert.pem. A restart of istiod takes the new one at once, and cuts off proxies until they renew.',
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
