/**
 * What every controller gets: the client, one informer a resource shared by all, and the recorder of events.
 * Caches lag behind one's own writes; a controller that creates objects keeps `Expectations` until it sees them.
 */
import type { Clock, Component, Logger } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient } from '../client/index.ts'
import type { GroupVersionResource, KubeObject } from '../kube/index.ts'
import type { EventRecorder } from './events.ts'
import { limits } from './limits.ts'

export interface ControllerContext {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly informers: SharedInformers
  readonly events: EventRecorder
  /** A number from 0 to 1: the names of pods. */
  readonly random: () => number
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
    entry.until = this.#clock.monotonic() + limits.expectationMs
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
