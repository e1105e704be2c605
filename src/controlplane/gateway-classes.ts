/** The GatewayClasses that Istio's users name: made when absent, never changed, status written. */
import { type Clock, type Component, type Logger, toError } from '../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { isApiError, type KubeObject, resources } from '../kube/index.ts'
import { gatewayController, meshController, remoteController } from '../translate/index.ts'
import { type Condition, mergeConditions } from './conditions.ts'

export const builtinClasses: Readonly<Record<string, { controller: string; description: string }>> =
  {
    istio: {
      controller: gatewayController,
      description: 'Gateways that this control plane deploys and configures.',
    },
    'istio-remote': {
      controller: remoteController,
      description: 'Describes a gateway elsewhere; nothing is deployed for it.',
    },
    'istio-waypoint': {
      controller: meshController,
      description: 'Waypoints: layer 7 proxies of ambient services and workloads.',
    },
  }

const controllers: ReadonlySet<string> = new Set(
  Object.values(builtinClasses).map(({ controller }) => controller),
)

const accepted = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: 'Handled by Istio controller',
} as const

/** How often is looked whether Gateway API has been installed. */
const retryMs = 10_000

export interface GatewayClassControllerOptions {
  readonly client: KubeClient
  readonly classes: Informer
  readonly clock: Clock
  readonly logger: Logger
}

export class GatewayClassController implements Component {
  readonly #options: GatewayClassControllerOptions
  readonly #queue: WorkQueue
  #remove: (() => void) | undefined

  constructor(options: GatewayClassControllerOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#queue = new WorkQueue({
      name: 'gateway classes',
      work: (name) => this.#reconcile(name),
      clock,
      logger,
    })
  }

  async start(): Promise<void> {
    await this.#queue.start()
    const enqueue = ({ metadata }: KubeObject): void => {
      this.#queue.add(metadata.name)
    }
    this.#remove = this.#options.classes.on({ added: enqueue, updated: enqueue, deleted: enqueue })
    for (const name of Object.keys(builtinClasses)) this.#queue.add(name)
  }

  async stop(): Promise<void> {
    this.#remove?.()
    await this.#queue.stop()
  }

  async #reconcile(name: string): Promise<void> {
    const { client, classes, clock } = this.#options
    const present = classes.get(name)
    if (present === undefined) return this.#create(name)
    const { status, spec } = present as KubeObject<
      { controllerName?: string },
      { conditions?: Condition[] }
    >
    // Users may make more classes of our controllers, under any name.
    if (!controllers.has(spec?.controllerName ?? '')) return
    const before = status?.conditions ?? []
    const conditions = mergeConditions(before, [accepted], {
      generation: present.metadata.generation ?? 0,
      nowMs: clock.now(),
    })
    if (conditions === before) return
    const body = { status: { conditions } }
    const options = { subresource: 'status' }
    await client.patch(resources.gatewayclasses, undefined, name, 'merge', body, options)
  }

  async #create(name: string): Promise<void> {
    const { client, logger } = this.#options
    const builtin = builtinClasses[name]
    if (builtin === undefined) return
    try {
      await client.create(resources.gatewayclasses, {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'GatewayClass',
        metadata: { name },
        spec: { controllerName: builtin.controller, description: builtin.description },
      })
    } catch (error) {
      // Without Gateway API there is nothing to do; the class is made when its CRD comes.
      if (isApiError(error, 'NotFound')) return this.#queue.addAfter(name, retryMs)
      if (!isApiError(error, 'AlreadyExists')) throw error
      logger.debug('a gateway class exists already', { name, error: toError(error).message })
    }
  }
}
