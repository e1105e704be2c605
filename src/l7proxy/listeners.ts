/** Opens and closes sockets as listeners come and go; requests in progress finish. */
import { createServer, type Server } from 'node:http'
import { type Logger, toError } from '../base/index.ts'
import { limits } from './limits.ts'
import type { HttpProxy } from './proxy.ts'
import type { ListenerConfig } from './types.ts'

interface Bound {
  /** Read for each request: a change of anything but the address needs no new socket. */
  config: ListenerConfig
  readonly server: Server
}

export class ListenerManager {
  readonly #proxy: HttpProxy
  readonly #logger: Logger
  readonly #bound = new Map<string, Bound>()
  #pending: Promise<void> = Promise.resolve()

  constructor(proxy: HttpProxy, logger: Logger) {
    this.#proxy = proxy
    this.#logger = logger
  }

  /** Makes the open sockets those of the configuration; resolves when they are. */
  apply(wanted: ReadonlyMap<string, ListenerConfig>): Promise<void> {
    const target = new Map(wanted)
    this.#pending = this.#pending.then(() => this.#apply(target))
    return this.#pending
  }

  /** The bound ports by listener name; tests listen on port 0. */
  get ports(): ReadonlyMap<string, number> {
    const ports = new Map<string, number>()
    for (const [name, { server }] of this.#bound) {
      const address = server.address()
      if (typeof address === 'object' && address !== null) ports.set(name, address.port)
    }
    return ports
  }

  async #apply(wanted: ReadonlyMap<string, ListenerConfig>): Promise<void> {
    for (const [name, bound] of this.#bound) {
      const next = wanted.get(name)
      const stays =
        next !== undefined &&
        next.address === bound.config.address &&
        next.port === bound.config.port
      if (stays) bound.config = next
      else {
        this.#bound.delete(name)
        void release(bound.server)
        this.#logger.info('listener closed', { listener: name })
      }
    }
    for (const [name, config] of wanted) {
      if (this.#bound.has(name)) continue
      try {
        this.#bound.set(name, await this.#open(config))
        this.#logger.info('listener open', { listener: name, port: config.port })
      } catch (error) {
        const hint =
          config.port < 1024 ? ' (ports below 1024 need net.ipv4.ip_unprivileged_port_start=0)' : ''
        this.#logger.error(`can't listen on ${config.address}:${config.port}${hint}`, {
          listener: name,
          error: toError(error).message,
        })
      }
    }
  }

  #open(config: ListenerConfig): Promise<Bound> {
    const server = createServer({
      maxHeaderSize: limits.headerBytesMax,
      keepAliveTimeout: limits.downstreamIdleMs,
      headersTimeout: limits.headersTimeoutMs,
      // Bodies may take their time; the route's timeout and the idle timeout judge them.
      requestTimeout: 0,
      noDelay: true,
      // A request with both lengths, or a malformed one, is refused by the parser.
      insecureHTTPParser: false,
      // An offer of HTTP/2 in clear text is not taken up; the request goes on as HTTP/1.1.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() !== 'h2c',
    })
    const bound: Bound = { config, server }
    server.on('request', (request, response) => this.#proxy.handle(request, response, bound.config))
    server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      this.#proxy.upgrade(request, socket, head, bound.config)
    })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port: config.port, host: config.address }, () => resolve(bound))
    })
  }

  /** Stops accepting; waits for requests in progress, at most `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    await this.#pending
    const servers = [...this.#bound.values()].map(({ server }) => server)
    this.#bound.clear()
    const closed = Promise.all(servers.map((server) => release(server)))
    const timer = setTimeout(() => {
      for (const server of servers) server.closeAllConnections()
    }, deadlineMs)
    await closed
    clearTimeout(timer)
  }
}

function release(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}
