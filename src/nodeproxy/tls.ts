/** TLS between proxies over sockets that we opened or accepted ourselves; names are `identity`'s. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls, { type TLSSocket } from 'node:tls'
import { toError } from '../base/index.ts'
import {
  tlsClientOptions,
  tlsServerOptions,
  verifyPeer,
  type WorkloadCertificate,
} from '../identity/index.ts'
import { parseSpiffeId, type SpiffeId } from '../x509/index.ts'
import { ConnectionError } from './errors.ts'
import { handshakeTimeoutMs } from './limits.ts'
import type { RevocationGuard } from './revocation-guard.ts'

/**
 * The client end over a connected socket, or over a tunnel.
 * @param expected SPIFFE ids of which the server must prove one
 */
export function connectTls(
  socket: Duplex,
  certificate: WorkloadCertificate,
  expected: readonly string[],
  revocations: RevocationGuard,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const client = tls.connect({ socket, ...tlsClientOptions(certificate, new Set(expected)) })
    const timer = setTimeout(() => {
      client.destroy(new Error('the handshake took too long'))
    }, handshakeTimeoutMs)
    const onClose = (): void => onError(new Error('the peer closed during the handshake'))
    const onError = (error: Error): void => {
      clearTimeout(timer)
      client.destroy()
      // Not a consequence of the line above when HTTP/2 holds the TLS socket.
      socket.destroy()
      reject(
        new ConnectionError(
          'NODEPROXY_TLS',
          `the TLS handshake with ${expected[0]} failed: ${error.message}`,
          { flag: 'TLS_FAILURE', cause: error },
        ),
      )
    }
    client.on('error', onError).once('close', onClose)
    client.once('secureConnect', () => {
      clearTimeout(timer)
      try {
        revocations.admit(client, certificate.rootsPem, 'source')
      } catch (error) {
        reject(toError(error))
        return void client.destroy()
      }
      // The error handler stays until the HTTP/2 session has its own; rejecting again does nothing.
      client.off('close', onClose)
      resolve(client)
    })
  })
}

/** The identity that the client of an accepted connection has proven; throws when it is none of ours. */
export function clientIdentity(socket: TLSSocket, trustDomain: string): SpiffeId {
  const text = verifyPeer(socket, { trustDomain })
  const identity = parseSpiffeId(text)
  if (identity === undefined) throw new ConnectionError('NODEPROXY_TLS', `${text} is no SPIFFE id`)
  return identity
}

export interface TlsAcceptorOptions {
  readonly onConnection: (socket: TLSSocket) => void
  readonly onFailure: (error: Error, socket: TLSSocket) => void
}

/**
 * The server end of one pod: its certificate is the pod's, whatever name the client asks for. The
 * client's chain is checked here, its trust domain by the caller.
 */
export class TlsAcceptor {
  readonly #options: TlsAcceptorOptions
  #server: tls.Server | undefined
  #certificate: WorkloadCertificate | undefined

  constructor(options: TlsAcceptorOptions) {
    this.#options = options
  }

  /** Starts the handshake on an accepted connection. */
  accept(socket: Socket, certificate: WorkloadCertificate): void {
    if (this.#server === undefined) this.#server = this.#create(certificate)
    else if (this.#certificate !== certificate) {
      this.#server.setSecureContext(tlsServerOptions(certificate))
    }
    this.#certificate = certificate
    this.#server.emit('connection', socket)
  }

  #create(certificate: WorkloadCertificate): tls.Server {
    const { onConnection, onFailure } = this.#options
    const server = tls.createServer({
      ...tlsServerOptions(certificate),
      handshakeTimeout: handshakeTimeoutMs,
    })
    server.on('secureConnection', (socket) => {
      socket.on('error', () => {})
      if (socket.alpnProtocol === 'h2') return onConnection(socket)
      onFailure(new Error('the client did not offer HTTP/2 (ALPN h2)'), socket)
      socket.destroy()
    })
    server.on('tlsClientError', (error, socket) => onFailure(toError(error), socket))
    return server
  }
}
