/**
 * A metric name with its series. The number of series is bounded: when it is full, the one that has
 * been idle longest goes; when all are in use, a new one counts into nothing that is shown, and the
 * registry says how many such there were. A scrape can then never be the end of a proxy's memory.
 */
import assert from 'node:assert/strict'
import { type Child, CounterChild, GaugeChild, type Generation, HistogramChild } from './child.ts'

export type MetricKind = 'counter' | 'gauge' | 'histogram'

export interface FamilyOptions {
  readonly labels?: readonly string[]
  /** Default: `maxChildrenDefault`. */
  readonly maxChildren?: number
  /** Whether idle series go at `expire`. Default true when there are labels. */
  readonly expires?: boolean
}

export interface FamilySettings<C extends Child> {
  readonly name: string
  readonly help: string
  readonly kind: MetricKind
  readonly labels: readonly string[]
  readonly maxChildren: number
  readonly expires: boolean
  readonly generation: Generation
  readonly make: (labelValues: readonly string[]) => C
  readonly onOverflow: () => void
}

const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const labelPattern = /^[a-zA-Z_][a-zA-Z0-9_]*$/

export class Family<C extends Child = Child> {
  readonly name: string
  readonly help: string
  readonly kind: MetricKind
  readonly labels: readonly string[]
  readonly #settings: FamilySettings<C>
  readonly #children = new Map<string, C>()

  constructor(settings: FamilySettings<C>) {
    assert.match(settings.name, namePattern)
    for (const label of settings.labels) assert.match(label, labelPattern)
    this.name = settings.name
    this.help = settings.help
    this.kind = settings.kind
    this.labels = settings.labels
    this.#settings = settings
  }

  /** The series with these label values, in the order of the family's labels. */
  child(...labelValues: readonly string[]): C {
    const key = labelValues.join('\0')
    const known = this.#children.get(key)
    if (known !== undefined) return known
    assert.equal(labelValues.length, this.labels.length, `label values of ${this.name}`)
    const created = this.#settings.make(labelValues)
    if (this.#children.size >= this.#settings.maxChildren && !this.#evictOne()) {
      this.#settings.onOverflow()
      return created
    }
    this.#children.set(key, created)
    return created
  }

  children(): Iterable<C> {
    return this.#children.values()
  }

  get size(): number {
    return this.#children.size
  }

  /** Drops series which nobody holds and which did not change since period `before`. */
  expire(before: number): number {
    if (!this.#settings.expires) return 0
    let dropped = 0
    for (const [key, child] of this.#children) {
      if (child.holders > 0 || child.touched >= before) continue
      this.#children.delete(key)
      dropped++
    }
    return dropped
  }

  #evictOne(): boolean {
    let oldest: [string, C] | undefined
    for (const entry of this.#children) {
      if (entry[1].holders > 0) continue
      if (oldest === undefined || entry[1].touched < oldest[1].touched) oldest = entry
    }
    return oldest !== undefined && this.#children.delete(oldest[0])
  }
}

export { CounterChild, GaugeChild, HistogramChild }
