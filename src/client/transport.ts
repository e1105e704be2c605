/**
 * One HTTP/2 connection to an API server, shared by all requests and watches of a process.
 * It is opened on demand and again after a loss; a ping notices a peer that vanished without a word.
 */
import * as http2 from 'node:http2'
import { type Clock, MeshError, type Timer, toError } from '../base/index.ts'
import { limits } from './limits.ts'

export interface TransportOptions {
  /** `https://host:port`. */
  readonly server: string
  readonly caPem?: () => string | undefined
  readonly certificate?: () => ClientCertificate | undefined
  /** Read for every request, since projected tokens are rotated. */
  readonly token?: () => string
  readonly tlsServerName?: string
  readonly userAgent: string
  readonly clock: Clock
}

/** What the API server knows a client by when it has no token. */
export interface ClientCertificate {
  readonly certPem: string
  readonly keyPem: string
}

export interface Answer {
  readonly code: number
  readonly headers: http2.IncomingHttpHeaders
  readonly stream: http2.ClientHttp2Stream
}

export class Transport {
  readonly #options: TransportOptions
  #session: Promise<http2.ClientHttp2Session> | undefined
  #ping: Timer | undefined
  #closed = false

  constructor(options: TransportOptions) {
    this.#options = options
  }

  /** Resolves with the answer's headers; the body is read from the stream by the caller. */
  async request(
    method: string,
    path: string,
    options: { headers?: Record<string, string>; body?: Buffer; signal?: AbortSignal } = {},
  ): Promise<Answer> {
    const session = await this.#connect()
    options.signal?.throwIfAborted()
    const headers: http2.OutgoingHttpHeaders = {
      ':method': method,
      ':path': path,
      'user-agent': this.#options.userAgent,
      accept: 'application/json',
      ...options.headers,
    }
    if (this.#options.token !== undefined) headers.authorization = `Bearer ${this.#options.token()}`
    if (options.body !== undefined) headers['content-length'] = options.body.length
    const stream = session.request(headers, { endStream: options.body === undefined })
    return new Promise((resolve, reject) => {
      const abort = (): void => stream.close(http2.constants.NGHTTP2_CANCEL)
      options.signal?.addEventListener('abort', abort, { once: true })
      stream.once('response', (answer) =>
        resolve({ code: Number(answer[':status']), headers: answer, stream }),
      )
      stream.once('close', () => {
        options.signal?.removeEventListener('abort', abort)
        reject(
          options.signal?.aborted === true ? options.signal.reason : lost(this.#options.server),
        )
      })
      stream.once('error', (error) => reject(lost(this.#options.server, error)))
      if (options.body !== undefined) stream.end(options.body)
    })
  }

  close(): void {
    this.#closed = true
    this.#ping?.cancel()
    const session = this.#session
    this.#session = undefined
    session?.then((open) => open.destroy()).catch(() => {})
  }

  #connect(): Promise<http2.ClientHttp2Session> {
    if (this.#closed) throw new MeshError('CLIENT_CLOSED', 'the Kubernetes client is closed')
    this.#session ??= this.#open().catch((error: unknown) => {
      this.#session = undefined
      throw error
    })
    return this.#session
  }

  #open(): Promise<http2.ClientHttp2Session> {
    const { server, caPem, certificate, tlsServerName } = this.#options
    const own = certificate?.()
    return new Promise((resolve, reject) => {
      const session = http2.connect(server, {
        ca: caPem?.(),
        cert: own?.certPem,
        key: own?.keyPem,
        ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
        settings: { initialWindowSize: limits.streamWindowBytes, enablePush: false },
      })
      const deadline = this.#options.clock.after(limits.connectTimeoutMs, () => {
        session.destroy(new Error(`no connection within ${limits.connectTimeoutMs} ms`))
      })
      session.once('connect', () => {
        deadline.cancel()
        session.setLocalWindowSize(limits.connectionWindowBytes)
        this.#watchLiveness(session)
        resolve(session)
      })
      session.on('error', (error) => {
        deadline.cancel()
        reject(unreachable(server, error))
      })
      session.once('goaway', () => this.#drop(session))
      session.once('close', () => {
        deadline.cancel()
        this.#drop(session)
        reject(unreachable(server, new Error('closed')))
      })
    })
  }

  #drop(session: http2.ClientHttp2Session): void {
    const current = this.#session
    current
      ?.then((open) => {
        if (open === session && this.#session === current) this.#session = undefined
      })
      .catch(() => {})
    // Synchronously too: a request made in the same tick must not use a dead session.
    if (session.destroyed || session.closed) this.#session = undefined
  }

  #watchLiveness(session: http2.ClientHttp2Session): void {
    this.#ping?.cancel()
    let answered = true
    this.#ping = this.#options.clock.every(
      limits.pingPeriodMs,
      () => {
        if (session.destroyed) return
        if (!answered) return session.destroy(new Error('no answer to a ping'))
        answered = false
        session.ping(() => {
          answered = true
        })
      },
      { background: true },
    )
  }
}

function lost(server: string, cause?: unknown): MeshError {
  return new MeshError('CLIENT_CONNECTION_LOST', `the connection to ${server} was lost`, {
    cause,
    retryable: true,
    hint: 'Is the API server still running? The request may or may not have been carried out.',
  })
}

function unreachable(server: string, cause: unknown): MeshError {
  return new MeshError(
    'CLIENT_UNREACHABLE',
    `can't reach the API server ${server}: ${toError(cause).message}`,
    {
      cause,
      retryable: true,
      hint: 'Check that it runs and that the kubeconfig names the right address.',
    },
  )
}
