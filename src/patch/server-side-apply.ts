/**
 * Server-side apply: a manager states the fields it wants; what it stated before and no longer does
 * is removed unless someone else owns it, and fields of others are conflicts unless forced.
 */
import { badRequest, type ManagerConflict } from '../kube/index.ts'
import type { SchemaNode } from '../schema/index.ts'
import { type FieldSet, nothing, pathText } from './field-set.ts'
import { takeoverFields, withLastApplied } from './last-applied.ts'
import {
  beforeFirstApply,
  type Manager,
  type Managers,
  managerKey,
  readManagers,
  takeFromOthers,
  tracked,
  trackedDifference,
  writeManagers,
} from './managed-fields.ts'
import {
  fieldsOf,
  mergeTyped,
  pruneTyped,
  type RepeatedItem,
  repeatedItems,
} from './typed-values.ts'
import { isMap, type Json } from './values.ts'

export interface ApplyOptions {
  /** The stored object; undefined when there is none yet. */
  readonly live: Json | undefined
  /** What the manager wants, not defaulted. */
  readonly config: Json
  readonly manager: string
  readonly force: boolean
  readonly schema: SchemaNode | undefined
  /** The version in which the request came. */
  readonly apiVersion: string
  /** RFC 3339, now. */
  readonly time: string
  readonly subresource?: string
  /** Dotted paths which this write can't change: `status` on the main resource, `spec` on status. */
  readonly ignored?: readonly string[]
  /** Dotted paths which every object of the kind has, so that nobody owns their presence. */
  readonly implied?: readonly string[]
}

export interface ApplyResult {
  /** The object to store, with managedFields; the live one when there are conflicts. */
  readonly object: Json
  /** For `applyConflict`; empty when the apply goes through. */
  readonly conflicts: readonly ManagerConflict[]
  /** Items that the configuration has twice; nothing is applied then. */
  readonly repeated: readonly RepeatedItem[]
}

/**
 * Applies a configuration; changes neither argument, but the result shares parts with the live
 * object. Throws 400 for a configuration with managedFields.
 */
export function applyServerSide(options: ApplyOptions): ApplyResult {
  const { live, config, schema, apiVersion, time, ignored = [] } = options
  checkConfig(config)
  const managers = readManagers(live)
  if (live !== undefined && managers.size === 0) {
    const first = beforeFirstApply(live, { ...options, object: live })
    managers.set(managerKey(first), first)
  }
  const identity = {
    manager: options.manager,
    operation: 'Apply',
    apiVersion,
    subresource: options.subresource ?? '',
  } as const
  const key = managerKey(identity)
  const last = managers.get(key)
  const seen = { repeated: false }
  const stated = tracked(fieldsOf(schema, config, seen), ignored)
  if (seen.repeated) {
    return { object: live ?? {}, conflicts: [], repeated: repeatedItems(schema, config) }
  }
  // The same set stays the same object, with its encoded form.
  const fields = last?.fields.equals(stated) === true ? last.fields : stated
  managers.set(key, { ...identity, time, fields })

  const base = withoutManagers(live ?? {})
  const merged = prunedMerge(options, base, { managers, last, fields })
  const objects = { before: base, after: merged }
  const { added, modified, removed } = trackedDifference(schema, objects, ignored)
  const changed = added.union(modified)
  if (!options.force) {
    const conflicts = conflictsWith(managers, key, changed.difference(takeoverFields(options)))
    if (conflicts.length > 0) return { object: live ?? {}, conflicts, repeated: [] }
  }
  takeFromOthers(managers, key, changed.union(removed))
  if (last?.fields === fields && merged === base) managers.set(key, last)
  const object = withLastApplied(withManagers(merged, managers), options)
  return { object, conflicts: [], repeated: [] }
}

function checkConfig(config: Json): void {
  const metadata = config['metadata']
  const given = isMap(metadata) ? metadata['managedFields'] : undefined
  if (Array.isArray(given) && given.length > 0) {
    throw badRequest('metadata.managedFields must be nil')
  }
}

/** The configuration merged into the live object, without what the manager has let go. */
function prunedMerge(
  { schema, config }: ApplyOptions,
  base: Json,
  own: {
    readonly managers: Managers
    readonly last: Manager | undefined
    readonly fields: FieldSet
  },
): Json {
  const merged = mergeTyped(schema, base, config) as Json
  const { managers, last, fields } = own
  if (last === undefined || last.fields.difference(fields).empty) return merged
  let kept = nothing
  for (const manager of managers.values()) kept = kept.union(manager.fields)
  return (pruneTyped(schema, merged, last.fields, kept) ?? {}) as Json
}

function conflictsWith(managers: Managers, key: string, changed: FieldSet): ManagerConflict[] {
  if (changed.empty) return []
  const conflicts: ManagerConflict[] = []
  for (const [other, manager] of managers) {
    if (other === key) continue
    for (const path of manager.fields.intersection(changed).paths()) {
      conflicts.push({ owner: ownerText(manager), field: pathText(path) })
    }
  }
  return conflicts
}

function ownerText({ manager, operation, apiVersion, subresource }: Manager): string {
  const sub = subresource === '' ? '' : ` with subresource ${JSON.stringify(subresource)}`
  return `${JSON.stringify(manager)}${sub}${operation === 'Update' ? ` using ${apiVersion}` : ''}`
}

function withoutManagers(object: Json): Json {
  const { metadata } = object
  if (!isMap(metadata)) return object
  const { managedFields: _managed, ...rest } = metadata
  return { ...object, metadata: rest }
}

function withManagers(object: Json, managers: Managers): Json {
  const { metadata } = object
  const managedFields = writeManagers(managers)
  return { ...object, metadata: { ...(isMap(metadata) ? metadata : {}), managedFields } }
}
