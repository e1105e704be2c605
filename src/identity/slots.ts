/** A bounded number of tasks at once; who waits is served by urgency, then by order of arrival. */
import type { FetchPriority } from './types.ts'

const ranks: Readonly<Record<FetchPriority, number>> = { realtime: 0, warmup: 1, background: 2 }

export interface Ticket {
  priority: FetchPriority
  readonly go: () => void
}

export class Slots {
  readonly #size: number
  readonly #waiting: Ticket[] = []
  #used = 0

  constructor(size: number) {
    this.#size = size
  }

  /** Calls `go` at once or when a slot is free; the ticket's priority may be raised meanwhile. */
  acquire(ticket: Ticket): void {
    if (this.#used < this.#size) {
      this.#used++
      ticket.go()
    } else this.#waiting.push(ticket)
  }

  release(): void {
    let best: Ticket | undefined
    for (const ticket of this.#waiting) {
      if (best === undefined || ranks[ticket.priority] < ranks[best.priority]) best = ticket
    }
    if (best === undefined) {
      this.#used--
      return
    }
    this.#waiting.splice(this.#waiting.indexOf(best), 1)
    best.go()
  }
}

export function moreUrgent(one: FetchPriority, two: FetchPriority): FetchPriority {
  return ranks[one] < ranks[two] ? one : two
}
