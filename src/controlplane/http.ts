/**
 * Port 15014, and 8080 on the loopback: `/metrics`, `/version`, `/ready` and the debug pages. These tell a
 * lot about the mesh, so a caller from elsewhere than this host authenticates as a proxy does, and sees what
 * its namespace may see. (istioctl's port-forward comes from this host.)
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Component, canonicalIp, type Logger, MeshError, toError } from '../base/index.ts'
import type { Authenticate } from '../ca/index.ts'
import { type MetricsRegistry, serveMetrics } from '../metrics/index.ts'
import { answerPage, type DebugCaller, type DebugPages, pageText } from './debug-page.ts'

export interface HttpEndpointOptions {
  readonly host: string
  readonly port: number
  readonly ready: () => boolean
  readonly version: string
  readonly logger: Logger
  readonly operator: {
    readonly metrics: MetricsRegistry
    readonly debug: DebugPages
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
    const { pathname, search } = new URL(request.url ?? '/', 'http://localhost')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return reply(response, 405, 'only GET\n')
    }
    if (pathname === '/ready') {
      return reply(response, ready() ? 200 : 503, ready() ? '' : 'not ready\n')
    }
    if (pathname === '/version') return reply(response, 200, `${version}\n`)
    if (pathname === '/metrics') return serveMetrics(operator.metrics, request, response)
    if (pathname !== '/debug' && !pathname.startsWith('/debug/')) {
      return reply(response, 404, 'not found\n')
    }
    const caller = await this.#caller(request)
    if (caller === undefined)
      return reply(response, 401, 'a token of a service account is needed\n')
    const target = `${pathname.slice('/debug/'.length)}${search}`
    const answer = answerPage(operator.debug, target, caller, operator.systemNamespace)
    const type = 'json' in answer ? 'application/json' : 'html' in answer ? 'text/html' : undefined
    const text = pageText(answer, new URLSearchParams(search).has('pretty'))
    return reply(response, 'status' in answer ? answer.status : 200, text, type)
  }

  /** Undefined: nobody we know. */
  async #caller(request: IncomingMessage): Promise<DebugCaller | undefined> {
    const { authenticate } = this.#options.operator
    const address = canonicalIp(request.socket.remoteAddress ?? '')
    if (address === '127.0.0.1' || address === '::1') return { namespace: undefined }
    try {
      const { namespace } = await authenticate({
        peer: { identity: undefined, address },
        header: (name) => {
          const value = request.headers[name]
          return Array.isArray(value) ? value[0] : value
        },
      })
      return { namespace }
    } catch {
      return undefined
    }
  }
}

function reply(
  response: ServerResponse,
  code: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(code, { 'content-type': type }).end(body)
}
