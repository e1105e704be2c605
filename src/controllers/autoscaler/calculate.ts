/** How many replicas a resource metric asks for. Pure. */
import { quantityToNumber } from '../../kube/index.ts'
import { limits } from '../limits.ts'
import { conditionAgeMs } from '../pods.ts'
import { isReady, type Pod } from '../workload-types.ts'
import type { MetricStatus, MetricTarget, PodMetrics } from './types.ts'

/** A difference of less than a tenth is noise. */
const tolerance = 0.1

export interface Question {
  readonly resource: string
  /** Undefined: all containers of a pod together. */
  readonly container: string | undefined
  readonly target: MetricTarget
  readonly replicas: number
  readonly pods: readonly Pod[]
  /** By pod name. */
  readonly metrics: ReadonlyMap<string, PodMetrics>
  readonly nowMs: number
}

export type Answer =
  | { readonly replicas: number; readonly value: MetricStatus }
  /** Why it can't be told. */
  | { readonly why: string }

export function askedByMetric(question: Question): Answer {
  const { resource, container, target, pods, metrics } = question
  const counted = pods.filter(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined && status?.phase !== 'Failed',
  )
  const known = counted.flatMap((pod) => {
    const used = usageOf(metrics.get(pod.metadata.name), resource, container)
    return used === undefined ? [] : [{ pod, used }]
  })
  const steady = known.filter(({ pod }) => !isStarting(question, pod))
  if (steady.length === 0) return { why: `no metrics returned from resource metrics API` }
  const average = steady.reduce((sum, { used }) => sum + used, 0) / steady.length
  const averageValue = quantityText(resource, average)
  if (target.type !== 'Utilization') {
    const wanted = quantityToNumber(target.averageValue ?? '0')
    const ratio = average / wanted
    return {
      replicas: sized(question, ratio, { steady, counted }),
      value: statusOf(question, { averageValue }),
    }
  }
  let requested = 0
  for (const { pod } of steady) {
    const request = requestOf(pod, resource, container)
    if (typeof request === 'string') return { why: request }
    requested += request
  }
  // Sums of fractions: 99.999 percent are a hundred.
  const utilization = Math.trunc((average * steady.length * 100) / requested + 1e-6)
  const ratio = utilization / (target.averageUtilization ?? 80)
  return {
    replicas: sized(question, ratio, { steady, counted }),
    value: statusOf(question, { averageUtilization: utilization, averageValue }),
  }
}

/** Pods without a value count against the direction: as idle when growing, as just right when shrinking. */
function sized(
  question: Question,
  ratio: number,
  pods: { readonly steady: readonly unknown[]; readonly counted: readonly Pod[] },
): number {
  const silent = pods.counted.length - pods.steady.length
  if (Math.abs(ratio - 1) <= tolerance) return question.replicas
  if (silent === 0) return Math.ceil(ratio * pods.steady.length - 1e-9)
  const total = pods.counted.length
  const corrected = (ratio * pods.steady.length + (ratio < 1 ? silent : 0)) / total
  // What was assumed must not turn the direction round.
  if (Math.abs(corrected - 1) <= tolerance || corrected > 1 !== ratio > 1) return question.replicas
  const next = Math.ceil(corrected * total - 1e-9)
  const turned = ratio > 1 ? next < question.replicas : next > question.replicas
  return turned ? question.replicas : next
}

/** What a starting pod uses of the processor says nothing about its load. */
function isStarting({ resource, nowMs }: Question, pod: Pod): boolean {
  if (pod.status?.phase === 'Pending') return true
  if (resource !== 'cpu') return false
  const startedMs = Date.parse(pod.status?.startTime ?? '')
  if (!isReady(pod)) return true
  // Its first sample after getting ready still holds the start.
  const young = nowMs - startedMs < limits.autoscalerWarmUpMs
  return young && conditionAgeMs(pod, 'Ready', nowMs) < limits.autoscalerPeriodMs
}

function usageOf(
  metrics: PodMetrics | undefined,
  resource: string,
  container: string | undefined,
): number | undefined {
  if (metrics === undefined) return undefined
  const used = metrics.containers
    .filter(({ name }) => container === undefined || name === container)
    .map(({ usage }) => usage[resource])
  if (used.length === 0 || used.some((value) => value === undefined)) return undefined
  return used.reduce((sum, value) => sum + quantityToNumber(value ?? '0'), 0)
}

function requestOf(pod: Pod, resource: string, container: string | undefined): number | string {
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')
  let sum = 0
  for (const each of [...containers, ...sidecars]) {
    if (container !== undefined && each.name !== container) continue
    const request = each.resources?.requests?.[resource]
    if (request === undefined) {
      return `missing request for ${resource} in container ${each.name} of Pod ${pod.metadata.name}`
    }
    sum += quantityToNumber(request)
  }
  return sum
}

function statusOf(
  { resource, container }: Question,
  current: { readonly averageUtilization?: number; readonly averageValue: string },
): MetricStatus {
  return container === undefined
    ? { type: 'Resource', resource: { name: resource, current } }
    : {
        type: 'ContainerResource',
        containerResource: { name: resource, container, current },
      }
}

function quantityText(resource: string, value: number): string {
  return resource === 'cpu' ? `${Math.round(value * 1000)}m` : String(Math.round(value))
}
