/** Readiness on 15021 and metrics on 15020. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { Component } from '../base/index.ts'
import { type MetricsRegistry, serveMetrics } from '../metrics/index.ts'

export interface StatusOptions {
  readonly readyPort: number
  readonly metricsPort: number
  readonly ready: () => boolean
  readonly metrics: MetricsRegistry
}

export class StatusPorts implements Component {
  readonly #options: StatusOptions
  #servers: Server[] = []

  constructor(options: StatusOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { readyPort, metricsPort, ready, metrics } = this.#options
    const readiness = createServer((request, response) => {
      if (request.url?.split('?')[0] !== '/healthz/ready') return plain(response, 404)
      return plain(response, ready() ? 200 : 503)
    })
    const scrape = createServer((request, response) => {
      const path = request.url?.split('?')[0]
      if (path === '/stats/prometheus' || path === '/metrics') {
        return serveMetrics(metrics, request, response)
      }
      return plain(response, 404)
    })
    this.#servers = [await listen(readiness, readyPort), await listen(scrape, metricsPort)]
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}

function plain(response: ServerResponse, code: number): void {
  response.writeHead(code, { 'content-length': 0 }).end()
}

function listen(server: Server, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => resolve(server))
  })
}
