/**
 * Events go an hour after they were last written. They are kept in the order of their expiry, so that one timer
 * and one look at the front are enough, however many there are.
 */
import type { Component, Timer } from '../base/index.ts'
import { createInformer, type Informer } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { limits } from './limits.ts'
import { ignoreMissing } from './namespace.ts'

export class EventExpiry implements Component {
  readonly #context: ControllerContext
  readonly #events: Informer<KubeObject>
  /** When each event was written last, oldest first. */
  readonly #written = new Map<string, number>()
  #timer: Timer | undefined
  #sweeping: Promise<void> | undefined

  constructor(context: ControllerContext) {
    this.#context = context
    this.#events = createInformer({ ...context, gvr: resources.events, metadataOnly: true })
  }

  async start(signal?: AbortSignal): Promise<void> {
    await this.#events.start(signal)
    const { clock } = this.#context
    // What was there before has only its own word for its age.
    const old = this.#events.list().toSorted((a, b) => lastWrite(a) - lastWrite(b))
    for (const event of old)
      this.#written.set(keyOf(event), Math.min(lastWrite(event), clock.now()))
    const seen = (event: KubeObject): void => {
      const key = keyOf(event)
      this.#written.delete(key)
      this.#written.set(key, clock.now())
      this.#arm()
    }
    let replayed = false
    this.#events.on({
      // The first round repeats what was just put in order.
      added: (event) => (replayed ? seen(event) : undefined),
      updated: seen,
      deleted: (event) => this.#written.delete(keyOf(event)),
    })
    replayed = true
    this.#arm()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.#events.stop()
    await this.#sweeping
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#sweeping !== undefined) return
    const first = this.#written.values().next()
    if (first.done === true) return
    const { clock, logger } = this.#context
    const waitMs = Math.max(0, first.value + limits.eventLifeMs - clock.now())
    this.#timer = clock.after(
      waitMs,
      () => {
        this.#timer = undefined
        this.#sweeping = this.#sweep()
          .catch((error: unknown) =>
            logger.debug('old events could not be removed', { error: String(error) }),
          )
          .finally(() => {
            this.#sweeping = undefined
            this.#arm()
          })
      },
      { background: true },
    )
  }

  async #sweep(): Promise<void> {
    const { client, clock } = this.#context
    for (;;) {
      const due: string[] = []
      for (const [key, time] of this.#written) {
        if (time + limits.eventLifeMs > clock.now() || due.length >= limits.eventsDeletedAtOnce)
          break
        due.push(key)
      }
      if (due.length === 0) return
      await Promise.all(
        due.map(async (key) => {
          this.#written.delete(key)
          const slash = key.indexOf('/')
          await client
            .delete(resources.events, key.slice(0, slash), key.slice(slash + 1))
            .catch(ignoreMissing)
        }),
      )
    }
  }
}

function keyOf(event: KubeObject): string {
  return `${event.metadata.namespace ?? ''}/${event.metadata.name}`
}

/** The newest time that its managers noted, or its creation. */
function lastWrite(event: KubeObject): number {
  const times = (event.metadata.managedFields ?? []) as { time?: string }[]
  return Math.max(
    Date.parse(event.metadata.creationTimestamp ?? '') || 0,
    ...times.map(({ time }) => Date.parse(time ?? '') || 0),
  )
}
