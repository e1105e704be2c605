/**
 * Informers → model events, in batches: everything that one turn of the event loop brings becomes
 * one update, so that a list of 10,000 pods is one snapshot and not 10,000.
 */
import type { Component, Logger } from '../base/index.ts'
import type { Informer } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { MeshSettings, ModelEvent } from '../model/index.ts'
import { DiscoveryFilter } from './discovery.ts'
import { modelEvent } from './events.ts'

export interface InformerFeedOptions {
  /** Already synced; their order does not matter. */
  readonly informers: readonly Informer[]
  readonly settings: MeshSettings
  readonly logger: Logger
  /** Gets every batch, the first (complete) one before `start` returns. */
  readonly apply: (events: readonly ModelEvent[]) => void
}

export class InformerFeed implements Component {
  readonly #options: InformerFeedOptions
  readonly #removers: (() => void)[] = []
  readonly #filter: DiscoveryFilter
  #included = new Set<string>()
  /** Which namespaces are included may have changed since the last batch. */
  #review = false
  #pending = new Map<string, ModelEvent>()
  #started = false

  constructor(options: InformerFeedOptions) {
    this.#options = options
    this.#filter = new DiscoveryFilter(options.settings)
  }

  async start(): Promise<void> {
    for (const informer of this.#options.informers) {
      const changed = (object: KubeObject): void => this.#take(object, false)
      this.#removers.push(
        informer.on({
          added: changed,
          updated: changed,
          deleted: (object) => this.#take(object, true),
        }),
      )
    }
    this.#started = true
    this.#flush()
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    this.#pending.clear()
  }

  #take(object: KubeObject, deleted: boolean): void {
    const event = this.#read(object, deleted)
    if (event === undefined) return
    // Without selectors nobody has kept account of the namespaces so far: every one was included.
    if (event.kind === 'MeshConfig' && !this.#review) this.#included = this.#filter.included()
    if (this.#filter.observe(event)) this.#review = true
    if (this.#pending.size === 0 && this.#started) setImmediate(() => this.#flush())
    this.#pending.set(`${event.kind}|${event.key}`, event)
  }

  #read(object: KubeObject, deleted: boolean): ModelEvent | undefined {
    const { settings, logger } = this.#options
    return modelEvent(object, settings, {
      deleted,
      onUnreadable: ({ kind, metadata }, reason) =>
        logger.warn(`${kind} ${metadata.namespace ?? ''}/${metadata.name} can't be read`, {
          reason,
          effect: 'what was known of it before stays; without that it is left out',
        }),
    })
  }

  #flush(): void {
    const pending = this.#pending
    this.#pending = new Map()
    if (this.#review) this.#reviewNamespaces(pending)
    const events = [...pending.values()].map((event) => this.#filtered(event))
    if (events.length > 0 || !this.#started) this.#options.apply(events)
  }

  /** The event as it is, or that the object is absent: it is in a namespace that is left out. */
  #filtered(event: ModelEvent): ModelEvent {
    const { kind, key } = event
    if (event.value === undefined || always.has(kind)) return event
    const slash = key.indexOf('/')
    if (slash < 0 || this.#filter.includes(key.slice(0, slash))) return event
    // TypeScript can't see that a missing value goes with every kind.
    return { kind, key, value: undefined } as ModelEvent
  }

  /** Objects of namespaces that came in or fell out are read again from the caches. */
  #reviewNamespaces(pending: Map<string, ModelEvent>): void {
    this.#review = false
    const before = this.#included
    const now = this.#filter.included()
    this.#included = now
    if (!this.#started) return
    const differ = now.symmetricDifference(before)
    if (differ.size === 0) return
    this.#options.logger.info('discovery selectors: the namespaces looked into changed', {
      added: [...now.difference(before)].join(','),
      removed: [...before.difference(now)].join(','),
    })
    for (const informer of this.#options.informers) {
      for (const object of informer.list()) {
        if (!differ.has(object.metadata.namespace ?? '')) continue
        const event = this.#read(object, false)
        const name = event === undefined ? '' : `${event.kind}|${event.key}`
        if (event !== undefined && !pending.has(name)) pending.set(name, event)
      }
    }
  }
}

const always: ReadonlySet<string> = new Set(['MeshConfig', 'Namespace'])
