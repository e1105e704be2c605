/**
 * TLS between proxies: version 1.3 only, ALPN h2, no server name, no resumption (a resumed session
 * would carry an identity that was checked some time ago). Identities are read from the certificate's
 * DER. The server side checks chain and trust domain; the client side checks chain and exact names.
 */
import { constants } from 'node:crypto'
import tls from 'node:tls'
import { MeshError, toError } from '../base/index.ts'
import { parseSpiffeId, uriSans } from '../x509/index.ts'
import { wrongPeer } from './errors.ts'
import type { WorkloadCertificate } from './types.ts'

const contexts = new WeakMap<WorkloadCertificate, tls.SecureContext>()

function contextOptions(certificate: WorkloadCertificate): tls.SecureContextOptions {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    ca: certificate.rootsPem,
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** The secure context of a certificate, made once. */
export function secureContext(certificate: WorkloadCertificate): tls.SecureContext {
  let context = contexts.get(certificate)
  if (context === undefined) {
    context = tls.createSecureContext(contextOptions(certificate))
    contexts.set(certificate, context)
  }
  return context
}

/**
 * For `tls.createServer` or `http2.createSecureServer`, and for `setSecureContext` after a renewal.
 * The chain of the client is checked by TLS; afterwards call `verifyPeer` with the trust domain.
 */
export function tlsServerOptions(certificate: WorkloadCertificate): tls.TlsOptions {
  return {
    ...contextOptions(certificate),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
  }
}

/** For `tls.connect`: the connection fails unless the server has one of the accepted identities. */
export function tlsClientOptions(
  certificate: WorkloadCertificate,
  accepted: ReadonlySet<string>,
): tls.ConnectionOptions {
  return {
    secureContext: secureContext(certificate),
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    rejectUnauthorized: true,
    // Returns instead of throwing: an exception would be uncaught inside the TLS code.
    checkServerIdentity: (_host, peer) => {
      try {
        acceptedIdentity(peer.raw, { identities: accepted })
        return undefined
      } catch (error) {
        return toError(error)
      }
    },
  }
}

/** A trust domain (any identity of it), or the exact identities. */
export type ExpectedPeer =
  | { readonly trustDomain: string }
  | { readonly identities: ReadonlySet<string> }

/**
 * The peer's identity on a finished handshake. Throws a MeshError when TLS did not verify its chain
 * or it is not whom we expect.
 */
export function verifyPeer(socket: tls.TLSSocket, expected: ExpectedPeer): string {
  const raw = socket.getPeerX509Certificate()?.raw
  if (raw === undefined) throw wrongPeer('there is none')
  if (!socket.authorized) {
    throw wrongPeer(`its chain was not verified (${String(socket.authorizationError)})`)
  }
  return acceptedIdentity(raw, expected)
}

function acceptedIdentity(certificate: Uint8Array, expected: ExpectedPeer): string {
  let names: string[]
  try {
    names = uriSans(certificate)
  } catch (error) {
    throw error instanceof MeshError ? wrongPeer(error.message) : error
  }
  const found = names.find((name) => {
    return 'identities' in expected
      ? expected.identities.has(name)
      : parseSpiffeId(name)?.trustDomain === expected.trustDomain
  })
  if (found !== undefined) return found
  const wanted =
    'identities' in expected
      ? [...expected.identities].join(' or ')
      : `one of ${expected.trustDomain}`
  throw wrongPeer(`it is for ${names.join(', ') || 'nobody'}, not for ${wanted}`)
}
