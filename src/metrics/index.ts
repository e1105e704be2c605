/** Counters, gauges and histograms with bounded series, and their text forms. */
export type { CounterChild, GaugeChild, HistogramChild } from './child.ts'
export {
  chooseFormat,
  contentTypes,
  type ExpositionFormat,
  expose,
} from './exposition.ts'
export type { Family, FamilyOptions, MetricKind } from './family.ts'
export { serveMetrics } from './http.ts'
export { MetricsRegistry } from './registry.ts'
