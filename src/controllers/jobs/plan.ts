/**
 * What a Job is doing and what must happen next, from the Job and its pods. Pure. Pods that ended are counted
 * once: they carry a finalizer until their end stands in the Job's status.
 */

import { isActive, isEnded, isReady, type Pod } from '../workload-types.ts'
import { parseIndexes } from './indexes.ts'
import { judgeFailure, successRuleMet } from './policy.ts'
import {
  conditionTrue,
  finishedAs,
  indexFailuresAnnotation,
  indexLabel,
  type Job,
  trackingFinalizer,
} from './types.ts'

export interface JobView {
  readonly active: readonly Pod[]
  readonly ready: number
  /** Being deleted, still there. */
  readonly terminating: readonly Pod[]
  /** Ended and not counted yet. */
  readonly succeededNow: readonly Pod[]
  readonly failedNow: readonly Pod[]
  /** Ended, and by policy of no account. */
  readonly ignoredNow: readonly Pod[]
  /** Totals with what is counted now. */
  readonly succeeded: number
  readonly failed: number
  readonly completedIndexes: ReadonlySet<number>
  readonly failedIndexes: ReadonlySet<number>
  /** Failures by index, where they are limited by index. */
  readonly indexFailures: ReadonlyMap<number, number>
  readonly failJob: string | undefined
}

export interface Outcome {
  readonly type: 'SuccessCriteriaMet' | 'FailureTarget'
  readonly reason: string
  readonly message: string
}

export function isIndexed(job: Job): boolean {
  return job.spec?.completionMode === 'Indexed'
}

export function indexOf(pod: Pod): number {
  const text = pod.metadata.annotations?.[indexLabel] ?? pod.metadata.labels?.[indexLabel]
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : -1
}

export function isTracked(pod: Pod): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) === true
}

/** A pod that is being deleted counts as failed, unless only ended pods are replaced. */
export function hasFailed(job: Job, pod: Pod): boolean {
  if (pod.status?.phase === 'Failed') return true
  if (job.spec?.podReplacementPolicy === 'Failed') return false
  return pod.metadata.deletionTimestamp !== undefined && pod.status?.phase !== 'Succeeded'
}

/** @param settled uids whose finalizer was removed a moment ago, though the cache may not know it */
export function viewJob(job: Job, pods: readonly Pod[], settled: ReadonlySet<string>): JobView {
  const { completions = 0, backoffLimitPerIndex } = job.spec ?? {}
  const { uncountedTerminatedPods: uncounted = {}, succeeded = 0, failed = 0 } = job.status ?? {}
  const fresh = pods.filter((pod) => isTracked(pod) && !settled.has(pod.metadata.uid ?? ''))
  const known = new Set([...(uncounted.succeeded ?? []), ...(uncounted.failed ?? [])])
  const isNew = (pod: Pod): boolean => !known.has(pod.metadata.uid ?? '')
  const succeededNow = fresh.filter((pod) => pod.status?.phase === 'Succeeded' && isNew(pod))
  const failures = fresh.filter((pod) => hasFailed(job, pod) && isNew(pod))
  const verdicts = new Map(failures.map((pod) => [pod, judgeFailure(job, pod)]))
  const failedNow = failures.filter((pod) => verdicts.get(pod)?.action !== 'Ignore')
  const completedIndexes = parseIndexes(job.status?.completedIndexes, completions)
  for (const pod of succeededNow) {
    if (indexOf(pod) >= 0 && indexOf(pod) < completions) completedIndexes.add(indexOf(pod))
  }
  const indexFailures = failuresByIndex(job, pods)
  const failedIndexes = parseIndexes(job.status?.failedIndexes, completions)
  if (backoffLimitPerIndex !== undefined) {
    for (const [index, count] of indexFailures) {
      if (count > backoffLimitPerIndex && !completedIndexes.has(index)) failedIndexes.add(index)
    }
    for (const [pod, { action }] of verdicts) {
      if (action === 'FailIndex') failedIndexes.add(indexOf(pod))
    }
  }
  const waiting = { done: uncounted.succeeded?.length ?? 0, lost: uncounted.failed?.length ?? 0 }
  return {
    active: pods.filter(isActive),
    ready: pods.filter((pod) => isActive(pod) && isReady(pod)).length,
    terminating: pods.filter(
      (pod) => pod.metadata.deletionTimestamp !== undefined && !isEnded(pod),
    ),
    succeededNow,
    failedNow,
    ignoredNow: failures.filter((pod) => verdicts.get(pod)?.action === 'Ignore'),
    succeeded: isIndexed(job)
      ? completedIndexes.size
      : succeeded + waiting.done + succeededNow.length,
    failed: failed + waiting.lost + failedNow.length,
    completedIndexes,
    failedIndexes,
    indexFailures,
    failJob: [...verdicts.values()].find((verdict) => verdict.action === 'FailJob')?.message,
  }
}

/** Each pod carries the failures before it; the newest one knows them all. */
function failuresByIndex(job: Job, pods: readonly Pod[]): Map<number, number> {
  const counts = new Map<number, number>()
  if (job.spec?.backoffLimitPerIndex === undefined) return counts
  for (const pod of pods) {
    const before = Number(pod.metadata.annotations?.[indexFailuresAnnotation] ?? 0)
    const own = hasFailed(job, pod) && judgeFailure(job, pod).action !== 'Ignore' ? 1 : 0
    const index = indexOf(pod)
    counts.set(index, Math.max(counts.get(index) ?? 0, before + own))
  }
  return counts
}

/** Whether the Job is decided, and how. What was decided before stays. */
export function outcomeOf(job: Job, view: JobView, nowMs: number): Outcome | undefined {
  for (const type of ['FailureTarget', 'SuccessCriteriaMet'] as const) {
    const known = conditionTrue(job, type)
    if (known !== undefined) {
      return { type, reason: known.reason ?? '', message: known.message ?? '' }
    }
  }
  return failureOf(job, view, nowMs) ?? successOf(job, view)
}

function failureOf(job: Job, view: JobView, nowMs: number): Outcome | undefined {
  const { completions = 0, backoffLimit = 6, maxFailedIndexes } = job.spec ?? {}
  const failure = (reason: string, message: string): Outcome => {
    return { type: 'FailureTarget', reason, message }
  }
  if (view.failJob !== undefined) return failure('PodFailurePolicy', view.failJob)
  if (view.failed > backoffLimit || restartsBeyond(job, view, backoffLimit)) {
    return failure('BackoffLimitExceeded', 'Job has reached the specified backoff limit')
  }
  if (deadlineMs(job, nowMs) === 0) {
    return failure('DeadlineExceeded', 'Job was active longer than specified deadline')
  }
  const lost = view.failedIndexes.size
  if (lost === 0) return undefined
  if (maxFailedIndexes !== undefined && lost > maxFailedIndexes) {
    return failure(
      'MaxFailedIndexesExceeded',
      'Job has exceeded the specified maximal number of failed indexes',
    )
  }
  if (lost + view.completedIndexes.size >= completions) {
    return failure('FailedIndexes', 'Job has failed indexes')
  }
  return undefined
}

/** With restartPolicy OnFailure containers fail inside their pods. */
function restartsBeyond(job: Job, view: JobView, limit: number): boolean {
  if (job.spec?.template.spec.restartPolicy !== 'OnFailure') return false
  let restarts = 0
  for (const { status } of view.active) {
    if (status?.phase !== 'Running' && status?.phase !== 'Pending') continue
    for (const one of [
      ...(status.containerStatuses ?? []),
      ...(status.initContainerStatuses ?? []),
    ]) {
      restarts += one.restartCount ?? 0
    }
  }
  return limit === 0 ? restarts > 0 : restarts >= limit
}

/** Milliseconds until the Job's deadline; undefined when it has none. */
export function deadlineMs(job: Job, nowMs: number): number | undefined {
  const { activeDeadlineSeconds, suspend } = job.spec ?? {}
  const { startTime } = job.status ?? {}
  if (activeDeadlineSeconds === undefined || startTime === undefined || suspend === true) {
    return undefined
  }
  return Math.max(0, Date.parse(startTime) + activeDeadlineSeconds * 1000 - nowMs)
}

function successOf(job: Job, view: JobView): Outcome | undefined {
  const { completions } = job.spec ?? {}
  const success = (reason: string, message: string): Outcome => {
    return { type: 'SuccessCriteriaMet', reason, message }
  }
  if (isIndexed(job) && job.spec?.successPolicy !== undefined) {
    const rule = successRuleMet(job, view.completedIndexes)
    if (rule !== undefined) return success('SuccessPolicy', `Matched rules at index ${rule}`)
  }
  const reached =
    completions === undefined
      ? view.succeeded > 0 && view.active.length === 0
      : view.succeeded >= completions
  if (!reached) return undefined
  return success('CompletionsReached', 'Reached expected number of succeeded pods')
}

/** How many pods should be active. */
export function wantedActive(job: Job, view: JobView): number {
  const { parallelism = 1, completions, suspend } = job.spec ?? {}
  if (suspend === true || finishedAs(job) !== undefined) return 0
  if (completions === undefined) return view.succeeded > 0 ? view.active.length : parallelism
  return Math.max(0, Math.min(parallelism, completions - view.succeeded - view.failedIndexes.size))
}

/** The lowest indexes without a pod that works on them, at most `count`. */
export function pendingIndexes(job: Job, view: JobView, count: number): number[] {
  const { completions = 0, podReplacementPolicy } = job.spec ?? {}
  const busy =
    podReplacementPolicy === 'Failed' ? [...view.active, ...view.terminating] : view.active
  const taken = new Set(busy.map(indexOf))
  const pending: number[] = []
  for (let index = 0; index < completions && pending.length < count; index++) {
    if (taken.has(index) || view.completedIndexes.has(index) || view.failedIndexes.has(index)) {
      continue
    }
    pending.push(index)
  }
  return pending
}

/** Which active pods are too many: of indexes that need none, then not ready, then the youngest. */
export function surplusPods(job: Job, view: JobView, count: number): Pod[] {
  const seen = new Set<number>()
  const useless = (pod: Pod): boolean => {
    if (!isIndexed(job)) return false
    const index = indexOf(pod)
    const needed =
      index >= 0 && index < (job.spec?.completions ?? 0) && !view.completedIndexes.has(index)
    if (needed && !seen.has(index)) {
      seen.add(index)
      return false
    }
    return true
  }
  const oldestFirst = view.active.toSorted((a, b) =>
    (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''),
  )
  const first = new Set(oldestFirst.filter(useless))
  const rest = oldestFirst
    .filter((pod) => !first.has(pod))
    .toReversed()
    .toSorted((a, b) => Number(isReady(a)) - Number(isReady(b)))
  return [...first, ...rest].slice(0, Math.max(count, first.size))
}
