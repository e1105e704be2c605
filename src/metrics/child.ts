/**
 * One series: the handle that the data path keeps for the life of a connection, so that counting is
 * one addition, with no label lookup and no allocation.
 */

/** What families and their children share: the number of the current expiry period. */
export interface Generation {
  current: number
}

/** A series that can be kept from expiring while something live still counts on it. */
export abstract class Child {
  readonly labelValues: readonly string[]
  readonly #generation: Generation
  /** The expiry period in which it changed last. */
  touched: number
  holders = 0

  constructor(labelValues: readonly string[], generation: Generation) {
    this.labelValues = labelValues
    this.#generation = generation
    this.touched = generation.current
  }

  protected touch(): void {
    this.touched = this.#generation.current
  }

  /** Keeps the series while its owner lives; each call needs one `release`. */
  hold(): this {
    this.holders++
    return this
  }

  release(): void {
    this.holders--
    this.touch()
  }
}

/** Only grows. */
export class CounterChild extends Child {
  value = 0

  inc(by = 1): void {
    this.value += by
    this.touch()
  }
}

export class GaugeChild extends Child {
  value = 0

  inc(by = 1): void {
    this.value += by
    this.touch()
  }

  dec(by = 1): void {
    this.inc(-by)
  }

  set(value: number): void {
    this.value = value
    this.touch()
  }
}

export class HistogramChild extends Child {
  readonly bounds: readonly number[]
  /** Observations by bucket, not cumulative; the last one is +Inf. */
  readonly counts: number[]
  sum = 0

  constructor(labelValues: readonly string[], generation: Generation, bounds: readonly number[]) {
    super(labelValues, generation)
    this.bounds = bounds
    this.counts = Array<number>(bounds.length + 1).fill(0)
  }

  observe(value: number): void {
    let index = 0
    while (index < this.bounds.length && value > (this.bounds[index] ?? 0)) index++
    this.counts[index] = (this.counts[index] ?? 0) + 1
    this.sum += value
    this.touch()
  }
}
