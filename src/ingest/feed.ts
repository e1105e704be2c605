/**
 * Informers → model events, in batches: everything that one turn of the event loop brings becomes
 * one update, so that a list of 10,000 pods is one snapshot and not 10,000.
 */
import type { Component, Logger } from '../base/index.ts'
import type { Informer } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { MeshSettings, ModelEvent } from '../model/index.ts'
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
  #pending = new Map<string, ModelEvent>()
  #started = false

  constructor(options: InformerFeedOptions) {
    this.#options = options
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
    const { settings, logger } = this.#options
    const event = modelEvent(object, settings, {
      deleted,
      onUnreadable: ({ kind, metadata }, reason) =>
        logger.warn(
          `${kind} ${metadata.namespace ?? ''}/${metadata.name} can't be read; it is left out`,
          {
            reason,
          },
        ),
    })
    if (event === undefined) return
    if (this.#pending.size === 0 && this.#started) setImmediate(() => this.#flush())
    this.#pending.set(`${event.kind}|${event.key}`, event)
  }

  #flush(): void {
    const events = [...this.#pending.values()]
    this.#pending = new Map()
    if (events.length > 0 || !this.#started) this.#options.apply(events)
  }
}
