/**
 * The TLS server for HTTP/2 and HTTP/1.1. It has no listening socket of its own: sockets are bound
 * elsewhere (in standalone, outside the tree) and their connections are adopted here.
 */
import type { ServerResponse } from 'node:http'
import * as http2 from 'node:http2'
import type { Server, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, type Logger, sleep, type Timer } from '../../base/index.ts'
import { failure } from '../../kube/index.ts'
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
  /** In the order of their arrival, by the peer's address. */
  readonly #sockets = new Map<string, Socket>()
  /** Those of them that nobody has asked anything on yet. */
  readonly #unused = new Map<string, Socket>()
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
      maxHeaderListPairs: limits.headerFieldsMax,
      settings: {
        maxConcurrentStreams: limits.requestsPerConnectionMax,
        maxHeaderListSize: limits.headerBytesRead,
      },
      maxSessionMemory: limits.connectionMemoryMb,
      maxSessionInvalidFrames: 100,
    })
    // Watches stay open without a word; only handshakes, requests and unused connections have deadlines.
    server.setTimeout(0)
    this.#watchHttp1(server)
    server.on('request', (request: Request, response: Response) => {
      this.#unused.delete(addressOf(request.socket))
      if (headerBytes(request) > limits.headerBytesMax) return refuseHeader(response)
      if ('stream' in request && !request.stream.endAfterHeaders) this.#limitBody(request, response)
      this.#options.onRequest(request, response)
    })
    server.on('upgrade', (request: Request, socket: Duplex, head: Buffer) => {
      this.#unused.delete(addressOf(request.socket))
      this.#options.onUpgrade(request, socket, head)
    })
    server.on('session', (session) => this.#adoptSession(session))
    server.on('tlsClientError', (error) =>
      logger.debug('a TLS handshake failed', { error: error.message }),
    )
    server.on('sessionError', (error) =>
      logger.debug('a connection failed', { error: error.message }),
    )
    this.#server = server
  }

  /** Deadlines of HTTP/1.1, and plain answers to what is no HTTP. */
  #watchHttp1(server: http2.Http2SecureServer): void {
    Object.assign(server, {
      headersTimeout: limits.headerTimeoutMs,
      requestTimeout: limits.bodyTimeoutMs,
      connectionsCheckingInterval: limits.headerTimeoutMs / 2,
      keepAliveTimeout: limits.idleConnectionMs,
    })
    // Node watches these deadlines from this event on, and this server has no socket that listens.
    server.emit('listening')
    const refused = new WeakSet<Duplex>()
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
      // What comes after the first error is read and dropped, so that the answer is not overtaken by a reset.
      if (refused.has(socket)) return
      refused.add(socket)
      const line = refusals[error.code ?? ''] ?? '400 Bad Request'
      if (!socket.writable) return void socket.destroy()
      socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      // A peer that goes on sending is not waited for.
      this.#options.clock.after(refusalMs, () => socket.destroy(), { background: true })
    })
  }

  /** HTTP/1.1 has this deadline from Node. */
  #limitBody(request: Request, response: Response): void {
    const late = (): void => {
      if (!response.headersSent) refuse(response, 408, 'Timeout', 'the body did not come in time')
      else response.destroy()
    }
    const timer = this.#options.clock.after(limits.bodyTimeoutMs, late, { background: true })
    request.once('close', () => timer.cancel())
    request.once('end', () => timer.cancel())
  }

  /** A connection without a request ends after a while; watches are requests. */
  #adoptSession(session: http2.ServerHttp2Session): void {
    const { logger, clock } = this.#options
    const expire = (): Timer =>
      clock.after(limits.idleConnectionMs, () => session.close(), { background: true })
    let idle = expire()
    let streams = 0
    this.#sessions.add(session)
    session.on('stream', (stream) => {
      if (streams++ === 0) idle.cancel()
      stream.once('close', () => {
        if (--streams === 0 && !session.closed) idle = expire()
      })
    })
    session.once('close', () => {
      idle.cancel()
      this.#sessions.delete(session)
    })
    session.on('error', (error) => logger.debug('a connection failed', { error: error.message }))
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
    const address = addressOf(socket)
    this.#makeRoom()
    this.#sockets.set(address, socket)
    this.#unused.set(address, socket)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    socket.once('close', () => {
      if (this.#sockets.get(address) === socket) this.#sockets.delete(address)
      if (this.#unused.get(address) === socket) this.#unused.delete(address)
    })
    socket.on('error', () => socket.destroy())
    this.#server.emit('connection', socket)
  }

  /** Ends the oldest connection that was never used, or simply the oldest, when there are too many. */
  #makeRoom(): void {
    if (this.#sockets.size < limits.connectionsMax) return
    for (const connections of [this.#unused, this.#sockets]) {
      for (const [address, socket] of connections) {
        this.#unused.delete(address)
        this.#sockets.delete(address)
        socket.destroy()
        return
      }
    }
  }

  /** Uses renewed certificates for new connections. */
  renew(): void {
    this.#server?.setSecureContext(this.#credentials())
  }

  /** Lets running requests end until the deadline, then cuts what is left. */
  async stop(deadlineMs: number): Promise<void> {
    for (const [listener, adopt] of this.#attached) listener.off('connection', adopt)
    this.#attached.clear()
    // Ends the watch over deadlines; there is no socket to close.
    this.#server?.close(() => {})
    this.#server = undefined
    for (const session of this.#sessions) session.close()
    const { clock } = this.#options
    const end = clock.monotonic() + deadlineMs
    while (this.#sessions.size > 0 && clock.monotonic() < end) {
      await sleep(clock, 10)
    }
    for (const socket of this.#sockets.values()) socket.destroy()
  }

  #credentials() {
    const { serving, authorityPem } = this.#options.pki
    return { cert: serving.certPem, key: serving.keyPem, ca: [authorityPem] }
  }
}

const refusals: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}
const refusalMs = 1_000

function addressOf(socket: { remoteAddress?: string; remotePort?: number } | null): string {
  return `${socket?.remoteAddress} ${socket?.remotePort}`
}

function headerBytes({ rawHeaders }: Request): number {
  let bytes = 0
  for (const text of rawHeaders) bytes += text.length
  return bytes
}

function refuseHeader(response: Response): void {
  const message = `the header of the request has more than ${limits.headerBytesMax} bytes`
  refuse(response, 431, 'RequestHeaderFieldsTooLarge', message)
}

function refuse(response: Response, code: number, reason: string, message: string): void {
  const http = response as ServerResponse
  http.writeHead(code, { 'content-type': 'application/json' })
  http.end(JSON.stringify(failure(code, reason, message).status))
}
