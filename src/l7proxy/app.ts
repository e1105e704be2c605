/** The L7 proxy, put together: xDS → configuration → listeners → requests. */
import type { Clock, Component, Logger } from '../base/index.ts'
import { createDeltaClient, type DeltaClient } from '../xdsclient/index.ts'
import type { L7ProxyConfig } from './config.ts'
import { ListenerManager } from './listeners.ts'
import { RequestMetrics } from './metrics.ts'
import { HttpProxy } from './proxy.ts'
import { StatusPorts } from './status.ts'
import { ConfigStore } from './store.ts'
import { UpstreamPool } from './upstream.ts'

export interface L7ProxyOptions {
  readonly config: L7ProxyConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly random: () => number
  readonly accessLog: (line: string) => void
}

export class L7Proxy implements Component {
  readonly #options: L7ProxyOptions
  readonly #listeners: ListenerManager
  readonly #pool: UpstreamPool
  readonly #client: DeltaClient
  readonly #status: StatusPorts
  readonly #store: ConfigStore
  #configured = false
  #draining = false

  constructor(options: L7ProxyOptions) {
    this.#options = options
    const { config, clock, logger, random, accessLog } = options
    const metrics = new RequestMetrics({ workload: config.workload, namespace: config.namespace })
    this.#pool = new UpstreamPool(random)
    this.#store = new ConfigStore(() => void this.#configure())
    const proxy = new HttpProxy({
      store: this.#store,
      pool: this.#pool,
      clock,
      random,
      accessLog,
      onRequest: (record) => metrics.count(record),
    })
    this.#listeners = new ListenerManager(proxy, logger)
    this.#client = createDeltaClient({
      address: config.xdsAddress,
      rootCa: config.rootCaPath,
      token: config.tokenPath,
      node: config.node,
      clusterId: config.clusterId,
      types: this.#store.types(),
      logger,
      clock,
    })
    this.#store.connect((type, name) => this.#client.demand(type, name))
    this.#status = new StatusPorts({
      readyPort: config.readyPort,
      metricsPort: config.metricsPort,
      ready: () => this.ready,
      metrics: metrics.registry,
    })
  }

  /** Configured, with every listener open, and not about to end. */
  get ready(): boolean {
    return this.#configured && !this.#draining
  }

  get ports(): ReadonlyMap<string, number> {
    return this.#listeners.ports
  }

  /** Returns when connecting has begun; `ready` tells when the configuration is there. */
  async start(): Promise<void> {
    await this.#status.start()
    await this.#client.start()
    void this.#client.ready.then(() => this.#configure())
  }

  /** Unready at once; then requests in progress finish, and everything closes. */
  async stop(deadlineMs: number = this.#options.config.drainMs): Promise<void> {
    this.#draining = true
    await this.#client.stop()
    await this.#listeners.close(deadlineMs)
    this.#pool.close()
    await this.#status.stop()
  }

  /** Opens listeners once their routes and endpoints are there: no request meets half a configuration. */
  async #configure(): Promise<void> {
    await this.#client.ready
    await this.#store.settled()
    if (this.#draining) return
    await this.#listeners.apply(this.#store.listeners)
    this.#pool.retain(this.#store.clusters)
    this.#configured = true
  }
}
