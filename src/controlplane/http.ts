/**
 * Port 15014: `/metrics`, `/version`, `/ready` and the debug pages. These tell a lot about the mesh, so
 * a caller needs a token of the system namespace, unless it is on this host (istioctl's port-forward).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Component, canonicalIp, type Logger, MeshError, toError } from '../base/index.ts'
import type { Authenticate } from '../ca/index.ts'
import { type MetricsRegistry, serveMetrics } from '../metrics/index.ts'
import type { DebugPage } from './debug.ts'

export interface HttpEndpointOptions {
  readonly host: string
  readonly port: number
  readonly ready: () => boolean
  readonly version: string
  readonly logger: Logger
  /** Absent: only `/ready` is served. */
  readonly operator?: {
    readonly metrics: MetricsRegistry
    readonly debug: ReadonlyMap<string, DebugPage>
    readonly authenticate: Authenticate
    readonly systemNamespace: string
  }
}

export class HttpEndpoint implements Component {
  readonly #options: HttpEndpointOptions
  #server: Server | undefined

  constructor(options: HttpEndpointOptions) {
    this.#options = options
  }

  /** The bound port. */
  get port(): number {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async start(): Promise<void> {
    const { host, port, logger } = this.#options
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        logger.error('a request failed', { path: request.url, error: toError(error).message })
        if (!response.headersSent) reply(response, 500, 'internal error\n')
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(
          new MeshError(
            'CONTROLPLANE_LISTEN',
            `can't listen on ${host}:${port}: ${error.message}`,
            {
              cause: error,
              hint: 'Another control plane may be running in this network namespace.',
            },
          ),
        ),
      )
      server.listen(port, host, resolve)
    })
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { ready, operator, version } = this.#options
    const path = new URL(request.url ?? '/', 'http://localhost').pathname
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return reply(response, 405, 'only GET\n')
    }
    if (path === '/ready') return reply(response, ready() ? 200 : 503, ready() ? '' : 'not ready\n')
    if (operator === undefined) return reply(response, 404, 'not found\n')
    if (path === '/version') return reply(response, 200, `${version}\n`)
    if (path === '/metrics') return serveMetrics(operator.metrics, request, response)
    const isDebug = path === '/debug' || path.startsWith('/debug/')
    if (!isDebug) return reply(response, 404, 'not found\n')
    if (!(await this.#mayDebug(request))) {
      return reply(
        response,
        401,
        `a token of a service account in ${operator.systemNamespace} is needed\n`,
      )
    }
    const name = path.slice('/debug/'.length)
    const page = operator.debug.get(name)
    if (page !== undefined) return json(response, page())
    const index = [...operator.debug.keys()].map((key) => `/debug/${key}\n`).join('')
    return reply(response, name === '' ? 200 : 404, index)
  }

  async #mayDebug(request: IncomingMessage): Promise<boolean> {
    const { operator } = this.#options
    const address = canonicalIp(request.socket.remoteAddress ?? '')
    if (address === '127.0.0.1' || address === '::1') return true
    if (operator === undefined) return false
    try {
      const caller = await operator.authenticate({
        peer: { identity: undefined, address },
        header: (name) => {
          const value = request.headers[name]
          return Array.isArray(value) ? value[0] : value
        },
      })
      return caller.namespace === operator.systemNamespace
    } catch {
      return false
    }
  }
}

function reply(response: ServerResponse, code: number, body: string): void {
  response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(body)
}

function json(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value, null, 2)
  response.writeHead(200, { 'content-type': 'application/json' }).end(`${body}\n`)
}
