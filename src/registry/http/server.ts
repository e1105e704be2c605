/**
 * The TLS server for HTTP/2 and HTTP/1.1. It has no listening socket of its own: sockets are bound
 * elsewhere (in standalone, outside the tree) and their connections are adopted here.
 */
import * as http2 from 'node:http2'
import type { Server, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, type Logger, sleep } from '../../base/index.ts'
import type { Pki } from '../auth/pki.ts'
import { limits } from '../limits.ts'
import type { Request, Response } from './exchange.ts'

export interface HttpServerOptions {
  readonly pki: Pki
  readonly clock: Clock
  readonly logger: Logger
  onRequest(request: Request, response: Response): void
  onUpgrade(request: Request, socket: Duplex, head: Buffer): void
}

export class HttpServer {
  readonly #options: HttpServerOptions
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<http2.ServerHttp2Session>()
  readonly #attached = new Map<Server, (socket: Socket) => void>()
  #server: http2.Http2SecureServer | undefined

  constructor(options: HttpServerOptions) {
    this.#options = options
  }

  start(): void {
    const { logger } = this.#options
    const server = http2.createSecureServer({
      allowHTTP1: true,
      ...this.#credentials(),
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      handshakeTimeout: limits.handshakeTimeoutMs,
      maxHeaderListPairs: 256,
      settings: {
        maxConcurrentStreams: limits.requestsPerConnectionMax,
        maxHeaderListSize: limits.headerBytesMax,
      },
      maxSessionInvalidFrames: 100,
    })
    // Watches stay open without a word; only handshakes and headers have deadlines.
    server.setTimeout(0)
    server.on('request', (request, response) => this.#options.onRequest(request, response))
    server.on('upgrade', (request: Request, socket: Duplex, head: Buffer) =>
      this.#options.onUpgrade(request, socket, head),
    )
    server.on('session', (session) => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
      session.on('error', (error) => logger.debug('a connection failed', { error: error.message }))
    })
    server.on('tlsClientError', (error) =>
      logger.debug('a TLS handshake failed', { error: error.message }),
    )
    server.on('sessionError', (error) =>
      logger.debug('a connection failed', { error: error.message }),
    )
    server.on('clientError', (_error, socket) => socket.destroy())
    this.#server = server
  }

  /** Serves the connections of a listening server; may be called before and after `start`. */
  attach(listener: Server): void {
    const adopt = (socket: Socket): void => this.adopt(socket)
    this.#attached.set(listener, adopt)
    listener.on('connection', adopt)
  }

  /** Serves one accepted connection. */
  adopt(socket: Socket): void {
    if (this.#server === undefined) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    this.#server.emit('connection', socket)
  }

  /** Uses renewed certificates for new connections. */
  renew(): void {
    this.#server?.setSecureContext(this.#credentials())
  }

  /** Lets running requests end until the deadline, then cuts what is left. */
  async stop(deadlineMs: number): Promise<void> {
    for (const [listener, adopt] of this.#attached) listener.off('connection', adopt)
    this.#attached.clear()
    this.#server = undefined
    for (const session of this.#sessions) session.close()
    const { clock } = this.#options
    const end = clock.monotonic() + deadlineMs
    while (this.#sessions.size > 0 && clock.monotonic() < end) {
      await sleep(clock, 10)
    }
    for (const socket of this.#sockets) socket.destroy()
  }

  #credentials() {
    const { serving, authorityPem } = this.#options.pki
    return { cert: serving.certPem, key: serving.keyPem, ca: [authorityPem] }
  }
}
