/** Series of several threads as one: each sends its own, the main thread adds them up for a scrape. */
import { type Family, type MetricKind, MetricsRegistry } from '../../metrics/index.ts'

export interface FamilySnapshot {
  readonly name: string
  readonly help: string
  readonly kind: MetricKind
  readonly labels: readonly string[]
  /** Of histograms. */
  readonly bounds?: readonly number[]
  readonly children: readonly {
    readonly labelValues: readonly string[]
    readonly value: number
    /** Of histograms; the sum is in `value`. */
    readonly counts?: readonly number[]
  }[]
}

interface AnyChild {
  readonly labelValues: readonly string[]
  value?: number
  readonly bounds?: readonly number[]
  readonly counts?: number[]
  sum?: number
}

/** All series of a registry. */
export function snapshotMetrics(registry: MetricsRegistry): FamilySnapshot[] {
  return Array.from(registry.families(), (family) => {
    const { name, help, kind, labels } = family
    const children = Array.from(family.children() as Iterable<AnyChild>, (child) => ({
      labelValues: child.labelValues,
      value: child.value ?? child.sum ?? 0,
      ...(child.counts === undefined ? {} : { counts: child.counts }),
    }))
    const [first] = family.children() as Iterable<AnyChild>
    const bounds = first?.bounds
    return { name, help, kind, labels, children, ...(bounds === undefined ? {} : { bounds }) }
  })
}

/** One registry with the sums; made for each scrape, because the threads' own go on counting. */
export function mergeMetrics(parts: readonly (readonly FamilySnapshot[])[]): MetricsRegistry {
  const merged = new MetricsRegistry()
  const families = new Map<string, Family>()
  for (const family of parts.flat()) {
    let into = families.get(family.name)
    if (into === undefined) families.set(family.name, (into = addFamily(merged, family)))
    for (const { labelValues, value, counts } of family.children) {
      // Which of the three it is follows from the family's kind, the same in all threads.
      const child = into.child(...labelValues) as AnyChild
      if (child.counts === undefined) child.value = (child.value ?? 0) + value
      else {
        child.sum = (child.sum ?? 0) + value
        for (const [index, count] of (counts ?? []).entries()) {
          child.counts[index] = (child.counts[index] ?? 0) + count
        }
      }
    }
  }
  return merged
}

function addFamily(registry: MetricsRegistry, family: FamilySnapshot): Family {
  const { name, help, kind, labels, bounds = [] } = family
  const options = { labels, maxChildren: Infinity }
  if (kind === 'counter') return registry.counter(name, help, options)
  if (kind === 'gauge') return registry.gauge(name, help, options)
  return registry.histogram(name, help, { ...options, bounds })
}
