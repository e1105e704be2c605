/** The proxy's own HTTP pages: admin (loopback only), metrics, readiness. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type Component,
  errnoOf,
  type LogControl,
  type LogLevel,
  logLevels,
  MeshError,
  toError,
} from '../base/index.ts'
import { type MetricsRegistry, serveMetrics } from '../metrics/index.ts'
import type { ListenAddress } from './config.ts'

type Page = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>

/** One address with a few pages. */
export class HttpPages implements Component {
  readonly #name: string
  readonly #address: ListenAddress
  readonly #server: Server

  constructor(name: string, address: ListenAddress, pages: ReadonlyMap<string, Page>) {
    this.#name = name
    this.#address = address
    this.#server = createServer((request, response) => {
      const url = URL.parse(request.url ?? '/', 'http://localhost')
      const page = url === null ? undefined : pages.get(url.pathname)
      if (url === null || page === undefined) return text(response, 404, 'not found\n')
      // Some pages ask the worker threads first.
      Promise.resolve(page(request, response, url)).catch((error: unknown) => {
        if (response.headersSent) response.destroy()
        else text(response, 500, `${toError(error).message}\n`)
      })
    })
  }

  async start(): Promise<void> {
    try {
      await this.#listen(this.#address.host)
    } catch (error) {
      // A machine without IPv6.
      const noV6 = this.#address.host === '::' && errnoOf(error) !== 'EADDRINUSE'
      if (!noV6) throw this.#busy(error)
      await this.#listen('0.0.0.0')
    }
  }

  async #listen(host: string): Promise<void> {
    this.#server.listen({ host, port: this.#address.port })
    await once(this.#server, 'listening')
  }

  /** For tests which ask for port 0. */
  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #busy(cause: unknown): MeshError {
    const { port } = this.#address
    return new MeshError('NODEPROXY_PORT', `the ${this.#name} port ${port} can't be opened`, {
      cause,
      hint: 'is another node proxy running in this network namespace?',
    })
  }
}

export function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(body)
}

export function metricsPages(
  collect: () => MetricsRegistry | Promise<MetricsRegistry>,
): ReadonlyMap<string, Page> {
  const page: Page = async (request, response) => {
    serveMetrics(await collect(), request, response)
  }
  return new Map([
    ['/metrics', page],
    ['/stats/prometheus', page],
  ])
}

/** @param pending names of what is not ready yet */
export function readinessPages(pending: () => readonly string[]): ReadonlyMap<string, Page> {
  return new Map([
    [
      '/healthz/ready',
      (_request, response) => {
        const waiting = pending()
        if (waiting.length === 0) text(response, 200, 'ready\n')
        else text(response, 500, `not ready, pending: ${waiting.join(', ')}\n`)
      },
    ],
  ])
}

export interface AdminOptions {
  readonly dump: () => unknown
  /** Levels were set, for those who keep levels of their own. */
  readonly onLevel: (level: LogLevel, scope: string | undefined) => void
  readonly logControl: LogControl
  readonly defaultLevel: LogLevel
  readonly quit: () => void
}

export function adminPages(options: AdminOptions): ReadonlyMap<string, Page> {
  const pages = new Map<string, Page>([
    ['/config_dump', async (_request, response) => json(response, await options.dump())],
    ['/healthz', (_request, response) => text(response, 200, 'ok\n')],
    ['/debug/pprof/profile', refuseProfile],
    ['/debug/pprof/heap', refuseProfile],
    ['/logging', (request, response, url) => setLevels(options, request, response, url)],
    [
      '/quitquitquit',
      (request, response) => {
        if (request.method !== 'POST') return text(response, 405, 'use POST\n')
        text(response, 200, 'shutting down\n')
        options.quit()
      },
    ],
  ])
  const list = [...pages.keys()].join('\n')
  pages.set('/', (_request, response) => text(response, 200, `${list}\n`))
  return pages
}

/** Istio's node proxy answers in a format of its own runtime, which this one can't make. */
const refuseProfile: Page = (_request, response) => {
  text(
    response,
    501,
    'no pprof here: start the proxy with NODE_OPTIONS=--cpu-prof or --heap-prof\n',
  )
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body, undefined, 2))
}

/** `?level=debug`, `?level=access=off...` in the form `scope:level` or `scope=level`, or `?reset`. */
function setLevels(
  { logControl, defaultLevel, onLevel }: AdminOptions,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): void {
  if (request.method !== 'POST') {
    const usage = `POST /logging?level=LEVEL or ?level=SCOPE=LEVEL, or ?reset; levels: ${logLevels.join(', ')}\n`
    return text(response, 405, usage)
  }
  const set = (level: LogLevel, scope?: string): void => {
    logControl.setLevel(level, scope)
    onLevel(level, scope)
  }
  if (url.searchParams.has('reset')) set(defaultLevel)
  for (const part of url.searchParams.get('level')?.split(',') ?? []) {
    const [, scope, name] = /^(?:(.+)[:=])?(\w+)$/.exec(part) ?? []
    const level = logLevels.find((known) => known === name)
    if (level === undefined) return text(response, 400, `"${part}" has no known level\n`)
    set(level, scope)
  }
  text(response, 200, 'ok\n')
}
