/** The composition root of the embedded Kubernetes API server: parts in start order. */
import { mkdir } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Clock, type Component, type Logger, MeshError, type Timer } from '../base/index.ts'
import { loadBuiltinSchemas } from '../schema/index.ts'
import { Admission } from './admission/admission.ts'
import { EscalationCheck } from './admission/escalation.ts'
import { NamespaceAdmission } from './admission/namespaces.ts'
import { PodAdmission } from './admission/pods.ts'
import { ServiceAdmission } from './admission/services.ts'
import { WebhookConfigurationCheck } from './admission/webhooks/configuration-check.ts'
import { dialDirectly, type WebhookDialer } from './admission/webhooks/dial.ts'
import { Webhooks } from './admission/webhooks/index.ts'
import { Api } from './api.ts'
import { ApiMetrics } from './api-metrics.ts'
import { RoleAggregation } from './auth/aggregation.ts'
import { Authenticator } from './auth/authenticate.ts'
import { type KeyPair, Pki } from './auth/pki.ts'
import { Authorizer } from './auth/rbac.ts'
import { Reviews } from './auth/reviews.ts'
import { Tokens } from './auth/tokens.ts'
import type { PodBackend } from './backend.ts'
import { bootstrap, serviceAddress } from './bootstrap.ts'
import { builtinTypes } from './builtin-types.ts'
import { Catalogue } from './catalogue.ts'
import type { VerbContext } from './context.ts'
import { DefinitionCleanup } from './definition-cleanup.ts'
import { DefinitionAdmission, Definitions } from './definitions.ts'
import { Discovery } from './discovery.ts'
import { fieldsFor } from './fields.ts'
import { Backups } from './http/backup.ts'
import { HttpServer } from './http/server.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { limits } from './limits.ts'
import { MetricsApi, metricsGroup, metricsTypes } from './metrics-api.ts'
import { OpenApi } from './openapi.ts'
import { PodStreams } from './pod-streams.ts'
import { PodProxy } from './proxy.ts'
import { ObjectStore } from './store/objects.ts'
import { SqliteStore } from './store/sqlite-store.ts'
import { normalise } from './verbs/prepare.ts'

export interface RegistryOptions {
  /** The state directory: `registry.db` and `pki/` live in it. */
  readonly dir: string
  /** The mesh's name, for the kubeconfig. */
  readonly name: string
  readonly clock: Clock
  readonly logger: Logger
  readonly backend?: PodBackend
  /** Weft's version, the build part of what `/version` answers. */
  readonly version: string
  /** Default 10.96.0.0/12. */
  readonly serviceCidr?: string
  /** More names and addresses of the serving certificate (the node's IP, for example). */
  readonly serverNames?: readonly string[]
  /** Of the serving and the administrator's certificate; default a year. */
  readonly certificateLifeMs?: number
  /** How admission webhooks are reached; default straight from this process. */
  readonly dialWebhook?: WebhookDialer
  /** A number from 0 to 1; default Math.random. */
  readonly random?: () => number
  /** Bytes of all objects together; writes beyond it get InsufficientStorage. Default 512 MB. */
  readonly stateBytesMax?: number
}

export interface Registry extends Component {
  /** Serves the connections that a listening server accepts. May be called before `start`. */
  attach(server: Server): void
  /** Who runs the pods; without one, logs and exec answer 503. */
  setBackend(backend: PodBackend): void
  /** After `start`: what clients trust. */
  readonly caCertificatePem: string
  /** After `start`: a client certificate of group system:masters. */
  readonly adminCredentials: KeyPair
  /** Writes the administrator's kubeconfig, mode 0600, in one step; again with each new certificate. */
  writeKubeconfig(path: string, serverUrl: string): Promise<void>
  /** Writes a consistent copy of the database to a new file. */
  backup(path: string): Promise<void>
}

const kubernetesMinor = '35'

const standardNames = [
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  '127.0.0.1',
]

export function createRegistry(options: RegistryOptions): Registry {
  return new EmbeddedRegistry(options)
}

class EmbeddedRegistry implements Registry {
  readonly #options: RegistryOptions
  readonly #serviceCidr: string
  readonly #pki: Pki
  readonly #store: ObjectStore
  readonly #catalogue: Catalogue
  readonly #definitions: Definitions
  readonly #services: ServiceAdmission
  readonly #webhooks: Webhooks
  readonly #roles: RoleAggregation
  readonly #context: VerbContext
  readonly #pods: PodStreams
  readonly #backups: Backups
  readonly #server: HttpServer
  #timer: Timer | undefined
  #kubeconfig: { readonly path: string; readonly serverUrl: string } | undefined
  #ready = false
  #renewing = false

  constructor(options: RegistryOptions) {
    const { clock, logger, dir, random = Math.random } = options
    this.#options = options
    this.#serviceCidr = options.serviceCidr ?? '10.96.0.0/12'
    const first = serviceAddress(this.#serviceCidr, 1)
    const names = [...standardNames, first, ...(options.serverNames ?? [])]
    const { certificateLifeMs } = options
    this.#pki = new Pki({
      dir: join(dir, 'pki'),
      clock,
      logger,
      names,
      ...(certificateLifeMs === undefined ? {} : { certificateLifeMs }),
    })
    const store = new SqliteStore(join(dir, 'registry.db'))
    this.#store = new ObjectStore({
      store,
      clock,
      logger,
      fieldsOf: (id) => fieldsFor(id),
      ...(options.stateBytesMax === undefined ? {} : { stateBytesMax: options.stateBytesMax }),
    })
    this.#catalogue = new Catalogue(builtinTypes())
    const schemas = loadBuiltinSchemas()
    this.#definitions = new Definitions(this.#store, this.#catalogue, schemas)
    this.#services = new ServiceAdmission(this.#store, this.#serviceCidr, random)
    const authorizer = new Authorizer(this.#store)
    this.#webhooks = new Webhooks({
      store: this.#store,
      catalogue: this.#catalogue,
      authorizer,
      normalise: (type, object) => normalise(schemas, type, object),
      dial: options.dialWebhook ?? dialDirectly,
      clock,
      logger,
      random,
    })
    this.#roles = new RoleAggregation({ store: this.#store, schemas, clock, logger })
    const steps = [
      new NamespaceAdmission(this.#store),
      new EscalationCheck(authorizer),
      new PodAdmission({ store: this.#store, clock, random }),
      this.#services,
      new DefinitionAdmission(this.#catalogue, () => clock.now()),
      new WebhookConfigurationCheck(),
    ]
    const admission = new Admission(steps, this.#webhooks)
    this.#context = {
      store: this.#store,
      catalogue: this.#catalogue,
      schemas,
      admission,
      authorizer,
      clock,
      logger,
      random,
      open: new Set(),
    }
    this.#pods = new PodStreams({ store: this.#store, logger, clock })
    this.#useBackend(options.backend)
    this.#backups = new Backups({ dir, make: (path) => this.#store.backup(path) })
    this.#server = this.#makeServer()
  }

  async start(): Promise<void> {
    const { dir, clock, logger } = this.#options
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await this.#store.start()
    try {
      await this.#backups.clean()
      await this.#pki.ensure()
      this.#definitions.start()
      this.#services.start()
      this.#webhooks.start()
      new DefinitionCleanup(this.#context, logger).start()
      await bootstrap({
        store: this.#store,
        catalogue: this.#catalogue,
        clock,
        serviceCidr: this.#serviceCidr,
      })
      await this.#roles.start()
      this.#server.start()
    } catch (error) {
      await this.#store.stop()
      throw error
    }
    const { certificateLifeMs = limits.certificateLifeMs } = this.#options
    // Often enough for lives shorter than usual, too.
    const periodMs = Math.min(limits.certificateCheckMs, (certificateLifeMs * limits.renewPart) / 2)
    this.#timer = clock.every(periodMs, () => void this.#renew(), { background: true })
    this.#ready = true
    logger.info('the registry is ready')
  }

  async stop(deadlineMs = 1_000): Promise<void> {
    this.#ready = false
    this.#timer?.cancel()
    for (const watch of this.#context.open) watch.end()
    await this.#server.stop(deadlineMs)
    this.#webhooks.stop()
    await this.#store.stop()
  }

  attach(server: Server): void {
    this.#server.attach(server)
  }

  setBackend(backend: PodBackend): void {
    this.#useBackend(backend)
  }

  /** Metrics are served while somebody measures. */
  #useBackend(backend: PodBackend | undefined): void {
    this.#pods.backend = backend
    if (backend?.usage === undefined) this.#catalogue.undefine(metricsGroup)
    else this.#catalogue.define(metricsGroup, metricsTypes)
  }

  get caCertificatePem(): string {
    return this.#pki.authorityPem
  }

  get adminCredentials(): KeyPair {
    return this.#pki.admin
  }

  async writeKubeconfig(path: string, serverUrl: string): Promise<void> {
    if (!this.#ready) throw new MeshError('REGISTRY_CLOSED', 'the registry has not started yet')
    this.#kubeconfig = { path, serverUrl }
    await this.#refreshKubeconfig()
  }

  backup(path: string): Promise<void> {
    return this.#store.backup(path)
  }

  async #renew(): Promise<void> {
    if (this.#renewing || !this.#pki.due) return
    this.#renewing = true
    try {
      if (!(await this.#pki.ensure())) return
      this.#server.renew()
      await this.#refreshKubeconfig()
    } catch (error) {
      this.#options.logger.error('certificates could not be renewed', { error: String(error) })
    } finally {
      this.#renewing = false
    }
  }

  async #refreshKubeconfig(): Promise<void> {
    if (this.#kubeconfig === undefined) return
    const { path, serverUrl } = this.#kubeconfig
    const { authorityPem, admin } = this.#pki
    await writeKubeconfig(path, { name: this.#options.name, serverUrl, authorityPem, admin })
  }

  #makeServer(): HttpServer {
    const { clock, logger, version } = this.#options
    const tokens = new Tokens(this.#pki, this.#store, clock)
    const api = new Api({
      context: this.#context,
      authenticator: new Authenticator(tokens),
      tokens,
      reviews: new Reviews(this.#context, tokens),
      discovery: new Discovery(this.#catalogue),
      openApi: new OpenApi(this.#catalogue, this.#context.schemas, () => clock.now()),
      pods: this.#pods,
      proxy: new PodProxy(this.#store, this.#context.random),
      podMetrics: new MetricsApi(this.#store, clock),
      metrics: new ApiMetrics({
        catalogue: this.#catalogue,
        store: this.#store,
        clock,
        version: versionInfo(version),
      }),
      backups: this.#backups,
      logger,
      version: versionInfo(version),
      ready: () => this.#ready,
    })
    return new HttpServer({
      pki: this.#pki,
      clock,
      logger,
      onRequest: (request, response) => void api.handle(request, response),
      onUpgrade: (request, socket: Duplex, head) =>
        // Upgrades exist in HTTP/1.1 only.
        void api.upgrade(request, { message: request as IncomingMessage, socket, head }),
    })
  }
}

function versionInfo(version: string): Record<string, string> {
  return {
    major: '1',
    minor: kubernetesMinor,
    gitVersion: `v1.${kubernetesMinor}.0+weft.${version}`,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: 'node',
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  }
}
