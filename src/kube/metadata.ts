/** Small questions about objects that many rooms ask. */
import type { KubeObject, OwnerReference } from './types.ts'

/** The `namespace/name` of an object, or its name when it has no namespace. */
export function keyOf(object: { metadata: { namespace?: string; name: string } }): string {
  const { namespace, name } = object.metadata
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

/** The controlling owner of an object, if it has one. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true)
}

/** Whether `owner` is one of the object's owners, by uid: names are reused, uids never. */
export function isOwnedBy(object: KubeObject, owner: { metadata: { uid?: string } }): boolean {
  const { uid } = owner.metadata
  if (uid === undefined) return false
  return object.metadata.ownerReferences?.some((reference) => reference.uid === uid) ?? false
}

/** Whether `owner` is the object's controller, by uid. */
export function isControlledBy(object: KubeObject, owner: { metadata: { uid?: string } }): boolean {
  const { uid } = owner.metadata
  return uid !== undefined && controllerOf(object)?.uid === uid
}

/** The reference by which `owner` controls something. */
export function controllerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string
  observedGeneration?: number
}

/** The condition of a type in `status.conditions`, if it is there. */
export function conditionOf(object: KubeObject, type: string): Condition | undefined {
  const conditions = (object.status as { conditions?: Condition[] } | undefined)?.conditions
  return conditions?.find((condition) => condition.type === type)
}

/** Whether a condition is `True` (or the given status). */
export function hasCondition(object: KubeObject, type: string, status = 'True'): boolean {
  return conditionOf(object, type)?.status === status
}

/**
 * The conditions with one of them set. `lastTransitionTime` moves only when the status changes,
 * and the same array comes back when nothing does, so that callers can skip a write.
 */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  condition: Condition,
  now: string,
): readonly Condition[] {
  const present = conditions ?? []
  const old = present.find((other) => other.type === condition.type)
  const moved = old?.status !== condition.status
  const next: Condition = {
    ...condition,
    lastTransitionTime: moved ? now : (old?.lastTransitionTime ?? now),
  }
  if (old === undefined) return [...present, next]
  if (sameCondition(old, next)) return present
  return present.map((other) => (other === old ? { ...old, ...next } : other))
}

function sameCondition(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    (b.observedGeneration === undefined || a.observedGeneration === b.observedGeneration)
  )
}

/** Whether an object is being deleted. */
export function isTerminating(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined
}
