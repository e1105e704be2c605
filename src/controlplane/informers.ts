/**
 * One informer for each kind the mesh reads. Kinds of the API server itself must be there; kinds
 * from CRDs may be missing (no Gateway API on the cluster): those are not waited for, and appear
 * when their CRD does.
 */
import { type Clock, type Component, type Logger, sleep, toError } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient } from '../client/index.ts'
import { slimObject } from '../ingest/index.ts'
import { type GroupVersionResource, isApiError, resources } from '../kube/index.ts'

const builtin = {
  pods: resources.pods,
  services: resources.services,
  endpointSlices: resources.endpointslices,
  namespaces: resources.namespaces,
  nodes: resources.nodes,
  secrets: resources.secrets,
  configMaps: resources.configmaps,
} as const

const custom = {
  serviceEntries: resources.serviceentries,
  workloadEntries: resources.workloadentries,
  authorizationPolicies: resources.authorizationpolicies,
  peerAuthentications: resources.peerauthentications,
  gatewayClasses: resources.gatewayclasses,
  gateways: resources.gateways,
  httpRoutes: resources.httproutes,
  workloadGroups: resources.workloadgroups,
  virtualServices: resources.virtualservices,
  destinationRules: resources.destinationrules,
  istioGateways: resources.istiogateways,
  sidecars: resources.sidecars,
  envoyFilters: resources.envoyfilters,
  proxyConfigs: resources.proxyconfigs,
  requestAuthentications: resources.requestauthentications,
  telemetries: resources.telemetries,
  wasmPlugins: resources.wasmplugins,
  trafficExtensions: resources.trafficextensions,
  grpcRoutes: resources.grpcroutes,
  tlsRoutes: resources.tlsroutes,
  tcpRoutes: resources.tcproutes,
  listenerSets: resources.listenersets,
  backendTlsPolicies: resources.backendtlspolicies,
  referenceGrants: resources.referencegrants,
} as const

const probePeriodMs = 500

type Name = keyof typeof builtin | keyof typeof custom

export interface MeshInformersOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
}

export class MeshInformers implements Component {
  readonly by: Readonly<Record<Name, Informer>>
  readonly #options: MeshInformersOptions
  readonly #abort = new AbortController()

  constructor(options: MeshInformersOptions) {
    this.#options = options
    const { client, clock, logger } = options
    const make = (gvr: GroupVersionResource): Informer =>
      createInformer({ client, gvr, clock, logger, transform: slimObject })
    const all: [string, GroupVersionResource][] = [
      ...Object.entries(builtin),
      ...Object.entries(custom),
    ]
    // The keys are exactly those of the two tables.
    this.by = Object.fromEntries(all.map(([name, gvr]) => [name, make(gvr)])) as Record<
      Name,
      Informer
    >
  }

  get all(): readonly Informer[] {
    return Object.values(this.by)
  }

  /** Of the API server's own kinds. */
  get builtin(): readonly Informer[] {
    return Object.entries(this.by).flatMap(([name, informer]) =>
      Object.hasOwn(builtin, name) ? [informer] : [],
    )
  }

  /** Of the kinds that people configure the mesh with. */
  get custom(): readonly Informer[] {
    return Object.entries(this.by).flatMap(([name, informer]) =>
      Object.hasOwn(custom, name) ? [informer] : [],
    )
  }

  /** Returns when everything that exists on the server is in the caches. */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.addEventListener('abort', () => this.#abort.abort(signal.reason), { once: true })
    const waiting: Promise<void>[] = []
    const entries: [string, Informer][] = Object.entries(this.by)
    const optional: ReadonlyMap<string, GroupVersionResource> = new Map(Object.entries(custom))
    for (const [name, informer] of entries) {
      const started = informer.start(this.#abort.signal)
      const gvr = optional.get(name)
      waiting.push(
        gvr === undefined ? started : Promise.race([started, this.#untilMissing(gvr, informer)]),
      )
      started.catch(() => {})
    }
    await Promise.all(waiting)
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await Promise.all(this.all.map((informer) => informer.stop()))
  }

  /** Resolves when the server says that it does not know the resource. */
  async #untilMissing(gvr: GroupVersionResource, informer: Informer): Promise<void> {
    const { client, clock, logger } = this.#options
    const { signal } = this.#abort
    while (!signal.aborted && !informer.synced) {
      try {
        await client.list(gvr, { limit: 1 })
      } catch (error) {
        if (isApiError(error, 'NotFound')) {
          logger.info(`${gvr.resource}.${gvr.group} is not installed; going on without`)
          return
        }
        logger.debug(`asking for ${gvr.resource} failed`, { error: toError(error).message })
      }
      await sleep(clock, probePeriodMs, signal).catch(() => {})
    }
  }
}
