/**
 * HorizontalPodAutoscalers are stored in `autoscaling/v2`; `autoscaling/v1` knows one target, the use of the
 * processor. What else an object holds is kept in annotations, under the names that Kubernetes uses.
 */
import type { KubeObject } from '../../kube/index.ts'
import { isMap, type JsonMap, listOf, mapOf, valueAt } from '../values.ts'

const prefix = 'autoscaling.alpha.kubernetes.io'
const metricsKey = `${prefix}/metrics`
const currentKey = `${prefix}/current-metrics`
const conditionsKey = `${prefix}/conditions`
const behaviorKey = `${prefix}/behavior`

/** Without a word about metrics, this is meant. */
const defaultUtilization = 80

export function autoscalerFromHub(object: KubeObject): KubeObject {
  const { metrics, behavior, ...spec } = mapOf(object.spec)
  const { currentMetrics, conditions, ...status } = mapOf(object.status)
  const targets = listOf(metrics)
  const cpu = targets.find(isCpuUtilization)
  const currents = listOf(currentMetrics)
  const current = currents.find(isCpuCurrent)
  const annotations: Record<string, string> = { ...object.metadata.annotations }
  const keep = (key: string, values: readonly unknown[]): void => {
    if (values.length > 0) annotations[key] = JSON.stringify(values)
  }
  keep(metricsKey, targets.filter((metric) => metric !== cpu).map(specToFlat))
  keep(currentKey, currents.filter((metric) => metric !== current).map(currentToFlat))
  keep(conditionsKey, listOf(conditions))
  if (isMap(behavior)) annotations[behaviorKey] = JSON.stringify(behavior)
  const utilization = valueAt(cpu, 'resource.target.averageUtilization')
  const used = valueAt(current, 'resource.current.averageUtilization')
  return {
    ...object,
    apiVersion: 'autoscaling/v1',
    metadata: {
      ...object.metadata,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    spec: {
      ...spec,
      ...(utilization === undefined ? {} : { targetCPUUtilizationPercentage: utilization }),
    },
    status: {
      currentReplicas: 0,
      desiredReplicas: 0,
      ...status,
      ...(used === undefined ? {} : { currentCPUUtilizationPercentage: used }),
    },
  }
}

export function autoscalerToHub(object: KubeObject): KubeObject {
  const { targetCPUUtilizationPercentage: utilization, ...spec } = mapOf(object.spec)
  const { currentCPUUtilizationPercentage: used, ...status } = mapOf(object.status)
  const { annotations: all, ...metadata } = object.metadata
  const annotations = { ...all }
  const taken = (key: string): unknown => {
    const text = annotations[key]
    delete annotations[key]
    return text === undefined ? undefined : parsed(text)
  }
  const others = listOf(taken(metricsKey)).map(flatToSpec)
  const currents = listOf(taken(currentKey)).map(flatToCurrent)
  const conditions = listOf(taken(conditionsKey))
  const behavior = taken(behaviorKey)
  const wanted = utilization ?? (others.length === 0 ? defaultUtilization : undefined)
  const own =
    wanted === undefined
      ? []
      : [resourceMetric({ target: { type: 'Utilization', averageUtilization: wanted } })]
  const ownCurrent =
    used === undefined || used === null
      ? []
      : [resourceMetric({ current: { averageUtilization: used, averageValue: '0' } })]
  const measured = [...ownCurrent, ...currents]
  return {
    ...object,
    apiVersion: 'autoscaling/v2',
    metadata: { ...metadata, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
    spec: {
      ...spec,
      metrics: [...own, ...others],
      ...(isMap(behavior) ? { behavior } : {}),
    },
    status: {
      ...status,
      currentMetrics: measured.length === 0 ? null : measured,
      ...(conditions.length === 0 ? {} : { conditions }),
    },
  }
}

function resourceMetric(value: JsonMap): JsonMap {
  return { type: 'Resource', resource: { name: 'cpu', ...value } }
}

function isCpuUtilization(metric: JsonMap): boolean {
  return (
    valueAt(metric, 'resource.name') === 'cpu' &&
    typeof valueAt(metric, 'resource.target.averageUtilization') === 'number'
  )
}

function isCpuCurrent(metric: JsonMap): boolean {
  return (
    valueAt(metric, 'resource.name') === 'cpu' &&
    typeof valueAt(metric, 'resource.current.averageUtilization') === 'number'
  )
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // An annotation that somebody wrote by hand: it says nothing then.
    return undefined
  }
}

/** v1 wrote the fields of targets and values side by side; each kind of metric has its own names. */
const flatNames: Readonly<
  Record<string, Readonly<Record<'value' | 'averageValue' | 'averageUtilization', string>>>
> = {
  resource: names('', 'AverageValue', 'AverageUtilization'),
  containerResource: names('', 'AverageValue', 'AverageUtilization'),
  pods: names('', 'AverageValue', ''),
  object: names('Value', 'averageValue', ''),
  external: names('Value', 'AverageValue', ''),
}

function names(value: string, averageValue: string, averageUtilization: string) {
  return { value, averageValue, averageUtilization }
}

const fields = ['value', 'averageValue', 'averageUtilization'] as const

function sourceOf(metric: JsonMap): [string, JsonMap] | undefined {
  const found = Object.entries(metric).find(([key]) => key in flatNames)
  return found === undefined ? undefined : [found[0], mapOf(found[1])]
}

function toFlat(metric: JsonMap, from: 'target' | 'current'): JsonMap {
  const source = sourceOf(metric)
  if (source === undefined) return metric
  const [kind, { metric: identity, describedObject, [from]: amounts, ...rest }] = source
  const flat: JsonMap = { ...rest }
  if (describedObject !== undefined) flat.target = describedObject
  if (identity !== undefined) {
    flat.metricName = mapOf(identity).name
    const selector = mapOf(identity).selector
    if (selector !== undefined) flat[kind === 'external' ? 'metricSelector' : 'selector'] = selector
  }
  for (const field of fields) {
    const value = mapOf(amounts)[field]
    const name = flatNames[kind]?.[field] ?? ''
    if (value !== undefined && name !== '') flat[flatName(from, name)] = value
  }
  return { type: metric.type, [kind]: flat }
}

function fromFlat(metric: JsonMap, to: 'target' | 'current'): JsonMap {
  const source = sourceOf(metric)
  if (source === undefined) return metric
  const [kind, { metricName, selector, metricSelector, target, ...rest }] = source
  const amounts: JsonMap = {}
  const left: JsonMap = { ...rest }
  for (const field of fields) {
    const name = flatNames[kind]?.[field] ?? ''
    const key = flatName(to, name)
    if (name === '' || left[key] === undefined) continue
    amounts[field] = left[key]
    delete left[key]
  }
  const matching = selector ?? metricSelector
  if (metricName !== undefined) {
    left.metric = { name: metricName, ...(matching === undefined ? {} : { selector: matching }) }
  }
  if (kind === 'object') left.describedObject = target
  if (to === 'target') {
    const type =
      amounts.averageUtilization !== undefined
        ? 'Utilization'
        : amounts.averageValue !== undefined
          ? 'AverageValue'
          : 'Value'
    left.target = { type, ...amounts }
  } else left.current = amounts
  return { type: metric.type, [kind]: left }
}

/** `targetAverageValue`, but `averageValue` where v1 has no prefix. */
function flatName(prefix: 'target' | 'current', name: string): string {
  return name.startsWith('a') ? name : `${prefix}${name}`
}

const specToFlat = (metric: JsonMap): JsonMap => toFlat(metric, 'target')
const flatToSpec = (metric: JsonMap): JsonMap => fromFlat(metric, 'target')
const currentToFlat = (metric: JsonMap): JsonMap => toFlat(metric, 'current')
const flatToCurrent = (metric: JsonMap): JsonMap => fromFlat(metric, 'current')
