/**
 * Writes status: of Gateways and HTTPRoutes (what was accepted, where to connect) and of
 * AuthorizationPolicies (what the node proxy can enforce). Only when it differs from what is there.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock, Component, Logger } from '../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { type GroupVersionResource, isApiError, type KubeObject, resources } from '../kube/index.ts'
import { isServed, policyCondition } from '../translate/index.ts'
import { type Condition, mergeConditions } from './conditions.ts'
import { addressesOf, gatewayStatus, routeStatus, type ServiceObject } from './gateway-status.ts'
import { deployedName, type GatewayObject } from './gateway-template.ts'
import type { MeshInformers } from './informers.ts'
import type { MeshChange, MeshSource } from './source.ts'

export interface StatusWriterOptions {
  readonly client: KubeClient
  readonly informers: MeshInformers
  readonly source: MeshSource
  readonly clock: Clock
  readonly logger: Logger
}

const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name'

interface RouteParent {
  parentRef: Record<string, unknown>
  controllerName: string
  conditions: Condition[]
}

export class StatusWriter implements Component {
  readonly #options: StatusWriterOptions
  readonly #queue: WorkQueue
  readonly #removers: (() => void)[] = []

  constructor(options: StatusWriterOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#queue = new WorkQueue({
      name: 'status',
      work: (item) => this.#write(item),
      clock,
      logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    const { informers, source } = this.#options
    await this.#queue.start()
    const { gateways, httpRoutes, authorizationPolicies, services } = informers.by
    this.#removers.push(
      source.onMeshChange((change) => this.#follow(change)),
      this.#enqueueFrom(gateways, 'Gateway'),
      this.#enqueueFrom(httpRoutes, 'HTTPRoute'),
      this.#enqueueFrom(authorizationPolicies, 'AuthorizationPolicy'),
      // The address of a Gateway appears in the status of its Service.
      services.on({ added: this.#enqueueGatewayOf, updated: this.#enqueueGatewayOf }),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
  }

  #enqueueFrom(informer: Informer, kind: string): () => void {
    const enqueue = ({ metadata }: KubeObject): void =>
      this.#queue.add(`${kind}|${metadata.namespace ?? ''}/${metadata.name}`)
    return informer.on({ added: enqueue, updated: enqueue })
  }

  readonly #enqueueGatewayOf = ({ metadata }: KubeObject): void => {
    const name = metadata.labels?.[gatewayNameLabel]
    if (name !== undefined) this.#queue.add(`Gateway|${metadata.namespace ?? ''}/${name}`)
  }

  #follow({ snapshot, touched }: MeshChange): void {
    for (const key of touched.gateways) {
      this.#queue.add(`Gateway|${key}`)
      for (const route of snapshot.indexes.routes.get(key) ?? [])
        this.#queue.add(`HTTPRoute|${route}`)
    }
    for (const key of touched.policies) this.#queue.add(`AuthorizationPolicy|${key}`)
  }

  async #write(item: string): Promise<void> {
    const [kind = '', key = ''] = item.split('|')
    try {
      if (kind === 'Gateway') await this.#writeGateway(key)
      else if (kind === 'HTTPRoute') await this.#writeRoute(key)
      else await this.#writePolicy(key)
    } catch (error) {
      // Deleted in the meantime: nothing to say about it any more.
      if (!isApiError(error, 'NotFound')) throw error
    }
  }

  async #writeGateway(key: string): Promise<void> {
    const { informers, source, clock } = this.#options
    const { snapshot } = source
    const gateway = snapshot.objects.Gateway.get(key)
    const object = informers.by.gateways.get(key) as GatewayObject | undefined // informer of gateways
    if (gateway === undefined || object === undefined || !isServed(snapshot, gateway)) return
    const service = informers.by.services.get(`${gateway.namespace}/${deployedName(object)}`)
    const addresses = addressesOf(service as ServiceObject | undefined, snapshot.settings.domain)
    const wanted = gatewayStatus(snapshot, gateway, addresses)
    const { status = {}, metadata } = object
    const generation = metadata.generation ?? 0
    const now = clock.now()
    const merge = (present: unknown, next: Parameters<typeof mergeConditions>[1]): Condition[] => {
      const old = (present ?? []) as Condition[] // as Gateway API defines the field
      return mergeConditions(old, next, generation, now) ?? [...old]
    }
    const oldListeners = (status.listeners ?? []) as { name?: string; conditions?: unknown }[]
    const next = {
      addresses: wanted.addresses,
      conditions: merge(status.conditions, wanted.conditions),
      listeners: wanted.listeners.map((listener) => ({
        ...listener,
        conditions: merge(
          oldListeners.find(({ name }) => name === listener.name)?.conditions,
          listener.conditions,
        ),
      })),
    }
    const present = {
      addresses: status.addresses ?? [],
      conditions: status.conditions ?? [],
      listeners: oldListeners,
    }
    if (!isDeepStrictEqual(present, next)) await this.#patch(resources.gateways, key, next)
  }

  async #writeRoute(key: string): Promise<void> {
    const { informers, source, clock } = this.#options
    const route = source.snapshot.objects.HTTPRoute.get(key)
    const object = informers.by.httpRoutes.get(key)
    if (route === undefined || object === undefined) return
    const wanted = routeStatus(source.snapshot, route)
    const { parents: present = [] } = (object.status ?? {}) as { parents?: RouteParent[] }
    const controllers = new Set(['istio.io/gateway-controller'])
    const others = present.filter((parent) => !controllers.has(parent.controllerName))
    const parents = wanted.map((parent) => {
      const old = present.find(
        (candidate) =>
          candidate.controllerName === parent.controllerName &&
          isDeepStrictEqual(candidate.parentRef, parent.parentRef),
      )
      const merged = mergeConditions(
        old?.conditions ?? [],
        parent.conditions,
        object.metadata.generation ?? 0,
        clock.now(),
      )
      return { ...parent, conditions: merged ?? old?.conditions ?? [] }
    })
    const next = [...others, ...parents]
    if (!isDeepStrictEqual(present, next))
      await this.#patch(resources.httproutes, key, { parents: next })
  }

  async #writePolicy(key: string): Promise<void> {
    const { informers, source, clock } = this.#options
    const policy = source.snapshot.objects.AuthorizationPolicy.get(key)
    const object = informers.by.authorizationPolicies.get(key)
    if (policy === undefined || object === undefined) return
    const wanted = policyCondition(source.snapshot, policy)
    if (wanted === undefined) return
    const { conditions = [] } = (object.status ?? {}) as { conditions?: Condition[] }
    const generation = object.metadata.generation ?? 0
    const merged = mergeConditions(conditions, [wanted], generation, clock.now())
    if (merged !== undefined) {
      await this.#patch(resources.authorizationpolicies, key, { conditions: merged })
    }
  }

  async #patch(gvr: GroupVersionResource, key: string, status: unknown): Promise<void> {
    const [namespace = '', name = ''] = key.split('/')
    const body = { status }
    await this.#options.client.patch(gvr, namespace, name, 'merge', body, { subresource: 'status' })
  }
}
