/** Deploys Gateways of class `istio`: a ServiceAccount, a Deployment and a Service for each. */
import type { Clock, Component, Logger } from '../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import { gatewayController } from '../translate/index.ts'
import { applyObject } from './apply.ts'
import type { ControlPlaneConfig } from './config.ts'
import { deployedObjects, type GatewayObject, managedLabel } from './gateway-template.ts'

export interface GatewayControllerOptions {
  readonly client: KubeClient
  readonly gateways: Informer
  readonly classes: Informer
  readonly config: ControlPlaneConfig
  readonly clock: Clock
  readonly logger: Logger
}

const versionAnnotation = 'gateway.istio.io/controller-version'
const controllerVersion = 5

export class GatewayController implements Component {
  readonly #options: GatewayControllerOptions
  readonly #queue: WorkQueue
  readonly #removers: (() => void)[] = []

  constructor(options: GatewayControllerOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#queue = new WorkQueue({
      name: 'gateway deployments',
      work: (key) => this.#reconcile(key),
      clock,
      logger,
      concurrency: 2,
    })
  }

  async start(): Promise<void> {
    const { gateways, classes } = this.#options
    await this.#queue.start()
    const enqueue = ({ metadata }: KubeObject): void =>
      this.#queue.add(`${metadata.namespace ?? ''}/${metadata.name}`)
    const enqueueAll = (): void => gateways.list().forEach(enqueue)
    this.#removers.push(
      gateways.on({ added: enqueue, updated: enqueue }),
      classes.on({ added: enqueueAll, updated: enqueueAll }),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
  }

  async #reconcile(key: string): Promise<void> {
    const { client, gateways, config, logger } = this.#options
    const gateway: GatewayObject | undefined = gateways.get(key) as GatewayObject | undefined // informer of gateways
    if (gateway === undefined || !this.#handles(gateway)) return
    const wanted = deployedObjects(gateway, config)
    const options = { client, fieldManager: gatewayController, managedLabel }
    for (const [gvr, object] of [
      [resources.serviceaccounts, wanted.serviceAccount],
      [resources.deployments, wanted.deployment],
      [resources.services, wanted.service],
    ] as const) {
      const outcome = await applyObject(gvr, object, options)
      if (outcome === 'unchanged') continue
      const name = `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`
      if (outcome === 'foreign') {
        logger.warn(`${name} exists and is not ours; it is left as it is`, { gateway: key })
      } else logger.info(`${outcome} ${name}`, { gateway: key })
    }
  }

  /** Ours by class; with addresses that one Service can have; not handled by a newer controller. */
  #handles(gateway: GatewayObject): boolean {
    const { spec, metadata } = gateway
    if (metadata.deletionTimestamp !== undefined) return false
    const found = this.#options.classes.get(spec?.gatewayClassName ?? '')
    const { controllerName } = (found?.spec ?? {}) as { controllerName?: string }
    if (controllerName !== gatewayController) return false
    const addresses = spec?.addresses ?? []
    const usable =
      addresses.length === 0 ||
      (addresses.length === 1 && (addresses[0]?.type ?? 'IPAddress') === 'IPAddress')
    return usable && Number(metadata.annotations?.[versionAnnotation] ?? 0) <= controllerVersion
  }
}
