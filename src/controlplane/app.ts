/**
 * The control plane, put together: watches → model → translation → delta xDS, the certificate
 * authority beside it, and the controllers that write objects and status. In start order.
 */
import { existsSync, readFileSync } from 'node:fs'
import {
  Backoff,
  type Clock,
  type Component,
  type Logger,
  sleep,
  startAll,
  stopAll,
  toError,
} from '../base/index.ts'
import {
  type Authenticate,
  CertificateAuthority,
  createAuthenticator,
  createPodLookup,
  distributeRevocations,
  distributeRoots,
  registerCertificateService,
  ServingKeeper,
  servingNames,
} from '../ca/index.ts'
import type { KubeClient } from '../client/index.ts'
import { GrpcServer } from '../grpc/index.ts'
import { InformerFeed } from '../ingest/index.ts'
import { createXdsServer, type XdsLimits, type XdsServer } from '../xds/index.ts'
import { SecretFollower } from './ca-secrets.ts'
import type { ControlPlaneConfig } from './config.ts'
import type { XdsConfig } from './config-xds.ts'
import { debugPages } from './debug.ts'
import { controlPlaneIdentifier, debugOverXds } from './debug-xds.ts'
import { GatewayClassController } from './gateway-classes.ts'
import { GatewayController } from './gateway-controller.ts'
import { HttpEndpoint } from './http.ts'
import { MeshInformers } from './informers.ts'
import { KeySetKeeper } from './jwks.ts'
import { keySetFetcher } from './jwks-fetch.ts'
import { type LeaderTimes, leases, WhileLeading } from './leader.ts'
import { ControlPlaneMetrics, type ProcessUsage } from './metrics.ts'
import { RevisionTags } from './revisions.ts'
import { discoveryScope } from './scope.ts'
import { MeshSource } from './source.ts'
import { AddressWriter } from './status-addresses.ts'
import { StatusWriter } from './status-writer.ts'
import { MovedProxies } from './views-moved.ts'
import { secretReview } from './views-secrets.ts'
import { WebhookServer } from './webhooks.ts'
import { WebhookController } from './webhooks-controller.ts'
import { type WebhookMetrics, webhookMetrics } from './webhooks-metrics.ts'

export interface ControlPlaneOptions {
  readonly config: ControlPlaneConfig
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  /** Default all addresses of IPv4, so that hosts without IPv6 work. */
  readonly host?: string
  /** Of leader elections; default those of Kubernetes' clients. */
  readonly leaderTimes?: LeaderTimes
}

export class ControlPlane implements Component {
  readonly source: MeshSource
  readonly #options: ControlPlaneOptions
  readonly #authority: CertificateAuthority
  readonly #xds: XdsServer
  readonly #operator: HttpEndpoint
  readonly #readiness: HttpEndpoint
  readonly #informers: MeshInformers
  readonly #authenticate: Authenticate
  readonly #parts: Component[]
  #webhooks: WebhookServer | undefined
  #grpc: GrpcServer | undefined
  #plaintext: GrpcServer | undefined
  #ready = false

  constructor(options: ControlPlaneOptions) {
    this.#options = options
    const { config, client, clock, logger, host = '0.0.0.0' } = options
    const { settings, namespace, version } = config
    const metrics = new ControlPlaneMetrics(version)
    this.source = new MeshSource({
      settings,
      clock,
      logger: logger.child('model'),
      reviewSecrets: secretReview(client),
    })
    metrics.observe(this.source, {
      startedMs: clock.now(),
      nowMs: () => clock.now(),
      usage: processUsage,
    })
    const informers = new MeshInformers({ client, clock, logger: logger.child('kube') })
    this.#informers = informers
    metrics.watch('cfg', informers.custom)
    metrics.watch('reg', informers.builtin)
    this.#authority = new CertificateAuthority({
      client,
      namespace,
      trustDomain: settings.trustDomain,
      clock,
      logger: logger.child('ca'),
      metrics: metrics.ca,
      ...given({ ...caSettings(config), defaultTtlMs: config.certificateTtlMs }),
    })
    this.#authenticate = createAuthenticator({
      client,
      trustDomain: settings.trustDomain,
      audiences: config.ca.audiences,
      isRevoked: (certificate) => this.#authority.isRevoked(certificate),
      logger: logger.child('auth'),
    })
    this.#xds = createXdsServer({
      source: this.source,
      authenticate: this.#authenticate,
      clock,
      logger: logger.child('ads'),
      metrics: metrics.xds,
      limits: xdsLimits(config.xds),
      identifier: controlPlaneIdentifier(config.podName, version),
      debug: debugOverXds({
        source: this.source,
        connections: () => this.#xds.connections(),
        pages: () => pages,
        systemNamespace: namespace,
      }),
    })
    const pages = debugPages({
      source: this.source,
      xds: this.#xds,
      config: () => informers.custom,
      unsafe: config.xds.unsafeAdmin,
    })
    const common = {
      ready: () => this.#ready,
      version,
      logger: logger.child('http'),
      operator: {
        metrics: metrics.registry,
        debug: pages,
        authenticate: this.#authenticate,
        systemNamespace: namespace,
      },
    }
    this.#operator = new HttpEndpoint({ ...common, host, port: config.httpPort })
    this.#readiness = new HttpEndpoint({ ...common, host: '127.0.0.1', port: config.readyPort })
    this.#parts = this.#assemble(metrics, host)
  }

  /** The bound ports; tests listen on port 0. */
  get ports(): {
    readonly xds: number
    readonly plaintext: number | undefined
    readonly http: number
    readonly ready: number
    readonly webhooks: number
  } {
    return {
      xds: this.#grpc?.ports[0] ?? 0,
      plaintext: this.#plaintext?.ports[0],
      http: this.#operator.port,
      ready: this.#readiness.port,
      webhooks: this.#webhooks?.port ?? 0,
    }
  }

  /** What proxies must trust. */
  get rootsPem(): string {
    return this.#authority.rootsPem
  }

  async start(signal?: AbortSignal): Promise<void> {
    await startAll(this.#parts, signal)
    this.#ready = true
    this.#options.logger.info('ready', { ...this.ports, revision: this.source.revision })
  }

  /** Unready first; then streams end, so that proxies go elsewhere; watches last. */
  async stop(deadlineMs?: number): Promise<void> {
    this.#ready = false
    await stopAll(this.#parts, deadlineMs)
  }

  #assemble(metrics: ControlPlaneMetrics, host: string): Component[] {
    const { config, client, clock, logger } = this.#options
    const { by } = this.#informers
    const authority = this.#authority
    const serving = new ServingKeeper({
      authority,
      dnsNames: servingNames(config.namespace, config.revision),
      clock,
      logger: logger.child('ca'),
      ...(config.certificateTtlMs === undefined ? {} : { ttlMs: config.certificateTtlMs }),
    })
    const keepalive = {
      keepaliveTimeMs: config.xds.keepaliveIntervalMs,
      keepaliveTimeoutMs: config.xds.keepaliveTimeoutMs,
    }
    const grpc = new GrpcServer({
      listeners: [{ host, port: config.xds.securePort, tls: true }],
      certificate: () => serving.current,
      logger: logger.child('grpc'),
      ...keepalive,
    })
    this.#grpc = grpc
    this.#xds.register(grpc)
    registerCertificateService(grpc, {
      authority,
      authenticate: this.#authenticate,
      pods: createPodLookup(by.pods),
      trustDomain: config.settings.trustDomain,
      trustedNodeAccounts: config.trustedNodeAccounts,
      clock,
      logger: logger.child('ca'),
      metrics: metrics.ca,
    })
    serving.onChange((certificate) => grpc.setCertificate(certificate))
    const controllers = { client, clock, logger: logger.child('gateway') }
    const hooks = webhookMetrics(metrics.registry)
    this.#webhooks = new WebhookServer({
      host,
      port: config.webhookPort,
      serving,
      ready: () => this.#ready,
      metrics: hooks,
      logger: logger.child('webhooks'),
    })
    return [
      // First, so that probes get an answer while the rest waits for the API server.
      this.#operator,
      this.#readiness,
      new Persistent(authority, { clock, logger, what: 'loading the certificate authority' }),
      this.#informers,
      new SecretFollower({
        secrets: by.secrets,
        namespace: config.namespace,
        authority,
        logger: logger.child('ca'),
      }),
      new InformerFeed({
        informers: this.#informers.all,
        settings: config.settings,
        logger: logger.child('ingest'),
        apply: (events) => this.source.apply(events),
      }),
      serving,
      this.#webhooks,
      grpc,
      ...this.#plaintextServer(host, keepalive),
      new KeySetKeeper({
        source: this.source,
        fetch: keySetFetcher(extraRoots(config.keySets.extraRootsPath)),
        clock,
        logger: logger.child('jwks'),
        metrics: metrics.keySets,
        random: Math.random,
        refreshMs: config.keySets.refreshMs,
      }),
      // After the listeners, so that it stops before them: its streams end one by one.
      this.#xds,
      new MovedProxies(this.source, this.#xds),
      new GatewayClassController({ ...controllers, classes: by.gatewayClasses }),
      ...this.#leaderParts(hooks),
    ]
  }

  /** What only one of several control planes may do: whatever writes objects and status. */
  #leaderParts(hooks: WebhookMetrics): Component[] {
    const { config, client, clock, logger, leaderTimes: times } = this.#options
    const { namespace, revision, ca } = config
    const { serviceEntries, namespaces } = this.#informers.by
    const authority = this.#authority
    const shared = { client, clock, informers: this.#informers, source: this.source }
    const leading = (name: string, ...parts: Component[]): Component =>
      new WhileLeading({
        client,
        namespace,
        name,
        identity: config.podName,
        preferred: revision === 'default',
        ...(times && { times }),
        clock,
        logger: logger.child('leader'),
        parts,
      })
    const scope = discoveryScope(this.source)
    const tags = new RevisionTags({ client, clock, logger: logger.child('tags') })
    const documents = { client, clock, namespaces, scope, authority, logger: logger.child('ca') }
    return [
      tags,
      leading(
        leases.namespaces,
        distributeRoots({ ...documents, configMapName: ca.rootConfigMap }),
        ...(ca.revocations ? [distributeRevocations(documents)] : []),
      ),
      leading(
        leases.validation(revision),
        new WebhookController({
          ...documents,
          namespace,
          revision,
          metrics: hooks,
          logger: logger.child('webhooks'),
        }),
      ),
      leading(
        leases.gatewayDeployment(revision),
        new GatewayController({ ...shared, config, tags, logger: logger.child('gateway') }),
      ),
      leading(
        leases.addresses,
        new AddressWriter({ ...shared, serviceEntries, logger: logger.child('addresses') }),
      ),
      leading(leases.status, new StatusWriter({ ...shared, logger: logger.child('status') })),
    ]
  }

  /** Port 15010, off unless asked for: whoever reaches it gets configuration, but no secrets and no certificates. */
  #plaintextServer(
    host: string,
    keepalive: { readonly keepaliveTimeMs: number; readonly keepaliveTimeoutMs: number },
  ): GrpcServer[] {
    const { config, logger } = this.#options
    const { plaintextPort: port } = config.xds
    if (port === undefined) return []
    const server = new GrpcServer({
      listeners: [{ host, port, tls: false }],
      logger: logger.child('grpc'),
      ...keepalive,
    })
    this.#xds.register(server, async () => ({ identity: undefined }))
    this.#plaintext = server
    return [server]
  }
}

/** Authorities that an operator mounted for key sets of his own; the file may be missing. */
function extraRoots(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

/** Of the authority, as far as they are set. */
function caSettings({ ca }: ControlPlaneConfig) {
  const { maxTtlMs, rootTtlMs, rotationCheckMs, rotationGracePart, rsaBits, selfSignedName } = ca
  return { maxTtlMs, rootTtlMs, rotationCheckMs, rotationGracePart, rsaBits, selfSignedName }
}

/** Without the fields that are undefined. */
function given<T extends object>(settings: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(settings).filter(([, value]) => value !== undefined)
  // The same fields, fewer of them.
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}

function xdsLimits(config: XdsConfig): Partial<XdsLimits> {
  const { debounceQuietMs, debounceMaxMs, connectionAgeMs, connectionsPerSecond, pushesMax } =
    config
  return {
    debounceQuietMs,
    debounceMaxMs,
    connectionAgeMs,
    ...(connectionsPerSecond === undefined ? {} : { connectionsPerSecond }),
    ...(pushesMax === undefined ? {} : { pushesMax }),
  }
}

function processUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage()
  return { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss() }
}

interface PersistentOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly what: string
}

/** Starts a part again and again until it works: the API server may come up after us. */
class Persistent implements Component {
  readonly #part: Component
  readonly #options: PersistentOptions

  constructor(part: Component, options: PersistentOptions) {
    this.#part = part
    this.#options = options
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { clock, logger, what } = this.#options
    const backoff = new Backoff({ initialMs: 100, maxMs: 5_000 })
    for (;;) {
      try {
        await this.#part.start(signal)
        return
      } catch (error) {
        if (signal?.aborted === true) throw error
        logger.warn(`${what} failed; trying again`, { error: toError(error).message })
        await sleep(clock, backoff.next(), signal)
      }
    }
  }

  stop(deadlineMs?: number): Promise<void> {
    return this.#part.stop(deadlineMs)
  }
}
