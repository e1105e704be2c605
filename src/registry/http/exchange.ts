/** One request and its answer, the same for HTTP/1.1 and HTTP/2. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { MeshError } from '../../base/index.ts'
import { badRequest, type Status, tooLarge } from '../../kube/index.ts'
import type { User } from '../auth/user.ts'
import { limits } from '../limits.ts'
import { encodeBody, type Representation } from './negotiate.ts'

export type Request = IncomingMessage | Http2ServerRequest
export type Response = ServerResponse | Http2ServerResponse

/** What the paths and verbs need to know of a request. */
export class Exchange {
  readonly request: Request
  /** HTTP/2's compatibility response has all that we use of it; its declarations lag behind. */
  readonly response: ServerResponse
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Set by the router, after authentication. */
  user: User = { username: '', groups: [], extra: {} }
  representation: Representation = { format: 'json' }
  readonly #warnings = new Set<string>()

  constructor(request: Request, response: Response) {
    this.request = request
    this.response = response as ServerResponse
    this.method = request.method ?? 'GET'
    const target = request.url ?? '/'
    const mark = target.indexOf('?')
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  /** Shown by kubectl next to the answer. */
  warn(text: string): void {
    this.#warnings.add(text)
  }

  flag(name: string): boolean {
    const value = this.query.get(name)
    return value === 'true' || value === '1'
  }

  /** A non-negative integer from the query; 400 for anything else. */
  integer(name: string): number | undefined {
    const text = this.query.get(name)
    if (text === null || text === '') return undefined
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw badRequest(`the query parameter ${name} must be a non-negative integer, not "${text}"`)
    }
    return value
  }

  async body(): Promise<Buffer> {
    if (Number(this.header('content-length') ?? 0) > limits.bodyBytesMax) throw this.#tooLarge()
    const { request } = this
    const chunks: Buffer[] = []
    let size = 0
    // Not by iteration, which would end the connection with the body that it gives up.
    await new Promise<void>((resolve, reject) => {
      request.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > limits.bodyBytesMax) reject(this.#tooLarge())
        else chunks.push(chunk)
      })
      request.once('end', resolve)
      request.once('error', reject)
      request.once('close', () => {
        // Every request closes in the end, and errors are slow to make.
        if (!request.readableEnded) reject(new MeshError('REGISTRY_CUT', 'the body broke off'))
      })
    })
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
  }

  /** The rest of the body is dropped as it comes, and not waited for once the answer is out. */
  #tooLarge(): Error {
    const stream = this.#stream
    if (stream === undefined) this.response.setHeader('connection', 'close')
    else this.response.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR))
    this.request.resume()
    return tooLarge(`the request body is larger than the limit of ${limits.bodyBytesMax} bytes`)
  }

  head(code: number, headers: Record<string, string>): void {
    const warnings = [...this.#warnings].map((text) => `299 - ${JSON.stringify(text)}`)
    const all: Record<string, string | string[]> = {
      'cache-control': 'no-cache, private',
      ...headers,
      ...(warnings.length === 0 ? {} : { warning: warnings }),
    }
    this.response.writeHead(code, all)
  }

  send(
    code: number,
    contentType: string,
    body: string | Buffer,
    headers: Record<string, string> = {},
  ): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    this.head(code, {
      'content-type': contentType,
      'content-length': String(bytes.length),
      ...headers,
    })
    if (this.method === 'HEAD') this.response.end()
    else this.response.end(bytes)
  }

  /** Sends an object in the form that the client accepts. */
  json(code: number, value: unknown, headers: Record<string, string> = {}): void {
    const { contentType, body } = encodeBody(value, this.representation)
    this.send(code, contentType, body, headers)
  }

  text(code: number, body: string): void {
    this.send(code, 'text/plain; charset=utf-8', body, { 'x-content-type-options': 'nosniff' })
  }

  status(status: Status): void {
    const retry = status.details?.retryAfterSeconds
    const headers: Record<string, string> =
      retry === undefined ? {} : { 'retry-after': String(retry) }
    const { contentType, body } = encodeBody(status, { format: this.representation.format })
    this.send(status.code, contentType, body, headers)
  }

  /** Writes a piece and waits while the client is slow; false when the client is gone. */
  async write(chunk: Buffer | string): Promise<boolean> {
    const { response } = this
    if (response.destroyed || response.writableEnded) return false
    if (response.write(chunk)) return true
    await new Promise<void>((resolve) => {
      const done = (): void => {
        response.off('drain', done)
        response.off('close', done)
        resolve()
      }
      response.once('drain', done)
      response.once('close', done)
    })
    return !response.destroyed
  }

  /** Bytes that were written but have not left yet. */
  get unsentBytes(): number {
    return (this.#stream?.writableLength ?? 0) + (this.response.writableLength ?? 0)
  }

  onClose(callback: () => void): void {
    this.response.once('close', callback)
  }

  /**
   * Cuts the answer short, so that the client sees a failure and starts again. `close(code)` of an HTTP/2 stream
   * is not that: it ends the stream in order first, and a part of a list would pass for the whole.
   */
  destroy(): void {
    const stream = this.#stream
    if (stream === undefined) (this.request.socket as TLSSocket).destroy()
    else if (!stream.destroyed) stream.destroy(new MeshError('REGISTRY_CUT', 'the answer was cut'))
  }

  get #stream(): Http2ServerResponse['stream'] | undefined {
    return (this.response as unknown as Partial<Http2ServerResponse>).stream
  }
}
