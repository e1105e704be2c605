/** Rules for workloads: selectors that select their own pods, restart policies, update strategies, immutable fields. */
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

/** The parsed selector; complains when it can't be read. */
export function selectorOrError(spec: Cursor, selector: Json): Selector | undefined {
  try {
    return selectorOf(selector as LabelSelector)
  } catch (thrown) {
    if (!isApiError(thrown)) throw thrown
    spec.invalid('selector', thrown.message)
    return undefined
  }
}

/** @param restartPolicies absent: the caller judges them */
export function templateErrors(
  spec: Cursor,
  selector: Selector | undefined,
  restartPolicies?: readonly string[],
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
  if (restartPolicies !== undefined && pod.isSet('restartPolicy')) {
    pod.oneOf('restartPolicy', restartPolicies)
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
export function amountErrors(cursor: Cursor, name: string): void {
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
  const strategy = replicatedErrors(object, old, 'daemonset')?.child('updateStrategy')
  strategy?.oneOf('type', ['RollingUpdate', 'OnDelete'])
  const rolling = strategy?.child('rollingUpdate')
  if (rolling === undefined) return
  for (const name of ['maxSurge', 'maxUnavailable']) amountErrors(rolling, name)
  const surges = rolling.isSet('maxSurge') && !isZero(rolling.value('maxSurge'))
  const { maxUnavailable } = rolling.map
  if (!surges && isZero(maxUnavailable)) {
    rolling.invalid('maxUnavailable', 'cannot be 0 when maxSurge is 0')
  } else if (surges && maxUnavailable !== undefined && !isZero(maxUnavailable)) {
    rolling.invalid('maxSurge', 'may not be set when maxUnavailable is non-zero')
  }
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
  if (spec === undefined) return
  spec.oneOf('podManagementPolicy', ['OrderedReady', 'Parallel'])
  const strategy = spec.child('updateStrategy')
  strategy?.oneOf('type', ['RollingUpdate', 'OnDelete'])
  strategy?.child('rollingUpdate')?.notNegative('partition')
  spec.child('ordinals')?.notNegative('start')
  const retention = spec.child('persistentVolumeClaimRetentionPolicy')
  for (const name of ['whenDeleted', 'whenScaled']) retention?.oneOf(name, ['Retain', 'Delete'])
  const before = asMap(old?.['spec'])
  if (before === undefined) return
  const changed = [...new Set([...Object.keys(before), ...Object.keys(spec.map)])].some(
    (key) =>
      !statefulSetMutable.includes(key) && !sameJson(before[key] ?? null, spec.map[key] ?? null),
  )
  if (!changed) return
  const quoted = statefulSetMutable.map((name) => `'${name}'`)
  const names = `${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1)}`
  spec.forbidden('', `updates to statefulset spec for fields other than ${names} are forbidden`)
}
