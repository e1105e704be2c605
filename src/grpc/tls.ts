/**
 * The listener under a gRPC server: our own TLS server, because grpc-js can't ask for a client
 * certificate without requiring one. A proxy's first call comes with a token only, later ones may
 * come with a certificate. `authorized` is false for no certificate and for a bad one alike: no
 * certificate is fine here (a token is required above), a bad one ends the connection.
 */
import { constants } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import { type Logger, MeshError } from '../base/index.ts'
import { limits } from './limits.ts'

export interface ServingCertificate {
  readonly keyPem: string
  /** Leaf first. */
  readonly chainPem: string
  /** Authorities whose client certificates are accepted. */
  readonly clientRootsPem: string
}

export interface ListenAddress {
  readonly host: string
  readonly port: number
  /** False: plaintext, no identity (port 15010). */
  readonly tls: boolean
  /** A Unix socket in the place of host and port. */
  readonly path?: string
}

export interface ConnectionListener {
  /** The bound port. */
  readonly port: number
  setCertificate(certificate: ServingCertificate): void
  /** Stops accepting; accepted connections belong to their new owner. */
  close(): void
}

/** Listens and hands over every acceptable connection. */
export async function listen(options: {
  readonly address: ListenAddress
  readonly certificate: ServingCertificate | undefined
  readonly onConnection: (socket: net.Socket) => void
  readonly logger: Logger
}): Promise<ConnectionListener> {
  const { address, certificate, onConnection, logger } = options
  const server = address.tls
    ? tlsServer(certificate, onConnection, logger)
    : net.createServer(onConnection)
  server.maxConnections = limits.connectionsMax
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(address, error)))
    const { host, port, path } = address
    server.listen(path === undefined ? { host, port } : { path }, () => resolve())
  })
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    setCertificate: (next) => {
      if (server instanceof tls.Server) server.setSecureContext(secureOptions(next))
    },
    close: () => void server.close(),
  }
}

function tlsServer(
  certificate: ServingCertificate | undefined,
  onConnection: (socket: net.Socket) => void,
  logger: Logger,
): tls.Server {
  if (certificate === undefined) {
    throw new MeshError(
      'GRPC_NO_CERTIFICATE',
      'a TLS listener was started before it had a certificate',
    )
  }
  const server = tls.createServer({
    ...secureOptions(certificate),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    handshakeTimeout: limits.handshakeTimeoutMs,
  })
  server.on('secureConnection', (socket) => {
    if (socket.getPeerX509Certificate() !== undefined && !socket.authorized) {
      logger.warn('a client certificate was refused', {
        from: socket.remoteAddress,
        reason: String(socket.authorizationError),
      })
      socket.destroy()
      return
    }
    onConnection(socket)
  })
  server.on('tlsClientError', (error, socket) => {
    logger.debug('a TLS handshake failed', { from: socket.remoteAddress, error: error.message })
  })
  return server
}

/** No tickets: a resumed session would carry an identity which was checked some time ago. */
function secureOptions(certificate: ServingCertificate): tls.SecureContextOptions {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    ca: certificate.clientRootsPem,
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

function listenError(address: ListenAddress, error: NodeJS.ErrnoException): MeshError {
  const where = address.path ?? `${address.host}:${address.port}`
  return new MeshError('GRPC_LISTEN', `listening on ${where} failed: ${error.message}`, {
    hint:
      error.code === 'EADDRINUSE' && address.path === undefined
        ? `Another process has port ${address.port}: \`ss -ltnp sport = :${address.port}\` names it.`
        : 'Check the address and the permission to bind it.',
    cause: error,
  })
}
