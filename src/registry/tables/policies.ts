/** Rows of what steers workloads: autoscalers and disruption budgets. */
import type { KubeObject } from '../../kube/index.ts'
import { type JsonMap, listOf, mapOf, textOf, valueAt } from '../values.ts'
import { age, type Cells, number } from './cells.ts'

const unknown = '<unknown>'

/** Metrics shown; the rest is counted. */
const metricsShown = 2

function reference(autoscaler: KubeObject): string {
  const { kind, name } = mapOf(valueAt(autoscaler, 'spec.scaleTargetRef'))
  return `${textOf(kind)}/${textOf(name)}`
}

/** `cpu: 12%/80%` for each metric: what is, and what should be. */
function targets(autoscaler: KubeObject): string {
  const flat = valueAt(autoscaler, 'spec.targetCPUUtilizationPercentage')
  if (flat !== undefined) {
    // The shape of autoscaling/v1.
    const current = valueAt(autoscaler, 'status.currentCPUUtilizationPercentage')
    return `cpu: ${current === undefined ? unknown : `${textOf(current)}%`}/${textOf(flat)}%`
  }
  const specs = listOf(valueAt(autoscaler, 'spec.metrics'))
  const currents = listOf(valueAt(autoscaler, 'status.currentMetrics'))
  if (specs.length === 0) return '<none>'
  const shown = specs
    .slice(0, metricsShown)
    .map((spec, position) => metricText(spec, currents[position]))
  const left = specs.length - shown.length
  return left > 0 ? `${shown.join(', ')} + ${left} more...` : shown.join(', ')
}

function metricText(spec: JsonMap, current: JsonMap | undefined): string {
  const key = Object.keys(spec).find((name) => name !== 'type') ?? ''
  const source = mapOf(spec[key])
  const now = mapOf(mapOf(current?.[key]).current)
  const target = mapOf(source.target)
  const text = pair(target, now)
  const named = key === 'resource' || key === 'containerResource'
  return named ? `${textOf(source.name)}: ${text}` : text
}

function pair(target: JsonMap, now: JsonMap): string {
  for (const field of ['averageUtilization', 'averageValue', 'value']) {
    if (target[field] === undefined) continue
    const unit = field === 'averageUtilization' ? '%' : ''
    const present = now[field] === undefined ? unknown : `${textOf(now[field])}${unit}`
    const average = field === 'averageValue' ? ' (avg)' : ''
    return `${present}/${textOf(target[field])}${unit}${average}`
  }
  return '<auto>'
}

const orNone = (path: string) => (object: KubeObject) => textOf(valueAt(object, path) ?? 'N/A')

export const policyPrinters: Readonly<Record<string, Cells>> = {
  'autoscaling/horizontalpodautoscalers': {
    Reference: reference,
    Targets: targets,
    MinPods: (object) => textOf(valueAt(object, 'spec.minReplicas') ?? '<unset>'),
    MaxPods: (object) => number(object, 'spec.maxReplicas'),
    Replicas: (object) => number(object, 'status.currentReplicas'),
    Age: age,
  },
  'policy/poddisruptionbudgets': {
    'Min Available': orNone('spec.minAvailable'),
    'Max Unavailable': orNone('spec.maxUnavailable'),
    'Allowed Disruptions': (object) => number(object, 'status.disruptionsAllowed'),
    Age: age,
  },
}
