/** One HTTP/2 connection of a client: its calls, and whether it is still there. */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Logger } from '../base/index.ts'
import { GrpcError, grpcStatus } from './errors.ts'
import { limits } from './limits.ts'
import { type CallPeer, peerOf, statusOf } from './peer.ts'
import { trailersOf } from './server-stream.ts'

/** Serves one call of a path. */
export type CallHandler = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  peer: CallPeer,
) => void

export interface SessionOptions {
  readonly handlers: ReadonlyMap<string, CallHandler>
  readonly keepaliveTimeMs: number
  readonly keepaliveTimeoutMs: number
  readonly logger: Logger
  readonly onClose: (session: ServerSession) => void
}

export class ServerSession {
  readonly #session: ServerHttp2Session
  readonly #options: SessionOptions
  readonly #peer: CallPeer
  readonly #keepalive: NodeJS.Timeout
  #idle: NodeJS.Timeout | undefined
  #unanswered: NodeJS.Timeout | undefined
  #calls = 0

  constructor(socket: Socket, options: SessionOptions) {
    this.#options = options
    this.#peer = peerOf(socket)
    this.#session = performServerHandshake(socket, {
      settings: {
        maxConcurrentStreams: limits.streamsPerConnectionMax,
        initialWindowSize: limits.receiveWindowBytes,
        maxHeaderListSize: limits.headerBytesMax,
        enablePush: false,
      },
    }) as ServerHttp2Session // what the function makes, by its documentation
    this.#session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) =>
      this.#begin(stream, headers),
    )
    this.#session.on('error', (error: Error) => {
      options.logger.debug('a connection broke', { from: this.#peer.address, error: error.message })
    })
    this.#session.once('close', () => this.#end())
    this.#keepalive = setInterval(() => this.#ask(), options.keepaliveTimeMs)
    this.#keepalive.unref()
    this.#wait()
  }

  /** Takes no new calls; closes when those under way are over. */
  close(): void {
    if (!this.#session.closed) this.#session.close()
  }

  destroy(): void {
    this.#session.destroy()
  }

  #begin(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.#calls++
    clearTimeout(this.#idle)
    stream.once('close', () => {
      if (--this.#calls === 0) this.#wait()
    })
    // Without a listener the reset of a call would be an uncaught error.
    stream.on('error', () => {})
    const path = headers[':path'] ?? ''
    const type = headers['content-type'] ?? ''
    if (headers[':method'] !== 'POST' || !type.startsWith('application/grpc')) {
      stream.respond({ [constants.HTTP2_HEADER_STATUS]: 415 }, { endStream: true })
      stream.resume()
      return
    }
    const handler = this.#options.handlers.get(path)
    if (handler === undefined) {
      return refuse(stream, new GrpcError(grpcStatus.unimplemented, `there is no method ${path}`))
    }
    const encoding = headers['grpc-encoding']
    if (encoding !== undefined && encoding !== 'identity') {
      const message = `the encoding ${String(encoding)} is not supported`
      return refuse(stream, new GrpcError(grpcStatus.unimplemented, message))
    }
    handler(stream, headers, this.#peer)
  }

  #ask(): void {
    if (this.#session.destroyed || this.#unanswered !== undefined) return
    this.#unanswered = setTimeout(() => {
      this.#options.logger.info('a silent connection was given up', { from: this.#peer.address })
      this.#session.destroy()
    }, this.#options.keepaliveTimeoutMs)
    this.#unanswered.unref()
    this.#session.ping(() => {
      clearTimeout(this.#unanswered)
      this.#unanswered = undefined
    })
  }

  /** A connection without a call is given back after a while. */
  #wait(): void {
    this.#idle = setTimeout(() => this.close(), limits.connectionIdleMs)
    this.#idle.unref()
  }

  #end(): void {
    clearInterval(this.#keepalive)
    clearTimeout(this.#idle)
    clearTimeout(this.#unanswered)
    this.#options.onClose(this)
  }
}

function refuse(stream: ServerHttp2Stream, error: GrpcError): void {
  const headers = {
    [constants.HTTP2_HEADER_STATUS]: 200,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc+proto',
    'grpc-accept-encoding': 'identity',
    ...trailersOf(statusOf(error)),
  }
  stream.respond(headers, { endStream: true })
  stream.resume()
}
