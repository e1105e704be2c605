/**
 * Our own small metrics library: prom-client allocates a hash of labels per increment and has no
 * expiry; the data path here keeps child handles instead (see `child.ts`).
 */
import assert from 'node:assert/strict'
import { type Child, CounterChild, GaugeChild, type Generation, HistogramChild } from './child.ts'
import { Family, type FamilyOptions, type MetricKind } from './family.ts'
import { maxChildrenDefault } from './limits.ts'

export class MetricsRegistry {
  readonly #families = new Map<string, Family>()
  readonly #collectors: (() => void)[] = []
  readonly #generation: Generation = { current: 1 }
  /** Series that could not be kept because a family was full of live ones. */
  overflowed = 0

  /** @param name should end in `_total`; Istio has names that don't: OpenMetrics gets those as `unknown` */
  counter(name: string, help: string, options: FamilyOptions = {}): Family<CounterChild> {
    return this.#add('counter', name, help, options, (values) => {
      return new CounterChild(values, this.#generation)
    })
  }

  gauge(name: string, help: string, options: FamilyOptions = {}): Family<GaugeChild> {
    return this.#add('gauge', name, help, options, (values) => {
      return new GaugeChild(values, this.#generation)
    })
  }

  /** @param options.bounds upper bounds of the buckets, rising, without +Inf */
  histogram(
    name: string,
    help: string,
    options: FamilyOptions & { readonly bounds: readonly number[] },
  ): Family<HistogramChild> {
    return this.#add('histogram', name, help, options, (values) => {
      return new HistogramChild(values, this.#generation, options.bounds)
    })
  }

  /** Runs before every scrape, to set gauges which are cheaper to read than to keep. */
  onCollect(collector: () => void): void {
    this.#collectors.push(collector)
  }

  families(): Iterable<Family> {
    for (const collector of this.#collectors) collector()
    return this.#families.values()
  }

  /**
   * Ends an expiry period; series that saw no change during a whole period and that nobody holds
   * are forgotten. Returns how many.
   */
  expire(): number {
    let dropped = 0
    for (const family of this.#families.values()) {
      dropped += family.expire(this.#generation.current)
    }
    this.#generation.current++
    return dropped
  }

  #add<C extends Child>(
    kind: MetricKind,
    name: string,
    help: string,
    options: FamilyOptions,
    make: (values: readonly string[]) => C,
  ): Family<C> {
    assert.ok(!this.#families.has(name), `metric ${name} is registered twice`)
    const labels = options.labels ?? []
    const family = new Family<C>({
      name,
      help,
      kind,
      labels,
      maxChildren: options.maxChildren ?? maxChildrenDefault,
      expires: options.expires ?? labels.length > 0,
      generation: this.#generation,
      make,
      onOverflow: () => this.overflowed++,
    })
    this.#families.set(name, family)
    return family
  }
}
