/** Rules for workloads: selectors that select their own pods, restart policies, immutable fields. */
import {
  isApiError,
  type LabelSelector,
  matchesLabels,
  type Selector,
  selectorOf,
} from '../../kube/index.ts'
import { asMap, type Json, sameJson } from '../json.ts'
import { labelsErrors } from './metadata-validation.ts'
import { podSpecErrors } from './pod-validation.ts'
import type { Cursor } from './report.ts'

/** The parsed selector; complains when it is missing, empty or can't be read. */
function ownSelector(spec: Cursor, kind: string): Selector | undefined {
  const selector = asMap(spec.value('selector'))
  if (selector === undefined) {
    spec.required('selector')
    return undefined
  }
  const parsed = selectorOrError(spec, selector)
  if (parsed?.length === 0) {
    spec.invalid('selector', `empty selector is invalid for ${kind}`)
    return undefined
  }
  return parsed
}

function selectorOrError(spec: Cursor, selector: Json): Selector | undefined {
  try {
    return selectorOf(selector as LabelSelector)
  } catch (thrown) {
    if (!isApiError(thrown)) throw thrown
    spec.invalid('selector', thrown.message)
    return undefined
  }
}

function templateErrors(
  spec: Cursor,
  selector: Selector | undefined,
  restartPolicies: readonly string[],
): void {
  const template = spec.child('template')
  const pod = template?.child('spec')
  if (template === undefined || pod === undefined) {
    spec.required(template === undefined ? 'template' : 'template.spec')
    return
  }
  const metadata = template.child('metadata')
  const labels = asMap(metadata?.value('labels')) ?? {}
  template.errors.push(...labelsErrors(labels, template.at('metadata.labels')))
  if (selector !== undefined && !matchesLabels(selector, labels as Record<string, string>)) {
    const text = '`selector` does not match template `labels`'
    template.invalid('metadata.labels', text, labels)
  }
  podSpecErrors(pod)
  if (!restartPolicies.includes(pod.text('restartPolicy') ?? 'Always')) {
    pod.notSupported('restartPolicy', restartPolicies)
  }
}

/** Deployments, ReplicaSets, DaemonSets: a selector, a template, numbers, and no change of selector. */
function replicatedErrors(object: Cursor, old: Json | undefined, kind: string): Cursor | undefined {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return undefined
  }
  spec.notNegative('replicas', 'minReadySeconds', 'revisionHistoryLimit')
  templateErrors(spec, ownSelector(spec, kind), ['Always'])
  spec.immutable(asMap(old?.['spec']), 'selector')
  return spec
}

export function deploymentErrors(object: Cursor, old: Json | undefined): void {
  const spec = replicatedErrors(object, old, 'deployment')
  const strategy = spec?.child('strategy')
  const rolling = strategy?.child('rollingUpdate')
  if (strategy?.value('type') === 'Recreate' && rolling !== undefined) {
    const text = "may not be specified when strategy `type` is 'Recreate'"
    strategy.forbidden('rollingUpdate', text)
  } else if (rolling !== undefined) {
    for (const name of ['maxSurge', 'maxUnavailable']) amountErrors(rolling, name)
    if (isZero(rolling.value('maxSurge')) && isZero(rolling.value('maxUnavailable'))) {
      rolling.invalid('maxUnavailable', 'may not be 0 when `maxSurge` is 0')
    }
  }
  const deadline = spec?.number('progressDeadlineSeconds')
  if (
    spec !== undefined &&
    deadline !== undefined &&
    deadline <= (spec.number('minReadySeconds') ?? 0)
  ) {
    spec.invalid('progressDeadlineSeconds', 'must be greater than minReadySeconds')
  }
}

function isZero(value: unknown): boolean {
  return value === 0 || value === '0%'
}

/** A count, or a percentage. */
function amountErrors(cursor: Cursor, name: string): void {
  const value = cursor.value(name)
  if (typeof value === 'number') cursor.notNegative(name)
  else if (typeof value === 'string' && !/^\d+%$/.test(value)) {
    const text =
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
    cursor.invalid(name, text)
  }
}

export function replicaSetErrors(object: Cursor, old: Json | undefined): void {
  replicatedErrors(object, old, 'deployment')
}

export function daemonSetErrors(object: Cursor, old: Json | undefined): void {
  const rolling = replicatedErrors(object, old, 'daemonset')
    ?.child('updateStrategy')
    ?.child('rollingUpdate')
  if (rolling !== undefined) amountErrors(rolling, 'maxUnavailable')
}

const statefulSetMutable = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
]

export function statefulSetErrors(object: Cursor, old: Json | undefined): void {
  const spec = replicatedErrors(object, undefined, 'statefulset')
  const before = asMap(old?.['spec'])
  if (spec === undefined || before === undefined) return
  const changed = [...new Set([...Object.keys(before), ...Object.keys(spec.map)])].some(
    (key) =>
      !statefulSetMutable.includes(key) && !sameJson(before[key] ?? null, spec.map[key] ?? null),
  )
  if (!changed) return
  const quoted = statefulSetMutable.map((name) => `'${name}'`)
  const names = `${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1)}`
  spec.forbidden('', `updates to statefulset spec for fields other than ${names} are forbidden`)
}

export function jobErrors(object: Cursor, old: Json | undefined): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  jobSpecErrors(spec)
  const selector = asMap(spec.value('selector'))
  const parsed = selector === undefined ? undefined : selectorOrError(spec, selector)
  templateErrors(spec, parsed, ['OnFailure', 'Never'])
  const before = asMap(old?.['spec'])
  spec.immutable(before, 'selector', 'completionMode', 'podFailurePolicy', 'backoffLimitPerIndex')
  // A suspended job hasn't used its template yet.
  if (before?.['suspend'] !== true) spec.immutable(before, 'template')
  if (spec.value('completionMode') !== 'Indexed') spec.immutable(before, 'completions')
}

function jobSpecErrors(spec: Cursor): void {
  spec.notNegative(
    'parallelism',
    'completions',
    'backoffLimit',
    'activeDeadlineSeconds',
    'ttlSecondsAfterFinished',
  )
}

export function cronJobErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  if (spec.need('schedule') && !isSchedule(spec.text('schedule') ?? '')) {
    spec.invalid('schedule', 'expected five fields, or a descriptor such as @hourly')
  }
  spec.notNegative(
    'startingDeadlineSeconds',
    'successfulJobsHistoryLimit',
    'failedJobsHistoryLimit',
  )
  const job = spec.child('jobTemplate')?.child('spec')
  if (job === undefined) {
    spec.required('jobTemplate.spec')
    return
  }
  jobSpecErrors(job)
  templateErrors(job, undefined, ['OnFailure', 'Never'])
}

function isSchedule(text: string): boolean {
  if (/^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)$/.test(text)) return true
  const fields = text.trim().split(/\s+/)
  return fields.length === 5 && fields.every((field) => /^[\d*?,/A-Za-z-]+$/.test(field))
}

export function autoscalerErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  const max = spec.number('maxReplicas') ?? 0
  if (max < 1) spec.invalid('maxReplicas', 'must be greater than 0', max)
  if (max < (spec.number('minReplicas') ?? 1)) {
    spec.invalid('maxReplicas', 'must be greater than or equal to `minReplicas`', max)
  }
  const target = spec.child('scaleTargetRef')
  target?.need('kind')
  target?.need('name')
}

export function disruptionBudgetErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (spec?.isSet('minAvailable') && spec.isSet('maxUnavailable')) {
    spec.errors.push({
      reason: 'FieldValueInvalid',
      message: 'Invalid value: minAvailable and maxUnavailable cannot be both set',
      field: spec.path,
    })
  }
  for (const name of ['minAvailable', 'maxUnavailable']) if (spec) amountErrors(spec, name)
}
