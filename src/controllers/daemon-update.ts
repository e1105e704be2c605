/**
 * Which pods of a DaemonSet a rolling update replaces next. With maxSurge the new pod starts beside the old one,
 * which goes when the new one is available; with maxUnavailable the old one goes first. Pure.
 */
import { isAvailable, portion } from './pods.ts'
import type { DaemonSet, Pod } from './workload-types.ts'

export interface DaemonStep {
  readonly remove: readonly Pod[]
  /** Nodes that get a new pod while the old one runs. */
  readonly surge: readonly string[]
}

export interface DaemonState {
  readonly set: DaemonSet
  /** Pods that are neither ended nor being deleted, by node; only nodes that should have one. */
  readonly pods: ReadonlyMap<string, readonly Pod[]>
  readonly isUpdated: (pod: Pod) => boolean
  readonly nowMs: number
}

export function surgeOf(set: DaemonSet, nodes: number): number {
  const { updateStrategy } = set.spec ?? {}
  if (updateStrategy?.type === 'OnDelete') return 0
  return portion(updateStrategy?.rollingUpdate?.maxSurge ?? 0, nodes, true)
}

/** One step of the update; nothing when all pods are new or the limits allow no more. */
export function daemonUpdateStep(state: DaemonState): DaemonStep {
  const { set, pods } = state
  if (set.spec?.updateStrategy?.type === 'OnDelete') return { remove: [], surge: [] }
  const surge = surgeOf(set, pods.size)
  return surge > 0 ? surging(state, surge) : replacing(state)
}

interface OnNode {
  readonly node: string
  readonly fresh: Pod | undefined
  readonly stale: Pod | undefined
}

function onNodes({ pods, isUpdated }: DaemonState): OnNode[] {
  return [...pods].map(([node, present]) => ({
    node,
    fresh: present.find(isUpdated),
    stale: present.find((pod) => !isUpdated(pod)),
  }))
}

function replacing(state: DaemonState): DaemonStep {
  const { set, nowMs, pods } = state
  const available = (pod: Pod): boolean => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)
  const atOnce: Pod[] = []
  const candidates: Pod[] = []
  let missing = 0
  for (const { fresh, stale } of onNodes(state)) {
    if (fresh !== undefined && stale === undefined) {
      if (!available(fresh)) missing++
    } else if (fresh !== undefined || stale === undefined) missing++
    else if (available(stale)) candidates.push(stale)
    else atOnce.push(stale)
  }
  const { maxUnavailable = 1 } = set.spec?.updateStrategy?.rollingUpdate ?? {}
  const limit = Math.max(1, portion(maxUnavailable, pods.size, true))
  const room = Math.max(0, limit - missing - atOnce.length)
  return { remove: [...atOnce, ...candidates.slice(0, room)], surge: [] }
}

function surging(state: DaemonState, limit: number): DaemonStep {
  const { set, nowMs } = state
  const available = (pod: Pod): boolean => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)
  const remove: Pod[] = []
  const atOnce: string[] = []
  const candidates: string[] = []
  let surging = 0
  for (const { node, fresh, stale } of onNodes(state)) {
    if (stale === undefined) continue
    if (fresh === undefined) (available(stale) ? candidates : atOnce).push(node)
    else if (available(fresh)) remove.push(stale)
    else surging++
  }
  const room = Math.max(0, limit - surging - atOnce.length)
  return { remove, surge: [...atOnce, ...candidates.slice(0, room)] }
}
