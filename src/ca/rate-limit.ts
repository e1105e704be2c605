/** How often each caller may ask: a bucket of tokens for each, which fills at a steady rate. */
import type { Clock } from '../base/index.ts'
import { limits } from './limits.ts'

interface Bucket {
  tokens: number
  filledAt: number
}

export class RateLimit {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  /** In the order of their last request. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(
    clock: Clock,
    perSecond: number = limits.requestsPerSecond,
    burst: number = limits.requestBurst,
  ) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** Takes a token of the caller; false when it has none left. */
  take(caller: string): boolean {
    const now = this.#clock.monotonic()
    const bucket = this.#buckets.get(caller) ?? { tokens: this.#burst, filledAt: now }
    const gained = ((now - bucket.filledAt) / 1000) * this.#perSecond
    bucket.tokens = Math.min(this.#burst, bucket.tokens + gained)
    bucket.filledAt = now
    this.#buckets.delete(caller)
    this.#buckets.set(caller, bucket)
    this.#forget()
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }

  #forget(): void {
    if (this.#buckets.size <= limits.ratedCallersMax) return
    const [oldest] = this.#buckets.keys()
    if (oldest !== undefined) this.#buckets.delete(oldest)
  }
}
