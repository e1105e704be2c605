/** Status conditions: merged so that a write happens only when something changed. */
import type { WantedCondition } from '../translate/index.ts'

export type { WantedCondition } from '../translate/index.ts'

export interface Condition {
  type: string
  status: string
  reason: string
  message: string
  observedGeneration?: number | string
  lastTransitionTime?: string
}

export interface MergeOptions {
  readonly generation: number
  readonly nowMs: number
  /** Types that are ours alone: those not wanted any more go. Others stay as they are. */
  readonly owned?: readonly string[]
}

/**
 * The conditions with the wanted ones put in, in the place they had. The transition time moves only with the
 * status, as Kubernetes defines it. The same list when nothing changes.
 */
export function mergeConditions(
  present: readonly Condition[],
  wanted: readonly WantedCondition[],
  { generation, nowMs, owned = [] }: MergeOptions,
): readonly Condition[] {
  const now = `${new Date(nowMs).toISOString().slice(0, 19)}Z`
  let changed = false
  const next = (old: Condition | undefined, condition: WantedCondition): Condition => {
    const sameStatus = old !== undefined && old.status === condition.status
    const same =
      sameStatus &&
      old.reason === condition.reason &&
      old.message === condition.message &&
      // Istio's own kinds have it as text.
      Number(old.observedGeneration ?? 0) === generation
    if (same) return old
    changed = true
    const lastTransitionTime = sameStatus ? (old.lastTransitionTime ?? now) : now
    const { type, status, reason, message } = condition
    return {
      type,
      status,
      reason,
      message,
      ...(generation === 0 ? {} : { observedGeneration: generation }),
      lastTransitionTime,
    }
  }
  const kept = present.flatMap((old) => {
    const condition = wanted.find(({ type }) => type === old.type)
    if (condition !== undefined) return next(old, condition)
    if (!owned.includes(old.type)) return old
    changed = true
    return []
  })
  const added = wanted
    .filter(({ type }) => present.every((old) => old.type !== type))
    .map((condition) => next(undefined, condition))
  return changed || added.length > 0 ? [...kept, ...added] : present
}
