/** For tests of this room: a registry in a temporary folder, and a client that speaks plain requests. */
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import * as http2 from 'node:http2'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import { createRegistry, type Registry, type RegistryOptions } from './registry.ts'
import type { JsonMap } from './values.ts'

export interface Reply {
  readonly code: number
  readonly headers: http2.IncomingHttpHeaders
  readonly text: string
  readonly json: JsonMap & { metadata: JsonMap & { resourceVersion: string } }
}

export interface Credentials {
  readonly certPem?: string
  readonly keyPem?: string
  readonly token?: string
}

export class TestServer {
  readonly registry: Registry
  readonly dir: string
  readonly #listener: Server
  readonly #sessions = new Map<Credentials, http2.ClientHttp2Session>()
  #admin: Credentials = {}

  constructor(options: Partial<RegistryOptions> = {}) {
    this.dir = options.dir ?? mkdtempSync(join(tmpdir(), 'weft-registry-'))
    this.registry = createRegistry({
      dir: this.dir,
      name: 'test',
      clock: systemClock,
      logger: silentLogger,
      version: '0.0.0',
      ...options,
    })
    this.#listener = createServer()
    this.registry.attach(this.#listener)
  }

  async start(): Promise<this> {
    await this.registry.start()
    await new Promise<void>((resolve) => this.#listener.listen(0, '127.0.0.1', resolve))
    this.#admin = this.registry.adminCredentials
    return this
  }

  async stop(keep = false): Promise<void> {
    for (const session of this.#sessions.values()) session.destroy()
    this.#listener.close()
    await this.registry.stop(100)
    if (!keep) await rm(this.dir, { recursive: true, force: true })
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`
  }

  #session(credentials: Credentials): http2.ClientHttp2Session {
    let session = this.#sessions.get(credentials)
    if (session === undefined) {
      const { certPem: cert, keyPem: key } = credentials
      session = http2.connect(this.url, { ca: this.registry.caCertificatePem, cert, key })
      session.on('error', () => {})
      this.#sessions.set(credentials, session)
    }
    return session
  }

  /** Opens a stream; the administrator's unless told otherwise. */
  stream(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string>; as?: Credentials } = {},
  ): http2.ClientHttp2Stream {
    const { body, headers = {}, as = this.#admin } = options
    const bearer = as.token === undefined ? {} : { authorization: `Bearer ${as.token}` }
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const stream = this.#session(as).request(
      { ':method': method, ':path': path, ...bearer, ...type, ...headers },
      { endStream: body === undefined },
    )
    stream.on('error', () => {})
    if (body !== undefined) stream.end(typeof body === 'string' ? body : JSON.stringify(body))
    return stream
  }

  async send(
    method: string,
    path: string,
    body?: unknown,
    options: { headers?: Record<string, string>; as?: Credentials } = {},
  ): Promise<Reply> {
    const stream = this.stream(method, path, { body, ...options })
    const headers = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
      stream.once('response', resolve)
      stream.once('close', () => reject(new Error('the stream closed without an answer')))
    })
    const chunks: Buffer[] = []
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const json = /json/.test(headers['content-type'] ?? '')
      ? (JSON.parse(text) as Reply['json'])
      : undefined
    // Tests look into what they know to be there; anything else fails in them.
    return { code: Number(headers[':status']), headers, text, json: json as Reply['json'] }
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return this.send('GET', path, undefined, { headers })
  }

  async configMap(
    name: string,
    data: Record<string, string> = {},
    more: JsonMap = {},
  ): Promise<KubeObject> {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...more }, data }
    const reply = await this.send('POST', '/api/v1/namespaces/default/configmaps', object)
    if (reply.code !== 201) throw new Error(reply.text)
    return reply.json as unknown as KubeObject
  }

  /** Opens a watch; `next` gives one event after the other. */
  watch(path: string, headers: Record<string, string> = {}): TestWatch {
    return new TestWatch(this.stream('GET', path, { headers }))
  }
}

export interface WatchFrame {
  readonly type: string
  readonly object: KubeObject & JsonMap
}

export class TestWatch {
  readonly #stream: http2.ClientHttp2Stream
  readonly #lines: AsyncGenerator<WatchFrame>

  constructor(stream: http2.ClientHttp2Stream) {
    this.#stream = stream
    this.#lines = frames(stream)
  }

  /** The next event, or undefined when the stream has ended. */
  async next(): Promise<WatchFrame | undefined> {
    const { value, done } = await this.#lines.next()
    return done === true ? undefined : value
  }

  async take(count: number): Promise<string[]> {
    const seen: string[] = []
    while (seen.length < count) {
      const event = await this.next()
      if (event === undefined) break
      seen.push(`${event.type} ${event.object.metadata.name}`)
    }
    return seen
  }

  close(): void {
    this.#stream.close(http2.constants.NGHTTP2_CANCEL)
  }
}

async function* frames(stream: http2.ClientHttp2Stream): AsyncGenerator<WatchFrame> {
  let rest = ''
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield JSON.parse(line) as WatchFrame
  }
}
