/**
 * Lets a bounded number of connections be sent to at once, and gives the event loop back in between, so that a
 * change for thousands of proxies delays neither acknowledgements nor certificate requests. A
 * connection that takes its message slowly stops counting after a while: it delays nobody but itself.
 */
import type { Clock, Timer } from '../base/index.ts'
import type { XdsLimits } from './limits.ts'

export interface Pushed {
  /** Begins to send what is due; false when there is nothing. Calls `done` of the gate when it has left. */
  pump(): boolean
}

export class PushGate {
  readonly #clock: Clock
  readonly #limits: Pick<XdsLimits, 'pushesMax' | 'pushSlotMs' | 'pushSliceMs'>
  readonly #waited: (waitedMs: number) => void
  /** Who waits, and since when. */
  readonly #queue = new Map<Pushed, number>()
  /** Who is being sent to, and since when; oldest first. */
  readonly #active = new Map<Pushed, number>()
  #timer: Timer | undefined
  /** Whoever comes meanwhile waits: for the event loop's turn, or for a place. */
  #waiting: 'turn' | 'place' | undefined
  #draining = false

  constructor(
    clock: Clock,
    limits: Pick<XdsLimits, 'pushesMax' | 'pushSlotMs' | 'pushSliceMs'>,
    waited: (waitedMs: number) => void,
  ) {
    this.#clock = clock
    this.#limits = limits
    this.#waited = waited
  }

  /** Has the connection pumped when it is its turn, which may be at once. */
  enter(connection: Pushed): void {
    if (!this.#queue.has(connection)) this.#queue.set(connection, this.#clock.monotonic())
    this.#drain()
  }

  /** Its message left, or it is gone. */
  done(connection: Pushed): void {
    this.#active.delete(connection)
    if (this.#waiting === 'place') this.#waiting = undefined
    if (this.#queue.size > 0) this.#drain()
  }

  leave(connection: Pushed): void {
    this.#queue.delete(connection)
    this.done(connection)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#queue.clear()
  }

  #drain(): void {
    if (this.#draining || this.#waiting !== undefined) return
    this.#draining = true
    const began = this.#clock.monotonic()
    for (const [connection, since] of this.#queue) {
      const now = this.#clock.monotonic()
      if (now - began > this.#limits.pushSliceMs) {
        this.#later('turn', 0)
        break
      }
      const fullForMs = this.#fullFor(now)
      if (fullForMs > 0) {
        this.#later('place', fullForMs)
        break
      }
      this.#queue.delete(connection)
      this.#waited(now - since)
      // One that is slow keeps the time of its message, whatever else it is due.
      if (connection.pump() && !this.#active.has(connection)) this.#active.set(connection, now)
    }
    this.#draining = false
  }

  #later(waiting: 'turn' | 'place', delayMs: number): void {
    this.#waiting = waiting
    // One that waits for a place already may ring early: then it looks again.
    if (waiting === 'place' && this.#timer !== undefined) return
    this.#timer?.cancel()
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.#waiting = undefined
      this.#drain()
    })
  }

  /** Milliseconds until a place is free for certain; 0 when there is one. */
  #fullFor(now: number): number {
    if (this.#active.size < this.#limits.pushesMax) return 0
    for (const [connection, since] of this.#active) {
      const leftMs = since + this.#limits.pushSlotMs - now
      if (leftMs > 0) return leftMs
      this.#active.delete(connection)
      if (this.#active.size < this.#limits.pushesMax) return 0
    }
    return 0
  }
}
