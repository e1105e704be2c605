/**
 * Writes what users read about their objects: of Gateways, ListenerSets and routes what was accepted and where to
 * connect; of policies where they are in effect; of services which waypoint they go through. Each status is a unit
 * that knows what it rests on, so that a change of the mesh looks again at exactly those it may concern; and
 * only what differs is written.
 */
import { type Clock, type Component, type Logger, sleep } from '../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { isApiError, type KubeObject } from '../kube/index.ts'
import type { Touched } from '../model/index.ts'
import { DependencyIndex, Memo, Reader, touchedKeys } from '../translate/index.ts'
import type { MeshInformers } from './informers.ts'
import type { MeshSource } from './source.ts'
import { outsideFacts, type StatusKind, statusKinds } from './status-kinds.ts'

export interface StatusWriterOptions {
  readonly client: KubeClient
  readonly informers: MeshInformers
  readonly source: MeshSource
  readonly clock: Clock
  readonly logger: Logger
  /** Kinds that somebody else writes the status of, or nobody: off by their name. */
  readonly disabled?: ReadonlySet<string>
}

/** Room for everything that a change concerns at once, and then a pace that no API server minds. */
const burst = 200
const writesPerSecond = 100

export class StatusWriter implements Component {
  readonly #options: StatusWriterOptions
  readonly #queue: WorkQueue
  readonly #index = new DependencyIndex()
  #memo = new Memo()
  readonly #pace: Pace
  readonly #removers: (() => void)[] = []

  constructor(options: StatusWriterOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#pace = new Pace(clock)
    this.#queue = new WorkQueue({
      name: 'status',
      work: (item) => this.#write(item),
      clock,
      logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    const { informers, source, disabled } = this.#options
    // While others wrote, the mesh changed.
    this.#memo = new Memo()
    this.#removers.push(source.onMeshChange(({ touched }) => this.#follow(keysOf(touched))))
    for (const [name, kind] of Object.entries(statusKinds)) {
      if (disabled?.has(name) !== true)
        this.#removers.push(this.#watch(name, informers.by[kind.informer]))
    }
    const { domain } = source.snapshot.settings
    // What the model leaves out of objects that others' statuses rest on.
    const about = (keyOf: (object: KubeObject) => string): ((object: KubeObject) => void) => {
      return (object) => this.#follow(new Set([keyOf(object)]))
    }
    const service = about(
      ({ metadata: { namespace = '', name } }) => `host/${name}.${namespace}.svc.${domain}`,
    )
    const map = about(({ metadata: { namespace = '', name } }) => `configmap/${namespace}/${name}`)
    const { services, configMaps } = informers.by
    this.#removers.push(
      services.on({ updated: service }),
      configMaps.on({ added: map, deleted: map }),
    )
    await this.#queue.start()
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
  }

  #watch(name: string, informer: Informer): () => void {
    const enqueue = ({ metadata }: KubeObject): void =>
      this.#queue.add(`${name}|${metadata.namespace ?? ''}/${metadata.name}`)
    return informer.on({
      added: enqueue,
      updated: enqueue,
      deleted: ({ metadata }) =>
        this.#index.delete(`${name}|${metadata.namespace ?? ''}/${metadata.name}`),
    })
  }

  #follow(keys: ReadonlySet<string>): void {
    this.#memo.invalidate(keys)
    for (const item of this.#index.stale(keys)) this.#queue.add(item)
  }

  async #write(item: string): Promise<void> {
    const { informers, source, clock, client } = this.#options
    const bar = item.indexOf('|')
    const key = item.slice(bar + 1)
    const kind: StatusKind | undefined = statusKinds[item.slice(0, bar)]
    const object = kind === undefined ? undefined : informers.by[kind.informer].get(key)
    if (kind === undefined || object === undefined) return this.#index.delete(item)
    const reader = new Reader(source.snapshot, this.#memo)
    const facts = outsideFacts(reader, informers)
    const { snapshot } = source
    const patch = kind.patch({ snapshot, reader, facts, key, object, nowMs: clock.now() })
    this.#index.set(item, reader.dependencies)
    if (patch === undefined) return
    await this.#pace.turn()
    const { namespace, name, resourceVersion } = object.metadata
    try {
      // With the version: what somebody else wrote meanwhile is not to be lost, so it is looked at first.
      const body = { metadata: { resourceVersion }, status: patch }
      await client.patch(kind.gvr, namespace, name, 'merge', body, { subresource: 'status' })
    } catch (error) {
      // Deleted in the meantime: nothing to say about it any more.
      if (!isApiError(error, 'NotFound')) throw error
    }
  }
}

/** What an update touched; classes of Gateways are asked for by their name. */
function keysOf(touched: Touched): Set<string> {
  const keys = touchedKeys(touched)
  for (const config of touched.configs) {
    const [kind, name = ''] = config.split('/')
    if (kind === 'GatewayClass') keys.add(`gatewayclass/${name}`)
  }
  return keys
}

/** A token bucket: writes beyond it wait. */
class Pace {
  readonly #clock: Clock
  #tokens = burst
  #lastMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lastMs = clock.now()
  }

  async turn(): Promise<void> {
    const now = this.#clock.now()
    const earned = ((now - this.#lastMs) * writesPerSecond) / 1000
    this.#tokens = Math.min(burst, this.#tokens + earned) - 1
    this.#lastMs = now
    if (this.#tokens < 0) {
      await sleep(this.#clock, (-this.#tokens * 1000) / writesPerSecond)
    }
  }
}
