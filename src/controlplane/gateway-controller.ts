/**
 * Deploys Gateways of class `istio` and waypoints: a ServiceAccount, a Deployment and a Service for each, and
 * what overlays ask for besides. What others change of the fields that are ours comes back; what is ours goes
 * with its Gateway, by owner references.
 */
import { type Clock, type Component, type Logger, MeshError } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../kube/index.ts'
import { networkOf } from '../model/index.ts'
import {
  attachRoutes,
  gatewayController,
  isManaged,
  meshController,
  Reader,
} from '../translate/index.ts'
import { Applier } from './apply.ts'
import type { ControlPlaneConfig } from './config.ts'
import {
  type GatewayObject,
  gatewayNameLabel,
  type ListenerPort,
  managedLabel,
  type TemplateInput,
} from './gateway-input.ts'
import {
  classDefaultsLabel,
  hasOverlay,
  type Overlay,
  type OverlayKey,
  overlayKinds,
  withOverlays,
} from './gateway-overlays.ts'
import { deployedObjects, optionalObjects } from './gateway-template.ts'
import type { MeshInformers } from './informers.ts'
import type { RevisionTags } from './revisions.ts'
import type { MeshSource } from './source.ts'

export interface GatewayControllerOptions {
  readonly client: KubeClient
  readonly informers: MeshInformers
  readonly source: MeshSource
  readonly config: ControlPlaneConfig
  /** What tags of revisions stand for; none: only names of revisions count. */
  readonly tags?: Pick<RevisionTags, 'resolve' | 'onChange'>
  readonly clock: Clock
  readonly logger: Logger
}

const versionAnnotation = 'gateway.istio.io/controller-version'
const controllerVersion = 5
const revisionLabel = 'istio.io/rev'

const deployedControllers: ReadonlySet<string> = new Set([gatewayController, meshController])

const overlaid: Readonly<Record<OverlayKey, GroupVersionResource>> = {
  serviceAccount: resources.serviceaccounts,
  deployment: resources.deployments,
  service: resources.services,
  horizontalPodAutoscaler: resources.horizontalpodautoscalers,
  podDisruptionBudget: resources.poddisruptionbudgets,
}

export class GatewayController implements Component {
  readonly #options: GatewayControllerOptions
  readonly #queue: WorkQueue
  readonly #applier: Applier
  #removers: (() => void)[] = []
  /** Of our own objects only, to see what others do to them. */
  #own: ReadonlyMap<GroupVersionResource, Informer> = new Map()
  /** Which optional objects there are, by Gateway; they go when their overlay does. */
  readonly #optional = new Map<string, ReadonlySet<OverlayKey>>()

  constructor(options: GatewayControllerOptions) {
    this.#options = options
    const { client, clock, logger } = options
    this.#applier = new Applier({ client, fieldManager: gatewayController, managedLabel })
    this.#queue = new WorkQueue({
      name: 'gateway deployments',
      work: (key) => this.#reconcile(key),
      clock,
      logger,
      concurrency: 2,
    })
  }

  async start(): Promise<void> {
    const { client, clock, logger, informers, source, tags } = this.#options
    this.#applier.forget()
    const make = (gvr: GroupVersionResource): [GroupVersionResource, Informer] => [
      gvr,
      createInformer({ client, gvr, clock, logger, labelSelector: gatewayNameLabel }),
    ]
    this.#own = new Map([make(resources.deployments), make(resources.serviceaccounts)])
    const { gateways, gatewayClasses, namespaces, configMaps, services } = informers.by
    const enqueue = ({ metadata }: KubeObject): void =>
      this.#queue.add(`${metadata.namespace ?? ''}/${metadata.name}`)
    const enqueueAll = (): void => gateways.list().forEach(enqueue)
    const ownerOf = ({ metadata }: KubeObject): void => {
      const name = metadata.labels?.[gatewayNameLabel]
      if (name !== undefined) this.#queue.add(`${metadata.namespace ?? ''}/${name}`)
    }
    const owned = { added: ownerOf, updated: ownerOf, deleted: ownerOf }
    const parameters = (object: KubeObject): void => this.#enqueueUsers(object)
    this.#removers = [
      gateways.on({
        added: enqueue,
        updated: enqueue,
        deleted: ({ metadata }) =>
          void this.#optional.delete(`${metadata.namespace ?? ''}/${metadata.name}`),
      }),
      gatewayClasses.on({ added: enqueueAll, updated: enqueueAll }),
      ...(tags === undefined ? [] : [tags.onChange(enqueueAll)]),
      namespaces.on({
        updated: ({ metadata }) => {
          for (const gateway of gateways.list()) {
            if (gateway.metadata.namespace === metadata.name) enqueue(gateway)
          }
        },
      }),
      configMaps.on({ added: parameters, updated: parameters, deleted: parameters }),
      services.on(owned),
      ...[...this.#own.values()].map((informer) => informer.on(owned)),
      // Listeners of ListenerSets are ports of the Gateway's Service; MeshConfig says how proxies are started.
      source.onMeshChange(({ touched }) => {
        if (touched.mesh) enqueueAll()
        for (const key of touched.gateways) if (gateways.get(key)) this.#queue.add(key)
      }),
    ]
    // Rejections tell of an end; the informers go on trying by themselves.
    for (const informer of this.#own.values()) informer.start().catch(() => {})
    await this.#queue.start()
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
    await Promise.all([...this.#own.values()].map((informer) => informer.stop()))
  }

  /** Gateways that take overlays from a ConfigMap. */
  #enqueueUsers({ metadata }: KubeObject): void {
    const { informers, config } = this.#options
    const className = metadata.labels?.[classDefaultsLabel]
    const isDefault =
      className !== undefined && metadata.namespace === config.settings.rootNamespace
    for (const gateway of informers.by.gateways.list() as GatewayObject[]) {
      const reference = gateway.spec?.infrastructure?.parametersRef
      const isNamed =
        reference?.name === metadata.name && gateway.metadata.namespace === metadata.namespace
      if (isNamed || (isDefault && gateway.spec?.gatewayClassName === className)) {
        this.#queue.add(`${gateway.metadata.namespace ?? ''}/${gateway.metadata.name}`)
      }
    }
  }

  async #reconcile(key: string): Promise<void> {
    const { informers, logger } = this.#options
    // The informer of gateways.
    const gateway = informers.by.gateways.get(key) as GatewayObject | undefined
    const controller = gateway === undefined ? undefined : this.#controllerOf(gateway)
    if (gateway === undefined || controller === undefined) return
    const input = this.#inputOf(key, gateway, controller)
    if (input === undefined) return
    const overlays = this.#overlaysOf(gateway)
    if (overlays === undefined) return
    try {
      await this.#deploy(key, input, overlays)
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'GATEWAY_OVERLAY') throw error
      // Trying again helps only when the ConfigMap changes, and then it is tried again.
      logger.error(`Gateway ${key} is left as it is: ${error.message}`, { hint: error.hint ?? '' })
    }
  }

  async #deploy(key: string, input: TemplateInput, overlays: readonly Overlay[]): Promise<void> {
    const objects = new Map<OverlayKey, KubeObject>()
    for (const [name, object] of Object.entries(deployedObjects(input))) {
      // The names are keys of overlays.
      const overlay = name as OverlayKey
      objects.set(overlay, withOverlays(object, overlay, overlays))
    }
    const optional = new Set<OverlayKey>()
    for (const [name, object] of Object.entries(optionalObjects(input))) {
      const overlay = name as OverlayKey
      if (!hasOverlay(overlays, overlay)) continue
      optional.add(overlay)
      objects.set(overlay, withOverlays(object, overlay, overlays))
    }
    const deployment = objects.get('deployment')
    if (optional.has('horizontalPodAutoscaler') && deployment !== undefined) {
      objects.set('deployment', withoutReplicas(deployment))
    }
    for (const [overlay, object] of objects) await this.#apply(key, overlay, object)
    await this.#removeOptional(key, input, optional)
    await this.#raiseVersion(input.gateway)
  }

  /** So that an older control plane beside this one leaves the Gateway alone. */
  async #raiseVersion({ apiVersion, kind, metadata }: GatewayObject): Promise<void> {
    const { annotations, name, namespace } = metadata
    if (Number(annotations?.[versionAnnotation] ?? 0) >= controllerVersion) return
    const mark = { [versionAnnotation]: String(controllerVersion) }
    const body = { apiVersion, kind, metadata: { name, namespace, annotations: mark } }
    const options = { fieldManager: gatewayController, force: true }
    await this.#options.client.patch(resources.gateways, namespace, name, 'apply', body, options)
  }

  async #apply(key: string, overlay: OverlayKey, object: KubeObject): Promise<void> {
    const gvr = overlaid[overlay]
    const { namespace = '', name } = object.metadata
    const outcome = await this.#applier.apply(
      gvr,
      object,
      this.#cached(gvr, `${namespace}/${name}`),
    )
    if (outcome === 'unchanged') return
    const { logger } = this.#options
    const what = `${object.kind} ${namespace}/${name}`
    if (outcome === 'foreign') {
      logger.warn(`${what} exists and is not ours; it is left as it is`, { gateway: key })
    } else logger.info(`${outcome} ${what}`, { gateway: key })
  }

  #cached(gvr: GroupVersionResource, key: string): KubeObject | undefined {
    const own =
      gvr === resources.services ? this.#options.informers.by.services : this.#own.get(gvr)
    return own?.get(key)
  }

  /** Those of an overlay that is gone. After a start it is not known which there are, so both are looked for. */
  async #removeOptional(
    key: string,
    input: TemplateInput,
    wanted: ReadonlySet<OverlayKey>,
  ): Promise<void> {
    const present = this.#optional.get(key) ?? new Set(Object.keys(optionalObjects(input)))
    const { horizontalPodAutoscaler } = optionalObjects(input)
    const { namespace = '', name } = horizontalPodAutoscaler.metadata
    for (const overlay of present) {
      // The names are keys of overlays.
      const kind = overlay as OverlayKey
      if (wanted.has(kind)) continue
      const removed = await this.#applier.remove(overlaid[kind], namespace, name)
      if (removed) {
        const what = `${overlayKinds[kind].kind} ${namespace}/${name}`
        this.#options.logger.info(`deleted ${what}: no overlay asks for it any more`)
      }
    }
    this.#optional.set(key, wanted)
  }

  /** The class's controller, when the Gateway is ours to deploy; not when a newer controller has it. */
  #controllerOf(gateway: GatewayObject): string | undefined {
    const { spec, metadata } = gateway
    if (metadata.deletionTimestamp !== undefined || !this.#isOfRevision(metadata)) return undefined
    const found = this.#classOf(gateway)
    const { controllerName = '' } = (found?.spec ?? {}) as { controllerName?: string }
    if (!deployedControllers.has(controllerName) || !isManaged(spec?.addresses)) return undefined
    const version = Number(metadata.annotations?.[versionAnnotation] ?? 0)
    return version <= controllerVersion ? controllerName : undefined
  }

  #classOf({ spec }: GatewayObject): KubeObject | undefined {
    return this.#options.informers.by.gatewayClasses.get(spec?.gatewayClassName ?? '')
  }

  /** The Gateway's own label before that of its namespace; without either the default revision has it. */
  #isOfRevision({ labels, namespace = '' }: KubeObject['metadata']): boolean {
    const { informers, config, tags } = this.#options
    const ofNamespace = informers.by.namespaces.get(namespace)?.metadata.labels?.[revisionLabel]
    const name = labels?.[revisionLabel] || ofNamespace || 'default'
    return (tags?.resolve(name) ?? name) === config.revision
  }

  /** Undefined until the model knows the Gateway as the cache does. */
  #inputOf(key: string, gateway: GatewayObject, controller: string): TemplateInput | undefined {
    const { source, config } = this.#options
    const { snapshot } = source
    const known = snapshot.objects.Gateway.get(key)
    if (known === undefined || known.generation !== (gateway.metadata.generation ?? 0))
      return undefined
    const listeners = attachRoutes(new Reader(snapshot), known).listeners
    return {
      gateway,
      controller,
      config,
      listeners: listeners
        .filter(({ owner, fault }) => owner.kind === 'Gateway' || fault === undefined)
        .map(
          ({ spec: { name = '', port = 0, protocol = '' } }): ListenerPort => ({
            name,
            port,
            protocol,
          }),
        ),
      trustDomain: snapshot.settings.trustDomain,
      network: networkOf(snapshot),
      classAnnotations: this.#classOf(gateway)?.metadata.annotations ?? {},
      proxyConfig: snapshot.mesh.defaultConfig,
    }
  }

  /** Undefined when the Gateway names parameters that are not there: its status says so. */
  #overlaysOf(gateway: GatewayObject): Overlay[] | undefined {
    const { informers, config, logger } = this.#options
    const { configMaps } = informers.by
    const overlays = configMaps
      .list()
      .filter(
        ({ metadata }) =>
          metadata.namespace === config.settings.rootNamespace &&
          metadata.labels?.[classDefaultsLabel] === gateway.spec?.gatewayClassName,
      )
      .toSorted((left, right) => (left.metadata.name < right.metadata.name ? -1 : 1))
      .map(overlayOf)
    const reference = gateway.spec?.infrastructure?.parametersRef
    if (reference === undefined) return overlays
    const key = `${gateway.metadata.namespace ?? ''}/${reference.name ?? ''}`
    const found = reference.kind === 'ConfigMap' ? configMaps.get(key) : undefined
    if (found !== undefined) return [...overlays, overlayOf(found)]
    logger.warn(`parametersRef ${reference.kind ?? ''} ${key} can't be used`, {
      gateway: gateway.metadata.name,
    })
    return undefined
  }
}

function overlayOf(map: KubeObject): Overlay {
  const { namespace = '', name } = map.metadata
  // As ConfigMaps are.
  const { data = {} } = map as { data?: Record<string, unknown> }
  return { source: `${namespace}/${name}`, data }
}

/** How many replicas there are is the autoscaler's say. */
function withoutReplicas(deployment: KubeObject): KubeObject {
  const { replicas: _, ...spec } = (deployment.spec ?? {}) as Record<string, unknown>
  return { ...deployment, spec }
}
