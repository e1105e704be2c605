/**
 * The work queue of controllers: a key waits once, runs on one worker at a time, and comes back
 * with growing delays when its work fails.
 */
import {
  Backoff,
  type Clock,
  type Component,
  type Logger,
  type Timer,
  toError,
} from '../base/index.ts'
import { ApiError } from '../kube/index.ts'

export interface WorkQueueOptions {
  readonly name: string
  readonly work: (key: string) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  /** How many different keys may be worked on at once. Default 1. */
  readonly concurrency?: number
}

export class WorkQueue implements Component {
  readonly #options: WorkQueueOptions
  readonly #waiting = new Set<string>()
  readonly #active = new Set<string>()
  readonly #again = new Set<string>()
  readonly #timers = new Map<string, Timer>()
  readonly #backoffs = new Map<string, Backoff>()
  #running = false
  #idle: (() => void) | undefined

  constructor(options: WorkQueueOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#running = true
    this.#pump()
  }

  /** Waits for the work in progress. */
  async stop(): Promise<void> {
    this.#running = false
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
    if (this.#active.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }

  add(key: string): void {
    if (this.#active.has(key)) this.#again.add(key)
    else this.#waiting.add(key)
    this.#pump()
  }

  addAfter(key: string, delayMs: number): void {
    this.#timers.get(key)?.cancel()
    const timer = this.#options.clock.after(
      delayMs,
      () => {
        this.#timers.delete(key)
        this.add(key)
      },
      { background: true },
    )
    this.#timers.set(key, timer)
  }

  #pump(): void {
    const { concurrency = 1 } = this.#options
    while (this.#running && this.#active.size < concurrency) {
      const key = this.#waiting.values().next().value
      if (key === undefined) return
      this.#waiting.delete(key)
      this.#active.add(key)
      void this.#work(key)
    }
  }

  async #work(key: string): Promise<void> {
    const { name, work, logger } = this.#options
    try {
      await work(key)
      this.#backoffs.delete(key)
    } catch (error) {
      let backoff = this.#backoffs.get(key)
      if (backoff === undefined) {
        backoff = new Backoff({ initialMs: 20, maxMs: 30_000 })
        this.#backoffs.set(key, backoff)
      }
      // Conflicts are everyday: somebody else wrote first, and the cache will have it soon.
      const everyday = error instanceof ApiError && error.status.code === 409
      if (this.#running && !everyday)
        logger.warn(`${name}: ${key} failed`, { error: toError(error).message })
      if (this.#running) this.addAfter(key, backoff.next())
    }
    this.#active.delete(key)
    if (this.#again.delete(key)) this.#waiting.add(key)
    if (!this.#running && this.#active.size === 0) this.#idle?.()
    this.#pump()
  }
}
