/**
 * The node proxy: composition in start order. Its parts know each other only through what is passed
 * here; `main.ts` adds the process around it.
 */
import { readdirSync } from 'node:fs'
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
} from '../identity/index.ts'
import { MetricsRegistry } from '../metrics/index.ts'
import { AccessLog, TrafficMetrics } from '../telemetry/index.ts'
import { ZdsClient } from '../zds/index.ts'
import type { ProxyConfig } from './config.ts'
import { dumpConfig } from './config-dump.ts'
import { ConnectionManager } from './connections.ts'
import { connectControlPlane } from './control-plane.ts'
import { DnsMetrics } from './dns/metrics.ts'
import { readNameServers } from './dns/upstream.ts'
import { adminPages, HttpPages, metricsPages, readinessPages } from './http-servers.ts'
import { seriesExpiryMs } from './limits.ts'
import type { ProxyParts } from './pod.ts'
import { Pods } from './pods.ts'
import { Store } from './state/store.ts'

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
  readonly connections = new ConnectionManager()
  readonly pods: Pods
  readonly #options: NodeProxyOptions
  readonly #certificates: CertificateManager
  readonly #caClient: CaClient | undefined
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
    const proxyParts: ProxyParts = {
      store: this.store,
      certificates: this.#certificates,
      connections: this.connections,
      metrics: new TrafficMetrics(this.metrics),
      accessLog: new AccessLog({
        logger: logger.child('access'),
        write: options.write,
        now: () => clock.now(),
        format: config.logFormat,
      }),
      clock,
      logger,
      random: options.random,
      originalSource: config.originalSource,
      localhostTunnel: config.localhostTunnel,
      dns: config.dns.capture
        ? {
            ...config.dns,
            nameServers: options.nameServers ?? readNameServers,
            metrics: new DnsMetrics(this.metrics),
          }
        : undefined,
    }
    this.pods = new Pods(proxyParts, this.metrics)
    this.store.onChange((change) => this.connections.onStoreChange(change))
    registerProcessMetrics(this.metrics, this.connections)
    this.#parts = this.#compose()
  }

  /** Pages first, so that readiness can be asked from the beginning; then state; then pods. */
  #compose(): Component[] {
    const { config, clock, logger } = this.#options
    const parts: Component[] = [
      new HttpPages('metrics', config.metricsAddress, metricsPages(this.metrics)),
      new HttpPages(
        'readiness',
        config.readinessAddress,
        readinessPages(() => this.#pendingNames()),
      ),
      new HttpPages('admin', config.adminAddress, this.#adminPages()),
      this.#certificates,
    ]
    if (config.xdsAddress !== undefined) {
      const client = connectControlPlane({
        address: config.xdsAddress,
        config,
        store: this.store,
        logger: logger.child('xds'),
        clock,
      })
      this.#pending.add('state manager')
      void client.ready.then(() => this.#pending.delete('state manager'))
      parts.push(client)
    }
    parts.push(
      new ZdsClient({
        path: config.zdsPath,
        handler: this.pods,
        logger: logger.child('zds'),
        clock,
        onViolation: () => this.#options.onQuit(1),
      }),
    )
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
    if (this.connections.size > 0) {
      logger.info('waiting for connections', { open: this.connections.size, deadlineMs })
    }
    while (this.connections.size > 0 && clock.monotonic() < end) await sleep(clock, 50)
    this.pods.close()
    this.connections.closeAll('the proxy is shutting down')
    await stopAll(this.#parts)
    this.#caClient?.close()
  }

  #pendingNames(): string[] {
    const pods = this.pods.pendingReason
    return pods === undefined ? [...this.#pending] : [...this.#pending, pods]
  }

  #adminPages(): ReturnType<typeof adminPages> {
    const { config, logControl, onQuit } = this.#options
    const { headers: _secret, token: _token, ...shown } = config
    return adminPages({
      dump: () =>
        dumpConfig({
          store: this.store,
          identities: this.#certificates.snapshot(),
          pods: [...this.pods.proxies()].map((proxy) => proxy.pod),
          config: { ...shown, logLevels: Object.fromEntries(config.logLevels) },
          version: { version: 'weft', rustVersion: '', istioVersion: '' },
        }),
      logControl,
      defaultLevel: config.logLevel,
      quit: () => onQuit(0),
    })
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

function registerProcessMetrics(metrics: MetricsRegistry, connections: ConnectionManager): void {
  metrics
    .gauge('istio_build', 'The build of this component.', {
      labels: ['component', 'tag'],
      expires: false,
    })
    .child('ztunnel', 'weft')
    .set(1)
  const sockets = metrics.gauge('istio_tcp_sockets_open', 'Connections under way.', {
    labels: ['reporter'],
    expires: false,
  })
  const outbound = sockets.child('source')
  const inbound = sockets.child('destination')
  const files = metrics.gauge('process_open_fds', 'Open file descriptors.').child()
  const memory = metrics.gauge('process_resident_memory_bytes', 'Resident memory.').child()
  metrics.onCollect(() => {
    const open = connections.countByDirection()
    outbound.set(open.outbound)
    inbound.set(open.inbound)
    memory.set(process.memoryUsage.rss())
    try {
      files.set(readdirSync('/proc/self/fd').length)
    } catch {
      // No /proc: the gauge stays at its last value.
    }
  })
}
