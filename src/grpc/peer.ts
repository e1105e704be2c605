/** Who calls: read from the connection itself, never from what the caller says. */
import type { Metadata, StatusObject } from '@grpc/grpc-js'
import { parseSpiffeId, uriSans } from '../x509/index.ts'
import { GrpcError, grpcStatus } from './errors.ts'

export interface CallPeer {
  /** The SPIFFE id of the verified client certificate; undefined without a certificate. */
  readonly identity: string | undefined
  /** `ip:port` */
  readonly address: string
}

export interface CallContext {
  readonly peer: CallPeer
  /** The first value of a request header. */
  header(name: string): string | undefined
}

interface AuthContext {
  readonly sslPeerCertificate?: { readonly raw: Buffer } | undefined
}

interface Call {
  readonly metadata: Metadata
  getPeer(): string
  /** Empty unless the TLS socket's certificate was verified. */
  getAuthContext(): AuthContext
}

export function contextOf(call: Call): CallContext {
  const { metadata } = call
  return {
    peer: { identity: identityOf(call.getAuthContext()), address: call.getPeer() },
    header: (name) => metadata.get(name)[0]?.toString(),
  }
}

/** A certificate with several SPIFFE ids has none: nothing says which one speaks. */
function identityOf(context: AuthContext): string | undefined {
  const raw = context.sslPeerCertificate?.raw
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
export function statusOf(error: unknown): Partial<StatusObject> {
  if (error instanceof GrpcError) return { code: error.status, details: error.message }
  return { code: grpcStatus.internal, details: 'internal error' }
}
