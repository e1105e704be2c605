/**
 * The node proxy: composition in start order. Its parts know each other only through what is passed
 * here; `main.ts` adds the process around it.
 */
import {
  type Clock,
  type Component,
  type LogControl,
  type Logger,
  sleep,
  startAll,
  stopAll,
} from '../base/index.ts'
import type { NameServer } from '../dns/index.ts'
import {
  type CaClient,
  CertificateManager,
  type CertificateSource,
  createCaClient,
  Revocations,
} from '../identity/index.ts'
import { MetricsRegistry } from '../metrics/index.ts'
import { typeUrl } from '../proto/index.ts'
import { AccessLog, TrafficMetrics } from '../telemetry/index.ts'
import type { DeltaClient } from '../xdsclient/index.ts'
import { ZdsClient } from '../zds/index.ts'
import type { ProxyConfig } from './config.ts'
import { dumpConfig, dumpConnections, type PodDump } from './config-dump.ts'
import { ConnectionManager } from './connections.ts'
import { connectControlPlane } from './control-plane.ts'
import { DnsMetrics } from './dns/metrics.ts'
import { readNameServers } from './dns/upstream.ts'
import { adminPages, HttpPages, metricsPages, readinessPages } from './http-servers.ts'
import { drainLingerMs, seriesExpiryMs } from './limits.ts'
import { OnDemand } from './on-demand.ts'
import type { ProxyParts } from './pod.ts'
import { Pods } from './pods.ts'
import { registerConnectionMetrics, registerProcessMetrics } from './process-metrics.ts'
import { CrlFile, RevocationGuard } from './revocation-guard.ts'
import { Store } from './state/store.ts'
import { WorkerSupervisor } from './workers/supervisor.ts'

export interface NodeProxyOptions {
  readonly config: ProxyConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly logControl: LogControl
  /** Who signs certificates; default the authority that the configuration names. */
  readonly authority?: CertificateSource
  /** Where names outside the mesh are asked for; default /etc/resolv.conf, read at each question. */
  readonly nameServers?: () => readonly NameServer[]
  /** Takes lines of the access log. */
  readonly write: (line: string) => void
  readonly random: () => number
  /** Someone asked the admin page to quit, or the agent broke its protocol. */
  readonly onQuit: (exitCode: number) => void
}

export class NodeProxy implements Component {
  readonly store = new Store()
  readonly metrics = new MetricsRegistry()
  /** Those of the main thread; with workers, theirs are their own. */
  readonly connections = new ConnectionManager()
  readonly revocations = new Revocations()
  readonly pods: Pods | WorkerSupervisor
  readonly #options: NodeProxyOptions
  readonly #certificates: CertificateManager
  readonly #caClient: CaClient | undefined
  readonly #xds: DeltaClient | undefined
  readonly #parts: Component[]
  readonly #pending = new Set<string>()

  constructor(options: NodeProxyOptions) {
    const { config, clock, logger } = options
    this.#options = options
    this.#caClient = options.authority === undefined ? makeCaClient(config) : undefined
    this.#certificates = new CertificateManager({
      source: options.authority ?? this.#caClient ?? noAuthority,
      clock,
      logger: logger.child('identity'),
      ...(config.secretTtlMs === undefined ? {} : { ttlMs: config.secretTtlMs }),
    })
    this.pods = config.workers > 1 ? this.#makeWorkers() : this.#makePods()
    this.#xds = this.#makeXds()
    registerProcessMetrics(this.metrics)
    this.#parts = this.#compose()
  }

  #makePods(): Pods {
    const { config, clock, logger, random, write } = this.#options
    const clusterId = config.clusterId
    const ask = (name: string): Promise<void> => this.#demand(name)
    const proxyParts: ProxyParts = {
      store: this.store,
      certificates: this.#certificates,
      revocations: new RevocationGuard(this.revocations, this.metrics),
      connections: this.connections,
      metrics: new TrafficMetrics(this.metrics),
      accessLog: new AccessLog({
        logger: logger.child('access'),
        write,
        now: () => clock.now(),
        format: config.logFormat,
      }),
      clock,
      logger,
      random,
      originalSource: config.originalSource,
      localhostTunnel: config.localhostTunnel,
      http2: config.http2,
      onDemand: config.onDemand
        ? new OnDemand({ store: this.store, clock, clusterId, ask })
        : undefined,
      dns: config.dns.capture
        ? {
            ...config.dns,
            nameServers: this.#options.nameServers ?? readNameServers,
            metrics: new DnsMetrics(this.metrics),
          }
        : undefined,
    }
    this.store.onChange((change) => this.connections.onStoreChange(change))
    registerConnectionMetrics(this.metrics, this.connections)
    return new Pods(proxyParts, this.metrics)
  }

  #makeWorkers(): WorkerSupervisor {
    const { config, clock, logger, write } = this.#options
    const { logFormat, logLevel, logLevels, originalSource, localhostTunnel, http2, dns } = config
    const onDemand = config.onDemand ? config.clusterId : undefined
    return new WorkerSupervisor({
      count: config.workers,
      settings: {
        logFormat,
        logLevel,
        logLevels,
        originalSource,
        localhostTunnel,
        http2,
        onDemand,
        dns,
      },
      certificates: this.#certificates,
      revocations: this.revocations,
      registry: this.metrics,
      demand: (name) => this.#demand(name),
      clock,
      logger,
      write,
    })
  }

  #demand(name: string): Promise<void> {
    return this.#xds?.demand(typeUrl.address, name) ?? Promise.resolve()
  }

  #makeXds(): DeltaClient | undefined {
    const { config, clock, logger } = this.#options
    if (config.xdsAddress === undefined) return undefined
    return connectControlPlane({
      address: config.xdsAddress,
      config,
      store: this.store,
      metrics: this.metrics,
      follower: this.pods instanceof WorkerSupervisor ? this.pods : undefined,
      logger: logger.child('xds'),
      clock,
    })
  }

  /** Pages first, so that readiness can be asked from the beginning; then state; then pods. */
  #compose(): Component[] {
    const { config, clock, logger } = this.#options
    const { pods, revocations } = this
    const collect = (): MetricsRegistry | Promise<MetricsRegistry> =>
      pods instanceof WorkerSupervisor ? pods.metrics() : this.metrics
    const pending = (): string[] => this.#pendingNames()
    const parts: Component[] = [
      new HttpPages('metrics', config.metricsAddress, metricsPages(collect)),
      new HttpPages('readiness', config.readinessAddress, readinessPages(pending)),
      new HttpPages('admin', config.adminAddress, this.#adminPages()),
      this.#certificates,
    ]
    if (config.crlPath !== undefined) {
      const crl = { path: config.crlPath, revocations, clock, logger: logger.child('crl') }
      parts.push(new CrlFile(crl))
    }
    if (pods instanceof WorkerSupervisor) parts.push(pods)
    let stateKnown = Promise.resolve()
    if (this.#xds !== undefined) {
      this.#pending.add('state manager')
      stateKnown = this.#xds.ready.then(() => void this.#pending.delete('state manager'))
      parts.push(this.#xds)
    }
    const zds = new ZdsClient({
      path: config.zdsPath,
      handler: pods,
      logger: logger.child('zds'),
      clock,
      onViolation: () => this.#options.onQuit(1),
    })
    parts.push(startAfter(stateKnown, zds))
    return parts
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { clock } = this.#options
    await startAll(this.#parts, signal)
    clock.every(seriesExpiryMs, () => this.metrics.expire(), { background: true })
  }

  /**
   * Drains: listeners go at once, so that a successor takes over; connections may finish until the
   * deadline.
   */
  async stop(deadlineMs = this.#options.config.terminationGraceMs): Promise<void> {
    const { clock, logger } = this.#options
    this.pods.drain()
    const end = clock.monotonic() + deadlineMs
    const open = await this.#openConnections()
    if (open > 0) logger.info('waiting for connections', { open, deadlineMs })
    const lingerEnd = Math.min(end, clock.monotonic() + drainLingerMs)
    while (clock.monotonic() < end) {
      if (clock.monotonic() >= lingerEnd && (await this.#openConnections()) === 0) break
      await sleep(clock, 50)
    }
    this.pods.close('the proxy is shutting down')
    this.connections.closeAll('the proxy is shutting down')
    await stopAll(this.#parts)
    this.#caClient?.close()
  }

  async #openConnections(): Promise<number> {
    return this.pods instanceof WorkerSupervisor
      ? this.pods.openConnections()
      : this.connections.size
  }

  #pendingNames(): string[] {
    const pods = this.pods.pendingReason
    return pods === undefined ? [...this.#pending] : [...this.#pending, pods]
  }

  async #dumpPods(): Promise<PodDump[]> {
    if (this.pods instanceof WorkerSupervisor) return this.pods.dump()
    return Array.from(this.pods.proxies(), ({ pod: { uid, info } }) => {
      return { uid, info, connections: dumpConnections(this.connections.of(uid)) }
    })
  }

  #adminPages(): ReturnType<typeof adminPages> {
    const { config, logControl, onQuit } = this.#options
    const { headers: _secret, token: _token, ...shown } = config
    const { pods } = this
    return adminPages({
      dump: async () =>
        dumpConfig({
          store: this.store,
          identities: this.#certificates.snapshot(),
          pods: await this.#dumpPods(),
          config: { ...shown, logLevels: Object.fromEntries(config.logLevels) },
          version: { version: 'weft', rustVersion: '', istioVersion: '' },
        }),
      logControl,
      defaultLevel: config.logLevel,
      onLevel(level, scope) {
        if (pods instanceof WorkerSupervisor) pods.setLevel(level, scope)
      },
      quit: () => onQuit(0),
    })
  }
}

/**
 * The agent is asked for pods only when workloads and policies are known: listeners that open earlier
 * would take connections from a predecessor which could serve them, or judge by policies not complete.
 */
function startAfter(condition: Promise<void>, part: Component): Component {
  let stopped = false
  return {
    async start() {
      void condition.then(() => (stopped ? undefined : part.start()))
    },
    async stop() {
      stopped = true
      await part.stop()
    },
  }
}

function makeCaClient(config: ProxyConfig): CaClient | undefined {
  const { caAddress, caServerName } = config
  if (caAddress === undefined) return undefined
  return createCaClient({
    address: caAddress,
    ...(caServerName === undefined ? {} : { serverName: caServerName }),
    rootCa: config.caRoot,
    token: config.token,
    clusterId: config.clusterId,
    headers: config.headers.ca,
  })
}

const noAuthority: CertificateSource = {
  request() {
    return Promise.reject(new Error('no certificate authority is configured (CA_ADDRESS)'))
  },
}
