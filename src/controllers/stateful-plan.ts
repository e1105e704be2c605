/**
 * What a StatefulSet does next: pods are made in the order of their ordinals and removed in the opposite one; with
 * OrderedReady each waits for its predecessors. Updates go from the last ordinal to the partition. Pure.
 */
import { isAvailable, portion } from './pods.ts'
import { revisionLabel } from './revisions.ts'
import { ordinalOf, ordinalsOf } from './stateful-pods.ts'
import { isEnded, isReady, type Pod, type StatefulSet } from './workload-types.ts'

export type StatefulStep =
  | { readonly kind: 'create'; readonly ordinal: number; readonly revision: 'current' | 'update' }
  /** `replace` for a pod that comes back, `remove` for one beyond the wanted number. */
  | { readonly kind: 'replace' | 'remove'; readonly pod: Pod; readonly ended: boolean }

export interface StatefulState {
  readonly set: StatefulSet
  readonly pods: readonly Pod[]
  /** Names of the revisions. */
  readonly updateRevision: string
  readonly nowMs: number
}

export function statefulSteps(state: StatefulState): StatefulStep[] {
  const { set } = state
  const ordered = set.spec?.podManagementPolicy !== 'Parallel'
  const { start, end } = ordinalsOf(set)
  const byOrdinal = new Map(state.pods.map((pod) => [ordinalOf(set, pod), pod]))
  const available = (pod: Pod): boolean =>
    isAvailable(pod, set.spec?.minReadySeconds ?? 0, state.nowMs)
  const steps: StatefulStep[] = []
  let healthy = true
  for (let ordinal = start; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal)
    if (pod === undefined) {
      const revision = ordinal < partitionOf(set) ? 'current' : 'update'
      steps.push({ kind: 'create', ordinal, revision })
    } else if (pod.metadata.deletionTimestamp === undefined && isEnded(pod)) {
      steps.push({ kind: 'replace', pod, ended: true })
    } else if (going(pod) || !available(pod)) healthy = false
    else continue
    if (ordered) return steps
  }
  const condemned = state.pods
    .filter((pod) => ordinalOf(set, pod) >= end || ordinalOf(set, pod) < start)
    .toSorted((a, b) => ordinalOf(set, b) - ordinalOf(set, a))
  for (const pod of condemned) {
    if (!going(pod)) steps.push({ kind: 'remove', pod, ended: false })
    // The next one goes when this one is gone.
    if (ordered) return steps
  }
  if (steps.length > 0 || !healthy || condemned.length > 0) {
    return ordered ? steps : [...steps, ...updateSteps(state, byOrdinal)]
  }
  return updateSteps(state, byOrdinal)
}

/** Ordinals below keep the current revision. */
function partitionOf(set: StatefulSet): number {
  const { updateStrategy, ordinals } = set.spec ?? {}
  if (updateStrategy?.type === 'OnDelete') return 0
  return (ordinals?.start ?? 0) + (updateStrategy?.rollingUpdate?.partition ?? 0)
}

function updateSteps(state: StatefulState, byOrdinal: ReadonlyMap<number, Pod>): StatefulStep[] {
  const { set, updateRevision, nowMs } = state
  if (set.spec?.updateStrategy?.type === 'OnDelete') return []
  const { start, end } = ordinalsOf(set)
  const { maxUnavailable = 1 } = set.spec?.updateStrategy?.rollingUpdate ?? {}
  let room = Math.max(1, portion(maxUnavailable, end - start, false))
  const steps: StatefulStep[] = []
  for (let ordinal = end - 1; ordinal >= Math.max(start, partitionOf(set)); ordinal--) {
    const pod = byOrdinal.get(ordinal)
    if (pod === undefined) return steps
    const fresh = pod.metadata.labels?.[revisionLabel] === updateRevision
    const good = !going(pod) && isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)
    if (fresh && good) continue
    if (!fresh && !going(pod)) steps.push({ kind: 'replace', pod, ended: false })
    if (--room === 0) return steps
  }
  return steps
}

function going(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined
}

export interface StatefulCounts {
  readonly replicas: number
  readonly readyReplicas: number
  readonly availableReplicas: number
  readonly currentReplicas: number
  readonly updatedReplicas: number
}

export function statefulCounts(state: StatefulState, currentRevision: string): StatefulCounts {
  const { set, updateRevision, nowMs } = state
  const minReadySeconds = set.spec?.minReadySeconds ?? 0
  const made = state.pods.filter((pod) => !isEnded(pod))
  const of = (revision: string): number =>
    made.filter((pod) => !going(pod) && pod.metadata.labels?.[revisionLabel] === revision).length
  return {
    replicas: made.length,
    readyReplicas: made.filter(isReady).length,
    availableReplicas: made.filter((pod) => isAvailable(pod, minReadySeconds, nowMs)).length,
    currentReplicas: of(currentRevision),
    updatedReplicas: of(updateRevision),
  }
}
