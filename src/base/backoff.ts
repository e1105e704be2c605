/** Exponential delays with jitter, for retries against one peer. */

export interface BackoffOptions {
  readonly initialMs: number
  readonly maxMs: number
  /** Default 2. */
  readonly factor?: number
  /** Part of the delay that is random, 0 to 1. Default 0.2. */
  readonly jitter?: number
  /** A number from 0 to 1. */
  readonly random?: () => number
}

export class Backoff {
  readonly #options: BackoffOptions
  #nextMs: number

  constructor(options: BackoffOptions) {
    this.#options = options
    this.#nextMs = options.initialMs
  }

  /** The delay to wait now, in milliseconds; the following one is longer. */
  next(): number {
    const { maxMs, factor = 2, jitter = 0.2, random = Math.random } = this.#options
    const base = Math.min(this.#nextMs, maxMs)
    this.#nextMs = Math.min(base * factor, maxMs)
    return base * (1 - jitter + 2 * jitter * random())
  }

  reset(): void {
    this.#nextMs = this.#options.initialMs
  }
}
