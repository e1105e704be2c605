/**
 * The control plane, put together: watches → model → translation → delta xDS, the certificate
 * authority beside it, and the controllers that write objects and status. In start order.
 */
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
  RootCertController,
  registerCertificateService,
  ServingKeeper,
  servingNames,
} from '../ca/index.ts'
import type { KubeClient } from '../client/index.ts'
import { GrpcServer } from '../grpc/index.ts'
import { InformerFeed } from '../ingest/index.ts'
import { createXdsServer, type XdsServer } from '../xds/index.ts'
import type { ControlPlaneConfig } from './config.ts'
import { debugPages } from './debug.ts'
import { GatewayClassController } from './gateway-classes.ts'
import { GatewayController } from './gateway-controller.ts'
import { HttpEndpoint } from './http.ts'
import { MeshInformers } from './informers.ts'
import { ControlPlaneMetrics } from './metrics.ts'
import { MeshSource } from './source.ts'
import { StatusWriter } from './status-writer.ts'

export interface ControlPlaneOptions {
  readonly config: ControlPlaneConfig
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  /** Default all addresses of IPv4, so that hosts without IPv6 work. */
  readonly host?: string
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
  #grpc: GrpcServer | undefined
  #ready = false

  constructor(options: ControlPlaneOptions) {
    this.#options = options
    const { config, client, clock, logger, host = '0.0.0.0' } = options
    const { settings, namespace, version } = config
    const metrics = new ControlPlaneMetrics(version)
    this.source = new MeshSource({ settings, logger: logger.child('model') })
    metrics.observe(this.source, clock.now(), () => clock.now())
    const informers = new MeshInformers({ client, clock, logger: logger.child('kube') })
    this.#informers = informers
    this.#authority = new CertificateAuthority({
      client,
      namespace,
      trustDomain: settings.trustDomain,
      clock,
      logger: logger.child('ca'),
      metrics: metrics.ca,
      ...(config.certificateTtlMs === undefined ? {} : { defaultTtlMs: config.certificateTtlMs }),
    })
    this.#authenticate = createAuthenticator({
      client,
      trustDomain: settings.trustDomain,
      logger: logger.child('auth'),
    })
    this.#xds = createXdsServer({
      source: this.source,
      authenticate: this.#authenticate,
      clock,
      logger: logger.child('ads'),
      metrics: metrics.xds,
    })
    const common = { ready: () => this.#ready, version, logger: logger.child('http') }
    this.#operator = new HttpEndpoint({
      ...common,
      host,
      port: config.httpPort,
      operator: {
        metrics: metrics.registry,
        debug: debugPages({
          source: this.source,
          xds: this.#xds,
          config: configInformers(informers),
        }),
        authenticate: this.#authenticate,
        systemNamespace: namespace,
      },
    })
    this.#readiness = new HttpEndpoint({ ...common, host: '127.0.0.1', port: config.readyPort })
    this.#parts = this.#assemble(metrics, host)
  }

  /** The bound ports; tests listen on port 0. */
  get ports(): { readonly xds: number; readonly http: number; readonly ready: number } {
    return {
      xds: this.#grpc?.ports[0] ?? 0,
      http: this.#operator.port,
      ready: this.#readiness.port,
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
    const grpc = new GrpcServer({
      listeners: [{ host, port: config.xdsPort, tls: true }],
      certificate: () => serving.current,
      logger: logger.child('grpc'),
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
    return [
      // First, so that probes get an answer while the rest waits for the API server.
      this.#operator,
      this.#readiness,
      new Persistent(authority, { clock, logger, what: 'loading the certificate authority' }),
      this.#informers,
      new InformerFeed({
        informers: this.#informers.all,
        settings: config.settings,
        logger: logger.child('ingest'),
        apply: (events) => this.source.apply(events),
      }),
      new RootCertController({
        client,
        namespaces: by.namespaces,
        authority,
        clock,
        logger: logger.child('ca'),
      }),
      serving,
      this.#xds,
      grpc,
      new GatewayClassController({ ...controllers, classes: by.gatewayClasses }),
      new GatewayController({
        ...controllers,
        gateways: by.gateways,
        classes: by.gatewayClasses,
        config,
      }),
      new StatusWriter({
        client,
        informers: this.#informers,
        source: this.source,
        clock,
        logger: logger.child('status'),
      }),
    ]
  }
}

/** Kinds that people write: what `/debug/configz` shows. */
function configInformers(informers: MeshInformers) {
  const { by } = informers
  return [
    by.serviceEntries,
    by.workloadEntries,
    by.authorizationPolicies,
    by.peerAuthentications,
    by.gatewayClasses,
    by.gateways,
    by.httpRoutes,
    by.referenceGrants,
  ]
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
