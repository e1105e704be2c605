/**
 * Port 15017: the webhooks that the API server calls when somebody writes an object of Istio's.
 * `/validate` tells whether it makes sense; `/inject` is refused, since this control plane injects
 * no sidecars. Over TLS with a certificate of our own authority, renewed without a restart.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Socket } from 'node:net'
import { type Component, type Logger, MeshError, toError } from '../base/index.ts'
import type { ServingKeeper } from '../ca/index.ts'
import type { WebhookMetrics } from './webhooks-metrics.ts'
import { review } from './webhooks-review.ts'

export interface WebhookServerOptions {
  readonly host: string
  readonly port: number
  readonly serving: Pick<ServingKeeper, 'current' | 'onChange'>
  readonly ready: () => boolean
  readonly metrics: WebhookMetrics
  readonly logger: Logger
}

export const webhookLimits = {
  /** An object and its old version, each of at most 1.5 MiB at the API server, in JSON. */
  bodyBytesMax: 8 * 1024 * 1024,
  /** The API server gives up after 10 s, or after 30 s at most. */
  requestTimeoutMs: 30_000,
  connectionsMax: 1_000,
} as const

export class WebhookServer implements Component {
  readonly #options: WebhookServerOptions
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #unsubscribe: (() => void) | undefined

  constructor(options: WebhookServerOptions) {
    this.#options = options
  }

  /** The bound port. */
  get port(): number {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async start(): Promise<void> {
    const { host, port, serving, logger } = this.#options
    const { keyPem: key, chainPem: cert } = serving.current
    const server = createServer({ key, cert, minVersion: 'TLSv1.2' }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        logger.error('a webhook call failed', { path: request.url, error: toError(error).message })
        if (!response.headersSent) this.#refuse(response, 500, 'internal error')
        else response.destroy()
      })
    })
    server.requestTimeout = webhookLimits.requestTimeoutMs
    server.maxConnections = webhookLimits.connectionsMax
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on('tlsClientError', (error) =>
      logger.debug('a TLS handshake with the webhooks failed', { error: error.message }),
    )
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(
          new MeshError(
            'CONTROLPLANE_LISTEN',
            `can't listen on ${host}:${port} for webhooks: ${error.message}`,
            {
              cause: error,
              hint: 'Another control plane may be running in this network namespace.',
            },
          ),
        ),
      )
      server.listen(port, host, resolve)
    })
    this.#unsubscribe = serving.onChange(({ keyPem, chainPem }) =>
      server.setSecureContext({ key: keyPem, cert: chainPem, minVersion: 'TLSv1.2' }),
    )
    this.#server = server
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { ready } = this.#options
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    const isPath = (name: string): boolean => path === name || path.startsWith(`${name}/`)
    if (path === '/ready') {
      response.writeHead(ready() ? 200 : 503).end()
    } else if (isPath('/inject')) {
      this.#refuse(response, 501, 'this control plane does not inject sidecars')
    } else if (!isPath('/validate')) {
      this.#refuse(response, 404, 'not found')
    } else if (request.method !== 'POST') {
      this.#refuse(response, 405, 'only POST')
    } else await this.#validate(request, response)
  }

  async #validate(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { metrics } = this.#options
    const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim()
    if (type !== 'application/json') {
      this.#refuse(response, 415, 'invalid Content-Type, want `application/json`')
      return
    }
    const body = await readBody(request)
    if (body === undefined) {
      this.#refuse(response, 413, `a review may have ${webhookLimits.bodyBytesMax} bytes`)
    } else if (body.length === 0) this.#refuse(response, 400, 'no body found')
    else {
      const answer = review(body.toString(), metrics)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    }
  }

  #refuse(response: ServerResponse, code: number, text: string): void {
    this.#options.metrics.httpError(code)
    response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
  }
}

/** Undefined when it is too long; the rest is not read. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > webhookLimits.bodyBytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
