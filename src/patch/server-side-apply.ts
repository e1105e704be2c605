/**
 * Server-side apply: a manager states the fields it wants; what it stated before and no longer does
 * is removed unless someone else owns it, and fields of others are conflicts unless forced.
 */
import { badRequest, type ManagerConflict } from '../kube/index.ts'
import type { SchemaNode } from '../schema/index.ts'
import { FieldSet, pathText } from './field-set.ts'
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
import { fieldsOf, mergeTyped, pruneTyped } from './typed-values.ts'
import { clone, isMap, type Json, same } from './values.ts'

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
}

export interface ApplyResult {
  /** The object to store, with managedFields; the live one when there are conflicts. */
  readonly object: Json
  /** For `applyConflict`; empty when the apply goes through. */
  readonly conflicts: readonly ManagerConflict[]
}

/** Applies a configuration; changes neither argument. Throws 400 for one with managedFields. */
export function applyServerSide(options: ApplyOptions): ApplyResult {
  const { live, config, schema, apiVersion, time, ignored = [] } = options
  const metadata = config['metadata']
  if (
    isMap(metadata) &&
    Array.isArray(metadata['managedFields']) &&
    metadata['managedFields'].length > 0
  ) {
    throw badRequest('metadata.managedFields must be nil')
  }
  const managers = readManagers(live)
  if (live !== undefined && managers.size === 0) {
    const first = beforeFirstApply(live, schema, { apiVersion, time, ignored })
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
  const fields = tracked(fieldsOf(schema, config), ignored)
  managers.set(key, { ...identity, time, fields })

  const base = withoutManagers(live ?? {})
  let merged = mergeTyped(schema, base, config) as Json
  if (last !== undefined) {
    let kept = new FieldSet()
    for (const manager of managers.values()) kept = kept.union(manager.fields)
    merged = (pruneTyped(schema, merged, last.fields, kept) ?? {}) as Json
  }
  const { added, modified, removed } = trackedDifference(
    schema,
    { before: base, after: merged },
    ignored,
  )
  const changed = added.union(modified)
  const conflicts = conflictsWith(managers, key, changed)
  if (conflicts.length > 0 && !options.force) return { object: clone(live ?? {}), conflicts }
  takeFromOthers(managers, key, changed.union(removed))
  const unchanged = last !== undefined && last.fields.equals(fields) && same(base, merged)
  if (unchanged) managers.set(key, { ...identity, time: last.time, fields })
  return { object: withManagers(merged, managers), conflicts: [] }
}

function conflictsWith(managers: Managers, key: string, changed: FieldSet): ManagerConflict[] {
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
