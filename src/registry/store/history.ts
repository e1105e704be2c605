/** The recent changes of one resource, for watches that resume and for pages of an earlier state. */
import { limits } from '../limits.ts'
import type { ObjectEvent } from './bucket.ts'

interface Slot {
  readonly event: ObjectEvent
  readonly at: number
}

export class History {
  /** Changes up to this revision are no longer here. */
  floor = 0
  #bytes = 0
  /** What is forgotten is undefined until the rest moves down. */
  #slots: (Slot | undefined)[] = []
  #start = 0

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#slots.length - this.#start
  }

  push(event: ObjectEvent, now: number): void {
    this.#slots.push({ event, at: now })
    this.#bytes += event.entry.bytes.length
    this.trim(now)
  }

  /** The changes after `revision`, or undefined when some of them are forgotten. */
  since(revision: number): ObjectEvent[] | undefined {
    if (revision < this.floor) return undefined
    const events: ObjectEvent[] = []
    for (let index = this.#slots.length - 1; index >= this.#start; index--) {
      const { event } = this.#slots[index] as Slot
      if (event.revision <= revision) break
      events.push(event)
    }
    return events.reverse()
  }

  /** Forgets what is beyond the bounds of age, count and bytes. */
  trim(now: number, bytesMax: number = limits.historyBytesMax): void {
    const oldest = now - limits.historyAgeMs
    while (this.size > 0) {
      const first = this.#slots[this.#start] as Slot
      const withinBounds = this.size <= limits.historyEventsMax && this.#bytes <= bytesMax
      if (first.at >= oldest && withinBounds) break
      this.#bytes -= first.event.entry.bytes.length
      this.floor = first.event.revision
      this.#slots[this.#start++] = undefined
    }
    // Moving the rest down only now and then keeps the cost of a change constant.
    if (this.#start > 1_024 && this.#start * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#start)
      this.#start = 0
    }
  }
}

/** Bounds all of them by age, and together by bytes: the largest give way. */
export function trimHistories(histories: readonly History[], now: number): void {
  for (const history of histories) history.trim(now)
  let excess = histories.reduce((sum, { bytes }) => sum + bytes, 0) - limits.historyTotalBytesMax
  for (const history of histories.toSorted((a, b) => b.bytes - a.bytes)) {
    if (excess <= 0) return
    const before = history.bytes
    history.trim(now, Math.max(before / 2, before - excess))
    excess -= before - history.bytes
  }
}
