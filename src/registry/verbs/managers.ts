/** Who owns which field (`metadata.managedFields`), for every write that is no apply. */
import { formatTime, type KubeObject } from '../../kube/index.ts'
import { managedFieldsOf, trackUpdate } from '../../patch/index.ts'
import type { VerbContext } from '../context.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import { isMap, type JsonMap, sameValue } from '../values.ts'
import { impliedPaths } from './implied-paths.ts'
import type { Target } from './target.ts'

/** What of an object a write can change, for `trackUpdate` and `applyServerSide`. */
export function trackingScope(target: Target): {
  readonly apiVersion: string
  readonly ignored: readonly string[]
  readonly implied: readonly string[]
  readonly subresource?: string
} {
  const { type, subresource } = target
  return {
    apiVersion: apiVersionOfType(type),
    ignored: ignoredPaths(type, subresource),
    implied: impliedPaths(type),
    ...(subresource === undefined ? {} : { subresource }),
  }
}

/** The other half of the object belongs to nobody by this write. */
function ignoredPaths(type: ResourceType, subresource: string | undefined): readonly string[] {
  if (subresource === 'status') return type.custom === undefined ? ['spec'] : ['spec', 'metadata']
  return type.subresources.includes('status') ? ['status'] : []
}

export interface Tracking {
  /** Undefined: nothing is tracked. */
  readonly manager: string | undefined
  readonly live: KubeObject | undefined
  /** managedFields as the client sent them: those of the live object when they say nothing. */
  readonly sent: unknown
}

/** Sets the managedFields of an object that is about to be admitted; undefined when there is nothing to do. */
export function tracker(
  context: VerbContext,
  target: Target,
  tracking: Tracking,
): ((object: KubeObject) => void) | undefined {
  const { manager, live } = tracking
  if (manager === undefined) return undefined
  return (object) => {
    const known = knownManagers(target, tracking)
    const fields = trackUpdate({
      ...trackingScope(target),
      live: live === undefined ? undefined : asJson(withManagedFields(live, known)),
      object: asJson(withManagedFields(object, undefined)),
      manager,
      schema: context.schemas.get(target.type)?.node,
      time: formatTime(context.clock.now()),
    })
    if (fields.length === 0) delete object.metadata.managedFields
    else object.metadata.managedFields = fields
  }
}

/** Clients may write managedFields themselves (kubectl does when it moves to server-side apply). */
function knownManagers(target: Target, { live, sent }: Tracking): unknown[] | undefined {
  const present = live?.metadata.managedFields
  if (target.subresource !== undefined || live === undefined) return present
  return managedFieldsOf(sent, present)
}

function withManagedFields(object: KubeObject, managedFields: unknown[] | undefined): KubeObject {
  const { managedFields: _before, ...metadata } = object.metadata
  return {
    ...object,
    metadata: managedFields === undefined ? metadata : { ...metadata, managedFields },
  }
}

/** Times move with what they are about: when nothing but times differs, the old ones stay. Says whether it is so. */
export function keepTimes(next: KubeObject, old: KubeObject): boolean {
  const [after, before] = [next.metadata.managedFields, old.metadata.managedFields]
  if (after === undefined || before === undefined || after.length !== before.length) return false
  const rest = (object: KubeObject): KubeObject => withManagedFields(object, undefined)
  // Objects that differ do so early on, lists of managers late.
  const same =
    sameValue(rest(next), rest(old)) && sameValue(withoutTimes(after), withoutTimes(before))
  if (same) next.metadata.managedFields = before
  return same
}

function withoutTimes(entries: readonly unknown[]): unknown[] {
  return entries.map((entry) => (isMap(entry) ? { ...entry, time: undefined } : entry))
}

/** The same object, seen as plain JSON. */
export function asJson(object: KubeObject): JsonMap {
  return object as unknown as JsonMap
}
