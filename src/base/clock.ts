/**
 * Time as a dependency, so that tests can move it. Rooms take a Clock instead of calling Date.now
 * or setTimeout; only composition roots name `systemClock`.
 */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number
  /** Monotonic milliseconds with a fraction; only differences mean something. */
  monotonic(): number
  /** Calls back once after `delayMs`. A timer does not keep the process alive when `background`. */
  after(delayMs: number, callback: () => void, options?: { background?: boolean }): Timer
  every(periodMs: number, callback: () => void, options?: { background?: boolean }): Timer
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback, options) {
    const handle = setTimeout(callback, delayMs)
    if (options?.background === true) handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  every(periodMs, callback, options) {
    const handle = setInterval(callback, periodMs)
    if (options?.background === true) handle.unref()
    return { cancel: () => clearInterval(handle) }
  },
}

/** Resolves after `delayMs`; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    function onAbort(): void {
      timer.cancel()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** A clock that stands still until `advance` is called; timers fire in the order of their time. */
export class FakeClock implements Clock {
  #now: number
  #sequence = 0
  readonly #timers = new Map<number, { at: number; run: () => void }>()

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(delayMs: number, callback: () => void): Timer {
    const id = ++this.#sequence
    this.#timers.set(id, {
      at: this.#now + delayMs,
      run: () => {
        this.#timers.delete(id)
        callback()
      },
    })
    return { cancel: () => void this.#timers.delete(id) }
  }

  every(periodMs: number, callback: () => void): Timer {
    const tick = (): void => {
      timer = this.after(periodMs, tick)
      callback()
    }
    let timer = this.after(periodMs, tick)
    return { cancel: () => timer.cancel() }
  }

  /** Moves time forward by `ms`, firing what falls due, each at its own time. */
  advance(ms: number): void {
    const target = this.#now + ms
    for (;;) {
      let next: { at: number; run: () => void } | undefined
      for (const timer of this.#timers.values()) {
        if (timer.at <= target && (next === undefined || timer.at < next.at)) next = timer
      }
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
    this.#now = target
  }
}
