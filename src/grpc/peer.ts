/** Who calls: read from the connection itself, never from what the caller says. */
import type { IncomingHttpHeaders } from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { parseSpiffeId, uriSans } from '../x509/index.ts'
import { GrpcError, type GrpcStatusCode, grpcStatus } from './errors.ts'

export interface CallPeer {
  /** The SPIFFE id of the verified client certificate; undefined without a certificate. */
  readonly identity: string | undefined
  /** The certificate itself, for those who look into revocation lists. */
  readonly certificateDer?: Uint8Array
  /** `ip:port` */
  readonly address: string
}

export interface CallContext {
  readonly peer: CallPeer
  /** The first value of a request header. */
  header(name: string): string | undefined
}

export interface Status {
  readonly code: GrpcStatusCode
  readonly details: string
}

/** Read once for a connection. */
export function peerOf(socket: Socket): CallPeer {
  const { remoteAddress = 'unknown', remotePort = 0, remoteFamily } = socket
  const host = remoteFamily === 'IPv6' ? `[${remoteAddress}]` : remoteAddress
  const identity = identityOf(socket)
  const address = `${host}:${remotePort}`
  if (identity === undefined || !(socket instanceof TLSSocket)) return { identity, address }
  const certificateDer = socket.getPeerX509Certificate()?.raw
  return { identity, address, ...(certificateDer && { certificateDer }) }
}

export function contextOf(peer: CallPeer, headers: IncomingHttpHeaders): CallContext {
  return {
    peer,
    header: (name) => {
      const value = headers[name]
      return Array.isArray(value) ? value[0] : value
    },
  }
}

/** A certificate with several SPIFFE ids has none: nothing says which one speaks. */
function identityOf(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const raw = socket.getPeerX509Certificate()?.raw
  if (raw === undefined) return undefined
  let ids: string[]
  try {
    ids = uriSans(raw).filter((uri) => parseSpiffeId(uri) !== undefined)
  } catch {
    return undefined
  }
  return ids.length === 1 ? ids[0] : undefined
}

/** The status that a thrown thing becomes on the wire. Internals stay inside. */
export function statusOf(error: unknown): Status {
  if (error instanceof GrpcError) return { code: error.status, details: error.message }
  return { code: grpcStatus.internal, details: 'internal error' }
}
