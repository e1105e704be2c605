/** Status conditions: merged so that a write happens only when something changed. */

export interface Condition {
  type: string
  status: string
  reason: string
  message: string
  observedGeneration?: number
  lastTransitionTime?: string
}

export interface WantedCondition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/**
 * The conditions with the wanted ones put in; those of other types stay. Undefined when nothing
 * changes. The transition time moves only with the status, as Kubernetes defines it.
 */
export function mergeConditions(
  present: readonly Condition[],
  wanted: readonly WantedCondition[],
  generation: number,
  nowMs: number,
): Condition[] | undefined {
  const now = `${new Date(nowMs).toISOString().slice(0, 19)}Z`
  let changed = false
  const others = present.filter((old) => !wanted.some(({ type }) => type === old.type))
  const merged = wanted.map((condition) => {
    const old = present.find(({ type }) => type === condition.type)
    const same =
      old !== undefined &&
      old.status === condition.status &&
      old.reason === condition.reason &&
      old.message === condition.message &&
      (old.observedGeneration ?? 0) === generation
    if (same) return old
    changed = true
    const lastTransitionTime =
      old !== undefined && old.status === condition.status ? (old.lastTransitionTime ?? now) : now
    return { ...condition, observedGeneration: generation, lastTransitionTime }
  })
  return changed ? [...others, ...merged] : undefined
}
