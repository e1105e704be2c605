/** The agent's pages: readiness on 15021, and on 15020 Envoy's metrics under Istio's names. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { pipeline } from 'node:stream/promises'
import { type Component, type Logger, toError } from '../../base/index.ts'
import type { EnvoyAdmin } from './admin.ts'
import { IstioNames } from './metrics.ts'

export interface AgentStatusOptions {
  readonly readyPort: number
  readonly metricsPort: number
  readonly admin: EnvoyAdmin
  /** Why there should be no traffic; undefined when there may. */
  readonly unready: () => Promise<string | undefined>
  /** Asked for on the loopback by `/quitquitquit`. */
  readonly quit: () => void
  readonly logger: Logger
}

export class AgentStatus implements Component {
  readonly #options: AgentStatusOptions
  #servers: Server[] = []

  constructor(options: AgentStatusOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { readyPort, metricsPort } = this.#options
    const readiness: RequestListener = (request, response) => {
      if (pathOf(request) === '/healthz/ready') void this.#readiness(response)
      else answer(response, 404, '')
    }
    this.#servers = [
      await listen(readiness, readyPort),
      await listen((request, response) => this.#page(request, response), metricsPort),
    ]
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }

  get ports(): readonly number[] {
    return this.#servers.map((server) => {
      const address = server.address()
      return typeof address === 'object' && address !== null ? address.port : 0
    })
  }

  #page(request: IncomingMessage, response: ServerResponse): void {
    const path = pathOf(request)
    if (path === '/stats/prometheus' || path === '/metrics') void this.#metrics(response)
    else if (path === '/healthz/ready') void this.#readiness(response)
    else if (path === '/quitquitquit' && request.method === 'POST') {
      const isLocal = /^(::ffff:)?127\./.test(request.socket.remoteAddress ?? '')
      answer(response, isLocal ? 200 : 403, isLocal ? 'OK\n' : 'only from 127.0.0.1\n')
      if (isLocal) this.#options.quit()
    } else answer(response, 404, '')
  }

  async #readiness(response: ServerResponse): Promise<void> {
    const reason = await this.#options.unready()
    answer(
      response,
      reason === undefined ? 200 : 503,
      reason === undefined ? '' : `Envoy is not ready: ${reason}\n`,
    )
  }

  async #metrics(response: ServerResponse): Promise<void> {
    const { admin, logger } = this.#options
    try {
      const page = await admin.open('/stats/prometheus?usedonly')
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
      await pipeline(page, new IstioNames(), response)
    } catch (error) {
      logger.debug('a scrape failed', { error: toError(error).message })
      if (response.headersSent) response.destroy()
      else answer(response, 503, `${toError(error).message}\n`)
    }
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? ''
}

function answer(response: ServerResponse, status: number, text: string): void {
  const headers = { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text) }
  response.writeHead(status, headers).end(text)
}

function listen(listener: RequestListener, port: number): Promise<Server> {
  const server = createServer(listener)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => resolve(server))
  })
}
