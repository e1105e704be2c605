/** What can go wrong with a tunnel, told apart by `code`. */
import { MeshError } from '../base/index.ts'

/** The peer answered the CONNECT with something other than 200. */
export class HboneRefusedError extends MeshError {
  readonly status: number

  constructor(authority: string, status: number) {
    super('HBONE_REFUSED', `the peer refused CONNECT ${authority} with status ${status}`, {
      hint: refusalHint(status),
    })
    this.name = 'HboneRefusedError'
    this.status = status
  }
}

function refusalHint(status: number): string {
  if (status === 401) return 'an AuthorizationPolicy or PeerAuthentication of the peer denies it'
  if (status === 503) return "the peer could not reach its application; check the pod's port"
  return "see the log of the peer's node proxy"
}

/** The HTTP/2 connection below the tunnel ended before the CONNECT was answered. */
export function connectionLost(authority: string, cause?: unknown): MeshError {
  return new MeshError(
    'HBONE_CONNECTION_LOST',
    `the connection ended during CONNECT ${authority}`,
    {
      cause,
      retryable: true,
    },
  )
}

/** The peer reset the stream before it answered. */
export function streamReset(authority: string, http2Code: number): MeshError {
  return new MeshError(
    'HBONE_STREAM_RESET',
    `the peer reset CONNECT ${authority} with HTTP/2 error ${http2Code}`,
    { retryable: http2Code === refusedStream },
  )
}

/** REFUSED_STREAM: the peer promises that it did nothing with the request. */
export const refusedStream = 7

export function notHttp2(found: string): MeshError {
  return new MeshError('HBONE_NOT_HTTP2', `the peer agreed on protocol "${found}" instead of h2`, {
    hint: 'something other than a mesh proxy answers on port 15008',
  })
}

export function poolClosed(): MeshError {
  return new MeshError('HBONE_POOL_CLOSED', 'the connection pool is closed')
}

export function noRoom(): MeshError {
  return new MeshError('HBONE_NO_ROOM', 'the peer accepts connections but no streams on them')
}

/**
 * Sessions are always destroyed with an error: without one, Node ends their streams as if all had
 * been transferred.
 */
export function peerClosed(): MeshError {
  return new MeshError('HBONE_PEER_CLOSED', 'the peer closed the connection')
}

export function serverClosed(): MeshError {
  return new MeshError('HBONE_SERVER_CLOSED', 'this end closed the connection')
}
