/**
 * The server end of HBONE: turns an accepted TLS connection into CONNECT requests. It checks only
 * what HTTP says (method, authority); who may go where is the caller's.
 */
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Clock } from '../base/index.ts'
import { type Authority, parseAuthority } from './authority.ts'
import { serverClosed } from './errors.ts'
import { type Http2Limits, http2Limits, sessionMemoryMegabytes } from './limits.ts'
import { endWhenLost, endWithSocket, keepAlive } from './session.ts'

/** The server end of an open tunnel. */
export interface HboneServerStream extends Duplex {
  /** HTTP/2 error code after a reset; 0 when the stream ended normally. */
  readonly rstCode: number
}

export interface HboneRequest {
  readonly authority: Authority
  /** As it was sent. */
  readonly authorityText: string
  readonly headers: IncomingHttpHeaders
  /** Aborted when the client gives up before an answer. */
  readonly signal: AbortSignal
  /** Answers 200 and hands over the tunnel. */
  accept(headers?: OutgoingHttpHeaders): HboneServerStream
  /** Answers with an error status and ends the stream. */
  reject(status: number, headers?: OutgoingHttpHeaders): void
}

export interface HboneServerOptions {
  readonly clock: Clock
  readonly onRequest: (request: HboneRequest) => void
  /** A request that is no CONNECT to a readable authority; it was answered with 400. */
  readonly onMalformed?: (what: string) => void
  readonly limits?: Http2Limits
}

export interface HboneServerConnection {
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  /** Sends GOAWAY; the streams under way may finish. */
  drain(): void
  destroy(): void
}

/** Serves HBONE on one established connection (TLS with ALPN h2 already checked by its maker). */
export function serveHbone(socket: Duplex, options: HboneServerOptions): HboneServerConnection {
  const limits = options.limits ?? http2Limits
  const session = performServerHandshake(socket, {
    maxSessionMemory: sessionMemoryMegabytes,
    settings: {
      enablePush: false,
      initialWindowSize: limits.streamWindowBytes,
      maxFrameSize: limits.frameBytes,
      maxHeaderListSize: limits.serverHeaderListBytes,
      maxConcurrentStreams: limits.serverMaxStreams,
    },
  })
  session.setLocalWindowSize(limits.connectionWindowBytes)
  // Each stream reports the trouble of its session.
  session.on('error', () => {})
  session.on('stream', (stream, headers) => onStream(stream, headers, options))
  const closed = new Promise<void>((resolve) => {
    session.once('close', resolve)
    endWithSocket(session, socket, resolve)
  })
  keepAlive(session, options.clock)
  endWhenLost(session, socket, options.clock)
  return {
    closed,
    drain: () => closeGracefully(session),
    destroy() {
      session.destroy(serverClosed())
      // After a drain, `session.destroy` would wait for the peer to close.
      socket.destroy()
    },
  }
}

function closeGracefully(session: ServerHttp2Session): void {
  if (!session.destroyed) session.close()
}

function onStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  options: HboneServerOptions,
): void {
  stream.on('error', () => {})
  const authorityText = headers[':authority'] ?? ''
  const authority = parseAuthority(authorityText)
  if (headers[':method'] !== 'CONNECT' || authority === undefined) {
    options.onMalformed?.(`${headers[':method']} ${authorityText.slice(0, 300)}`)
    respond(stream, 400, {})
    return
  }
  let answered = false
  const abort = new AbortController()
  stream.once('close', () => {
    if (!answered) abort.abort()
  })
  options.onRequest({
    authority,
    authorityText,
    headers,
    signal: abort.signal,
    accept(responseHeaders = {}) {
      answered = true
      if (!stream.destroyed) stream.respond({ ...responseHeaders, ':status': 200 })
      return stream
    },
    reject(status, responseHeaders = {}) {
      answered = true
      respond(stream, status, responseHeaders)
    },
  })
}

function respond(stream: ServerHttp2Stream, status: number, headers: OutgoingHttpHeaders): void {
  if (stream.destroyed || stream.closed) return
  stream.respond({ ...headers, ':status': status }, { endStream: true })
  // The client may keep its half open; after the answer nobody reads it.
  stream.close(constants.NGHTTP2_NO_ERROR)
}
