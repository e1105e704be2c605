/** A Job's status: counts, and the conditions that `kubectl wait` and helm look at. Pure. */
import { formatTime } from '../../kube/index.ts'
import type { Condition } from '../workload-types.ts'
import { formatIndexes } from './indexes.ts'
import { isIndexed, type JobView, type Outcome } from './plan.ts'
import type { Job, JobStatus, UncountedPods } from './types.ts'

export interface Counting {
  readonly view: JobView
  /** After what was just created and deleted. */
  readonly active: number
  readonly outcome: Outcome | undefined
  /** Ended pods that are not in the numbers yet. */
  readonly uncounted: UncountedPods
  /** Ended pods whose finalizer is gone, to be added to the numbers. */
  readonly counted?: UncountedPods
  readonly nowMs: number
}

/** Whether this look at the Job finds it newly suspended or resumed. */
export function suspension(job: Job): 'suspended' | 'resumed' | undefined {
  const known = job.status?.conditions?.find(({ type }) => type === 'Suspended')
  const suspended = job.spec?.suspend === true
  if (suspended && known?.status !== 'True') return 'suspended'
  return !suspended && known?.status === 'True' ? 'resumed' : undefined
}

export function statusOf(job: Job, counting: Counting): JobStatus {
  const { view, active, outcome, uncounted, counted = {}, nowMs } = counting
  const before = job.status ?? {}
  const suspended = job.spec?.suspend === true
  const succeeded = isIndexed(job)
    ? view.completedIndexes.size
    : (before.succeeded ?? 0) + (counted.succeeded?.length ?? 0)
  const failed = (before.failed ?? 0) + (counted.failed?.length ?? 0)
  const startTime = suspended
    ? undefined
    : suspension(job) === 'resumed'
      ? formatTime(nowMs)
      : (before.startTime ?? formatTime(nowMs))
  const conditions = conditionsOf(job, outcome, nowMs)
  const completed = formatIndexes(view.completedIndexes)
  const waiting: UncountedPods = {
    ...((uncounted.succeeded ?? []).length === 0 ? {} : { succeeded: uncounted.succeeded ?? [] }),
    ...((uncounted.failed ?? []).length === 0 ? {} : { failed: uncounted.failed ?? [] }),
  }
  return {
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(before.completionTime === undefined ? {} : { completionTime: before.completionTime }),
    ...(active === 0 ? {} : { active }),
    terminating: view.terminating.length,
    ready: view.ready,
    ...(succeeded === 0 ? {} : { succeeded }),
    ...(failed === 0 ? {} : { failed }),
    ...(completed === '' ? {} : { completedIndexes: completed }),
    ...(job.spec?.backoffLimitPerIndex === undefined
      ? {}
      : { failedIndexes: formatIndexes(view.failedIndexes) }),
    uncountedTerminatedPods: waiting,
  }
}

function conditionsOf(job: Job, outcome: Outcome | undefined, nowMs: number): Condition[] {
  let conditions = job.status?.conditions ?? []
  const change = suspension(job)
  if (change === 'suspended') {
    conditions = set(conditions, nowMs, {
      type: 'Suspended',
      status: 'True',
      reason: 'JobSuspended',
      message: 'Job suspended',
    })
  } else if (change === 'resumed') {
    conditions = set(conditions, nowMs, {
      type: 'Suspended',
      status: 'False',
      reason: 'JobResumed',
      message: 'Job resumed',
    })
  }
  return outcome === undefined ? conditions : set(conditions, nowMs, { ...outcome, status: 'True' })
}

/** The conditions with the last word: every pod has ended. */
export function finalConditions(
  conditions: readonly Condition[],
  outcome: Outcome,
  nowMs: number,
): Condition[] {
  const type = outcome.type === 'FailureTarget' ? 'Failed' : 'Complete'
  return set(conditions, nowMs, { ...outcome, type, status: 'True' })
}

function set(conditions: readonly Condition[], nowMs: number, next: Condition): Condition[] {
  const now = formatTime(nowMs)
  const known = conditions.find(({ type }) => type === next.type)
  if (known?.status === next.status && known.reason === next.reason) return [...conditions]
  const made = { ...next, lastProbeTime: now, lastTransitionTime: now }
  return [...conditions.filter((condition) => condition !== known), made]
}
