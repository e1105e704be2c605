/** One HTTP/2 connection of the pool, and the CONNECT streams on it. */

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/index.ts'
import { connectionLost, HboneRefusedError, notHttp2, poolClosed, streamReset } from './errors.ts'
import { type Http2Limits, sessionMemoryMegabytes } from './limits.ts'
import { resetStream } from './reset.ts'
import { endWhenLost, endWithSocket, isLost, keepAlive } from './session.ts'

/** The client end of an open tunnel. */
export interface HboneStream extends Duplex {
  /** Of the 200 answer; `baggage` names the destination. */
  readonly responseHeaders: IncomingHttpHeaders
  /** HTTP/2 error code after a reset; 0 when the stream ended normally. */
  readonly rstCode: number
}

export interface ClientConnectionOptions {
  /** An established connection; for TLS with ALPN h2. */
  readonly socket: Duplex
  readonly clock: Clock
  readonly limits: Http2Limits
  readonly maxStreams: number
  readonly idleReleaseMs: number
  /** The connection takes no more streams. */
  readonly onUnusable: (connection: ClientConnection) => void
  readonly onClosed: (connection: ClientConnection) => void
}

export class ClientConnection {
  readonly #socket: Duplex
  readonly #session: ClientHttp2Session
  readonly #clock: Clock
  readonly #maxStreams: number
  readonly #idleReleaseMs: number
  #active = 0
  #draining = false
  #idleTimer: Timer | undefined

  constructor(options: ClientConnectionOptions) {
    const { socket, clock, limits, maxStreams } = options
    this.#clock = clock
    this.#maxStreams = maxStreams
    this.#idleReleaseMs = options.idleReleaseMs
    this.#socket = socket
    const alpn = (socket as { alpnProtocol?: string | false }).alpnProtocol
    if (alpn !== undefined && alpn !== 'h2') {
      socket.destroy()
      throw notHttp2(alpn === false ? '' : alpn)
    }
    this.#session = connect('https://hbone', {
      createConnection: () => socket,
      maxSessionMemory: sessionMemoryMegabytes,
      settings: {
        enablePush: false,
        initialWindowSize: limits.streamWindowBytes,
        maxFrameSize: limits.frameBytes,
        maxHeaderListSize: limits.clientHeaderListBytes,
      },
    })
    const session = this.#session
    const unusable = (): void => {
      if (this.#draining) return
      this.#draining = true
      this.#idleTimer?.cancel()
      options.onUnusable(this)
    }
    session.once('connect', () => session.setLocalWindowSize(limits.connectionWindowBytes))
    session.once('goaway', unusable)
    const closed = (): void => {
      unusable()
      options.onClosed(this)
    }
    session.once('close', closed)
    // Streams report the trouble of their session; here it only ends the use of the connection.
    session.on('error', unusable)
    endWithSocket(session, socket, closed)
    keepAlive(session, clock)
    endWhenLost(session, socket, clock)
  }

  get active(): number {
    return this.#active
  }

  get hasRoom(): boolean {
    if (this.#draining || this.#session.closed || this.#session.destroyed) return false
    // A stream on it would wait for an answer until the next check ends the connection.
    if (isLost(this.#socket)) return false
    const peerLimit = this.#session.remoteSettings?.maxConcurrentStreams ?? this.#maxStreams
    return this.#active < Math.min(this.#maxStreams, peerLimit)
  }

  /** Takes a place for one stream; `open` or `abandon` must follow. */
  reserve(): void {
    this.#active++
    this.#idleTimer?.cancel()
    this.#idleTimer = undefined
  }

  abandon(): void {
    this.#active--
    if (this.#active > 0) return
    if (this.#draining) this.#session.close()
    else {
      this.#idleTimer = this.#clock.after(this.#idleReleaseMs, () => this.drain(), {
        background: true,
      })
    }
  }

  /** Sends the CONNECT on a reserved place; resolves at status 200. */
  open(
    authority: string,
    headers: OutgoingHttpHeaders,
    signal?: AbortSignal,
  ): Promise<HboneStream> {
    return new Promise((resolve, reject) => {
      let stream: ClientHttp2Stream
      try {
        stream = this.#session.request(
          { ...headers, ':method': 'CONNECT', ':authority': authority },
          { endStream: false },
        )
      } catch (error) {
        this.#draining = true
        this.abandon()
        return reject(connectionLost(authority, error))
      }
      const onAbort = (): void => {
        resetStream(stream)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      let failure: unknown
      stream.on('error', (error) => (failure = error))
      stream.once('close', () => {
        signal?.removeEventListener('abort', onAbort)
        this.abandon()
        // Does nothing when the answer came before.
        const code = stream.rstCode
        const lost = this.#session.destroyed || code === constants.NGHTTP2_NO_ERROR
        reject(lost ? connectionLost(authority, failure) : streamReset(authority, code))
      })
      stream.once('response', (responseHeaders) => {
        signal?.removeEventListener('abort', onAbort)
        const status = responseHeaders[':status'] ?? 0
        if (status === 200) return resolve(Object.assign(stream, { responseHeaders }))
        reject(new HboneRefusedError(authority, status))
        // The answer may have a body; nobody wants it.
        stream.close(constants.NGHTTP2_CANCEL)
      })
    })
  }

  /** No new streams; ends when the last one does. */
  drain(): void {
    this.#draining = true
    this.#idleTimer?.cancel()
    this.#session.close()
  }

  destroy(): void {
    this.#draining = true
    this.#idleTimer?.cancel()
    this.#session.destroy(poolClosed())
    // After a drain, `session.destroy` would wait for the peer to close.
    this.#socket.destroy()
  }
}
