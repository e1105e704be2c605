/**
 * Earliest deadline first: each entry's turn comes after 1/weight, so that turns are in proportion to weights
 * and as even as possible. A heap by deadline; equal deadlines go in the order they were set.
 */
interface Entry<T> {
  deadline: number
  order: number
  readonly value: T
}

export class Scheduler<T> {
  readonly #heap: Entry<T>[] = []
  #order = 0

  add(value: T, weight: number): void {
    this.#push({ deadline: this.#now + 1 / weight, order: this.#order++, value })
  }

  #now = 0

  /** @param weightOf the weight that decides about the next turn of what is chosen now */
  next(weightOf: (value: T) => number): T | undefined {
    const [entry] = this.#heap
    if (entry === undefined) return undefined
    this.#now = entry.deadline
    entry.deadline += 1 / weightOf(entry.value)
    entry.order = this.#order++
    this.#sink()
    return entry.value
  }

  #push(entry: Entry<T>): void {
    const heap = this.#heap
    heap.push(entry)
    let at = heap.length - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || !isBefore(entry, parent)) break
      heap[at] = parent
      heap[up] = entry
      at = up
    }
  }

  #sink(): void {
    const heap = this.#heap
    let at = 0
    const entry = heap[0]
    for (;;) {
      let child = 2 * at + 1
      const left = heap[child]
      const right = heap[child + 1]
      if (left === undefined || entry === undefined) return
      if (right !== undefined && isBefore(right, left)) child++
      const least = heap[child]
      if (least === undefined || !isBefore(least, entry)) return
      heap[at] = least
      heap[child] = entry
      at = child
    }
  }
}

function isBefore(left: Entry<unknown>, right: Entry<unknown>): boolean {
  return left.deadline === right.deadline
    ? left.order < right.order
    : left.deadline < right.deadline
}
