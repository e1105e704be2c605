/** The two text forms that scrapers ask for: Prometheus 0.0.4 and OpenMetrics 1.0.0. */
import { CounterChild, GaugeChild, HistogramChild } from './child.ts'
import type { Family } from './family.ts'

export type ExpositionFormat = 'prometheus' | 'openmetrics'

export const contentTypes: Readonly<Record<ExpositionFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
}

/** The form that a scraper's Accept header asks for. */
export function chooseFormat(accept: string | undefined): ExpositionFormat {
  return accept?.includes('application/openmetrics-text') === true ? 'openmetrics' : 'prometheus'
}

/** The whole text of a scrape. */
export function expose(families: Iterable<Family>, format: ExpositionFormat): string {
  const parts: string[] = []
  for (const family of families) exposeFamily(family, format, parts)
  if (format === 'openmetrics') parts.push('# EOF\n')
  return parts.join('')
}

function exposeFamily(family: Family, format: ExpositionFormat, parts: string[]): void {
  const open = format === 'openmetrics'
  const { name, kind } = open ? openMetricsFamily(family) : family
  parts.push(`# HELP ${name} ${open ? escapeLabel(family.help) : escapeHelp(family.help)}\n`)
  parts.push(`# TYPE ${name} ${kind}\n`)
  for (const child of family.children()) {
    const labels = formatLabels(family.labels, child.labelValues)
    if (child instanceof HistogramChild) exposeHistogram(family.name, labels, child, open, parts)
    else if (child instanceof CounterChild || child instanceof GaugeChild) {
      const braces = labels === '' ? '' : `{${labels}}`
      parts.push(`${family.name}${braces} ${formatNumber(child.value)}\n`)
    }
  }
}

/** In OpenMetrics the family of a counter has no suffix, and its sample must have: others are `unknown`. */
function openMetricsFamily({ name, kind }: Family): { name: string; kind: string } {
  if (kind !== 'counter') return { name, kind }
  if (!name.endsWith('_total')) return { name, kind: 'unknown' }
  return { name: name.slice(0, -'_total'.length), kind }
}

function exposeHistogram(
  name: string,
  labels: string,
  child: HistogramChild,
  open: boolean,
  parts: string[],
): void {
  const prefix = labels === '' ? '' : `${labels},`
  let total = 0
  for (const [index, count] of child.counts.entries()) {
    total += count
    const bound = child.bounds[index]
    const le = bound === undefined ? '+Inf' : formatBound(bound, open)
    parts.push(`${name}_bucket{${prefix}le="${le}"} ${total}\n`)
  }
  const braces = labels === '' ? '' : `{${labels}}`
  parts.push(`${name}_sum${braces} ${formatNumber(child.sum)}\n${name}_count${braces} ${total}\n`)
}

function formatBound(bound: number, open: boolean): string {
  return open && Number.isInteger(bound) ? `${bound}.0` : formatNumber(bound)
}

function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf'
  if (value === -Infinity) return '-Inf'
  return String(value)
}

function formatLabels(names: readonly string[], values: readonly string[]): string {
  let text = ''
  for (let index = 0; index < names.length; index++) {
    text += `${index === 0 ? '' : ','}${names[index]}="${escapeLabel(values[index] ?? '')}"`
  }
  return text
}

const special = /[\\"\n]/

function escapeLabel(value: string): string {
  if (!special.test(value)) return value
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function escapeHelp(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
