/** The parts of Jobs and CronJobs that the controllers read and write. */
import type { KubeObject, LabelSelector } from '../../kube/index.ts'
import type { Condition, PodTemplate } from '../workload-types.ts'

export const trackingFinalizer = 'batch.kubernetes.io/job-tracking'
export const indexLabel = 'batch.kubernetes.io/job-completion-index'
export const indexFailuresAnnotation = 'batch.kubernetes.io/job-index-failure-count'
export const scheduledAnnotation = 'batch.kubernetes.io/cronjob-scheduled-timestamp'

export interface FailureRule {
  readonly action: 'FailJob' | 'FailIndex' | 'Ignore' | 'Count'
  readonly onExitCodes?: {
    readonly containerName?: string
    readonly operator: 'In' | 'NotIn'
    readonly values: readonly number[]
  }
  readonly onPodConditions?: readonly { readonly type: string; readonly status?: string }[]
}

export interface SuccessRule {
  readonly succeededIndexes?: string
  readonly succeededCount?: number
}

export interface JobSpec {
  parallelism?: number
  /** Absent: done when one pod succeeds and none is active. */
  completions?: number
  completionMode?: 'NonIndexed' | 'Indexed'
  activeDeadlineSeconds?: number
  backoffLimit?: number
  backoffLimitPerIndex?: number
  maxFailedIndexes?: number
  ttlSecondsAfterFinished?: number
  suspend?: boolean
  podReplacementPolicy?: 'TerminatingOrFailed' | 'Failed'
  podFailurePolicy?: { rules?: readonly FailureRule[] }
  successPolicy?: { rules?: readonly SuccessRule[] }
  /** Another controller's name: the Job is not ours. */
  managedBy?: string
  selector?: LabelSelector
  template: PodTemplate
}

export interface UncountedPods {
  succeeded?: string[]
  failed?: string[]
}

export interface JobStatus {
  startTime?: string
  completionTime?: string
  active?: number
  ready?: number
  terminating?: number
  succeeded?: number
  failed?: number
  completedIndexes?: string
  failedIndexes?: string
  uncountedTerminatedPods?: UncountedPods
  conditions?: Condition[]
}

export type Job = KubeObject<JobSpec, JobStatus>

export interface ObjectReference {
  apiVersion?: string
  kind?: string
  namespace?: string
  name: string
  uid?: string
  resourceVersion?: string
}

export interface CronJobSpec {
  schedule: string
  timeZone?: string
  startingDeadlineSeconds?: number
  concurrencyPolicy?: 'Allow' | 'Forbid' | 'Replace'
  suspend?: boolean
  successfulJobsHistoryLimit?: number
  failedJobsHistoryLimit?: number
  jobTemplate: {
    metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
    spec: JobSpec
  }
}

export interface CronJobStatus {
  active?: ObjectReference[]
  lastScheduleTime?: string
  lastSuccessfulTime?: string
}

export type CronJob = KubeObject<CronJobSpec, CronJobStatus>

export function conditionTrue(job: Job, type: string): Condition | undefined {
  return job.status?.conditions?.find((c) => c.type === type && c.status === 'True')
}

/** `Complete` or `Failed`, once the Job is over. */
export function finishedAs(job: Job): Condition | undefined {
  return conditionTrue(job, 'Complete') ?? conditionTrue(job, 'Failed')
}
