/**
 * What every controller gets: the client, one informer a resource shared by all, and the recorder of events.
 * Caches lag behind one's own writes; a controller that creates objects keeps `Expectations` until it sees them.
 */
import type { Clock, Component, Logger } from '../base/index.ts'
import { toError } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient } from '../client/index.ts'
import type { GroupVersionResource, KubeObject } from '../kube/index.ts'

export interface ControllerContext {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly informers: SharedInformers
  readonly events: EventRecorder
}

export class SharedInformers implements Component {
  readonly #options: { client: KubeClient; clock: Clock; logger: Logger }
  readonly #informers = new Map<string, Informer>()

  constructor(options: { client: KubeClient; clock: Clock; logger: Logger }) {
    this.#options = options
  }

  /** The informer of a resource, made on first use; all are started together. */
  of<T extends KubeObject>(gvr: GroupVersionResource): Informer<T> {
    const key = `${gvr.group}/${gvr.resource}`
    let informer = this.#informers.get(key)
    if (informer === undefined) {
      informer = createInformer({ ...this.#options, gvr })
      this.#informers.set(key, informer)
    }
    // Callers name the type that belongs to the resource.
    return informer as unknown as Informer<T>
  }

  async start(signal?: AbortSignal): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.start(signal)))
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()))
  }
}

const eventsResource = { group: '', version: 'v1', resource: 'events' }

/** Writes events for people; a repeated one raises the count of the first. Never fails its caller. */
export class EventRecorder {
  readonly #context: { client: KubeClient; clock: Clock; logger: Logger; component: string }
  readonly #recent = new Map<string, { name: string; count: number }>()

  constructor(context: { client: KubeClient; clock: Clock; logger: Logger; component: string }) {
    this.#context = context
  }

  record(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#write(object, type, reason, message).catch((error: unknown) =>
      this.#context.logger.debug('an event was not written', {
        reason,
        error: toError(error).message,
      }),
    )
  }

  async #write(object: KubeObject, type: string, reason: string, message: string): Promise<void> {
    const { client, clock, component } = this.#context
    const { namespace = 'default', name, uid } = object.metadata
    const now = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`
    const key = `${uid}\n${reason}\n${message}`
    const known = this.#recent.get(key)
    if (known !== undefined) {
      known.count++
      const body = { count: known.count, lastTimestamp: now }
      await client.patch(eventsResource, namespace, known.name, 'merge', body)
      return
    }
    const eventName = `${name}.${Math.floor(clock.now() * 1000 + this.#recent.size).toString(16)}`
    this.#recent.set(key, { name: eventName, count: 1 })
    if (this.#recent.size > 1000) this.#recent.delete(this.#recent.keys().next().value as string)
    await client.create(eventsResource, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: eventName, namespace },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        namespace: object.metadata.namespace,
        name,
        uid,
        resourceVersion: object.metadata.resourceVersion,
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component },
      reportingComponent: component,
      reportingInstance: '',
    } as KubeObject)
  }
}

/**
 * Creations and deletions that were sent but not yet seen in the cache. A controller that still
 * waits for one must not count again, or it would create twice.
 */
export class Expectations {
  readonly #pending = new Map<string, { names: Set<string>; until: number }>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  expect(key: string, token: string): void {
    const entry = this.#pending.get(key) ?? { names: new Set<string>(), until: 0 }
    entry.names.add(token)
    entry.until = this.#clock.monotonic() + 30_000
    this.#pending.set(key, entry)
  }

  seen(key: string, token: string): void {
    const entry = this.#pending.get(key)
    entry?.names.delete(token)
    if (entry?.names.size === 0) this.#pending.delete(key)
  }

  satisfied(key: string): boolean {
    const entry = this.#pending.get(key)
    if (entry === undefined || this.#clock.monotonic() < entry.until) return entry === undefined
    this.#pending.delete(key)
    return true
  }

  forget(key: string): void {
    this.#pending.delete(key)
  }
}
