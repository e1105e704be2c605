/** A Deployment's counts and its conditions Available and Progressing, as `rollout status` reads them. */
import { formatTime } from '../kube/index.ts'
import { unavailableOf } from './deployment-sets.ts'
import type { Condition, Deployment, DeploymentStatus, ReplicaSet } from './workload-types.ts'

export function deploymentStatus(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  old: ReplicaSet[],
  nowMs: number,
): DeploymentStatus {
  const wanted = deployment.spec?.replicas ?? 1
  const all = current === undefined ? old : [current, ...old]
  const sum = (read: (set: ReplicaSet) => number | undefined): number =>
    all.reduce((total, set) => total + (read(set) ?? 0), 0)
  const counts = {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: sum((set) => set.status?.replicas),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum((set) => set.status?.readyReplicas),
    availableReplicas: sum((set) => set.status?.availableReplicas),
    unavailableReplicas: Math.max(
      0,
      Math.max(
        wanted,
        sum((set) => set.status?.replicas),
      ) - sum((set) => set.status?.availableReplicas),
    ),
  }
  const previous = deployment.status?.conditions ?? []
  const available = counts.availableReplicas >= wanted - unavailableOf(deployment)
  const conditions = [
    merged(previous, nowMs, {
      type: 'Available',
      status: available ? 'True' : 'False',
      reason: available ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      message: `Deployment ${available ? 'has' : 'does not have'} minimum availability.`,
    }),
    progressing(deployment, current, counts, previous, nowMs),
    // Why pods can't be made, in the words of the set that could not.
    ...all
      .flatMap((set) => set.status?.conditions ?? [])
      .filter(({ type }) => type === 'ReplicaFailure')
      .slice(0, 1)
      .map(({ type, status, reason = '', message = '' }) =>
        merged(previous, nowMs, { type, status, reason, message }),
      ),
  ]
  return { ...counts, conditions }
}

function progressing(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  counts: Required<Pick<DeploymentStatus, 'replicas' | 'updatedReplicas' | 'availableReplicas'>>,
  previous: Condition[],
  nowMs: number,
): Condition {
  const wanted = deployment.spec?.replicas ?? 1
  const name = current?.metadata.name ?? ''
  const complete =
    counts.updatedReplicas === wanted &&
    counts.replicas === wanted &&
    counts.availableReplicas >= wanted
  if (complete) {
    return merged(previous, nowMs, {
      type: 'Progressing',
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: `ReplicaSet "${name}" has successfully progressed.`,
    })
  }
  const before = deployment.status
  const moved =
    (before?.updatedReplicas ?? 0) !== counts.updatedReplicas ||
    (before?.availableReplicas ?? 0) < counts.availableReplicas ||
    (before?.replicas ?? 0) !== counts.replicas
  const known = previous.find((condition) => condition.type === 'Progressing')
  if (deployment.spec?.paused === true && known?.reason !== 'ProgressDeadlineExceeded') {
    return merged(previous, nowMs, {
      type: 'Progressing',
      status: 'Unknown',
      reason: 'DeploymentPaused',
      message: 'Deployment is paused',
    })
  }
  const since = known?.lastUpdateTime === undefined ? nowMs : Date.parse(known.lastUpdateTime)
  const deadlineMs = (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000
  // Once exceeded it stays so until something moves.
  const exceeded =
    known?.reason === 'ProgressDeadlineExceeded' ||
    (known?.reason !== 'NewReplicaSetAvailable' && nowMs - since > deadlineMs)
  if (!moved && exceeded) {
    return merged(previous, nowMs, {
      type: 'Progressing',
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: `ReplicaSet "${name}" has timed out progressing.`,
    })
  }
  const next = merged(previous, nowMs, {
    type: 'Progressing',
    status: 'True',
    reason: 'ReplicaSetUpdated',
    message: `ReplicaSet "${name}" is progressing.`,
  })
  return moved ? { ...next, lastUpdateTime: formatTime(nowMs) } : next
}

/** Milliseconds until the progress deadline must be checked, or undefined when nothing is under way. */
export function progressDeadlineMs(
  deployment: Deployment,
  status: DeploymentStatus,
  nowMs: number,
): number | undefined {
  const condition = status.conditions?.find((c) => c.type === 'Progressing')
  if (condition?.reason !== 'ReplicaSetUpdated' || condition.lastUpdateTime === undefined)
    return undefined
  const deadlineMs = (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000
  return Math.max(0, Date.parse(condition.lastUpdateTime) + deadlineMs - nowMs)
}

/** Keeps the times of an unchanged condition: lastTransitionTime moves only with the status. */
function merged(previous: Condition[], nowMs: number, next: Condition): Condition {
  const known = previous.find((condition) => condition.type === next.type)
  const now = formatTime(nowMs)
  const same =
    known?.status === next.status && known.reason === next.reason && known.message === next.message
  return {
    ...next,
    lastUpdateTime: same && known.lastUpdateTime !== undefined ? known.lastUpdateTime : now,
    lastTransitionTime:
      known?.status === next.status && known.lastTransitionTime !== undefined
        ? known.lastTransitionTime
        : now,
  }
}
