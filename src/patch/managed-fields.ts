/** `metadata.managedFields`: reading, writing, and keeping it for updates that aren't applies. */
import type { SchemaNode } from '../schema/index.ts'
import { FieldSet } from './field-set.ts'
import { maxUpdateManagers } from './limits.ts'
import { compare, type Difference, fieldsOf } from './typed-values.ts'
import { isMap, type Json } from './values.ts'

export interface Manager {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  /** RFC 3339; moves only when the set does. */
  readonly time: string | undefined
  readonly subresource: string
  readonly fields: FieldSet
}

/** Appliers are the same at every API version, updaters are not. */
export function managerKey(manager: Omit<Manager, 'fields' | 'time'>): string {
  const version = manager.operation === 'Apply' ? '' : manager.apiVersion
  return JSON.stringify([manager.manager, manager.operation, version, manager.subresource])
}

export type Managers = Map<string, Manager>

/** The managers of an object. */
export function readManagers(object: Json | undefined): Managers {
  const metadata = object?.['metadata']
  const list = isMap(metadata) ? metadata['managedFields'] : undefined
  const managers: Managers = new Map()
  for (const entry of Array.isArray(list) ? list.filter(isMap) : []) {
    const operation = entry['operation']
    if (operation !== 'Apply' && operation !== 'Update') continue
    const manager: Manager = {
      manager: String(entry['manager'] ?? ''),
      operation,
      apiVersion: String(entry['apiVersion'] ?? ''),
      time: typeof entry['time'] === 'string' ? entry['time'] : undefined,
      subresource: String(entry['subresource'] ?? ''),
      fields: FieldSet.decode(entry['fieldsV1']),
    }
    managers.set(managerKey(manager), manager)
  }
  return managers
}

/** The list to store: empty sets dropped, old updaters joined, appliers first, then by time. */
export function writeManagers(managers: Managers): Json[] {
  const all = [...managers.values()].filter(({ fields }) => !fields.empty)
  const updaters = all.filter(({ operation }) => operation === 'Update').sort(byTime)
  const kept = new Set(updaters.slice(Math.max(0, updaters.length - maxUpdateManagers)))
  const old = updaters.filter((each) => !kept.has(each))
  const list = [...all.filter(({ operation }) => operation === 'Apply').sort(byTime)]
  const last = old.at(-1)
  if (last !== undefined) {
    const fields = old.reduce((sum, { fields: each }) => sum.union(each), new FieldSet())
    list.push({ ...last, manager: 'ancient-changes', fields })
  }
  return [...list, ...kept].map(entryOf)
}

function byTime(a: Manager, b: Manager): number {
  const [left, right] = [`${a.time ?? ''} ${a.manager}`, `${b.time ?? ''} ${b.manager}`]
  return left < right ? -1 : Number(left > right)
}

function entryOf(manager: Manager): Json {
  const { subresource, time } = manager
  return {
    manager: manager.manager,
    operation: manager.operation,
    apiVersion: manager.apiVersion,
    ...(time === undefined ? {} : { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: manager.fields.encode(),
    ...(subresource === '' ? {} : { subresource }),
  }
}

const untracked = [
  ['f:apiVersion'],
  ['f:kind'],
  ...[
    'name',
    'namespace',
    'uid',
    'creationTimestamp',
    'generation',
    'resourceVersion',
    'managedFields',
    'selfLink',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generateName',
  ].map((name) => ['f:metadata', `f:${name}`]),
]

/** A set without what nobody owns: identity, system fields, and the given dotted paths. */
export function tracked(set: FieldSet, ignored: readonly string[]): FieldSet {
  const result = set.without([
    ...untracked,
    ...ignored.map((path) => path.split('.').map((name) => `f:${name}`)),
  ])
  const metadata = result.children.get('f:metadata')
  // The presence of metadata itself says nothing.
  if (metadata !== undefined) {
    metadata.owned = false
    if (metadata.empty) result.children.delete('f:metadata')
  }
  return result
}

/** The difference of two objects, as far as fields are tracked. */
export function trackedDifference(
  schema: SchemaNode | undefined,
  objects: { before: Json; after: Json },
  ignored: readonly string[],
): Difference {
  const { added, modified, removed } = compare(schema, objects.before, objects.after)
  return {
    added: tracked(added, ignored),
    modified: tracked(modified, ignored),
    removed: tracked(removed, ignored),
  }
}

/** Takes the changed and removed paths from everyone but one manager. */
export function takeFromOthers(managers: Managers, key: string, taken: FieldSet): void {
  for (const [other, manager] of managers) {
    if (other === key) continue
    const fields = manager.fields.difference(taken)
    if (fields.empty) managers.delete(other)
    else managers.set(other, { ...manager, fields })
  }
}

export interface UpdateOptions {
  /** The stored object; undefined when it is being created. */
  readonly live: Json | undefined
  /** The object as it will be stored. */
  readonly object: Json
  readonly manager: string
  readonly schema: SchemaNode | undefined
  readonly apiVersion: string
  /** RFC 3339, now. */
  readonly time: string
  readonly subresource?: string
  /** Dotted paths which this write can't change: `status` on the main resource, `spec` on status. */
  readonly ignored?: readonly string[]
}

/** The managedFields after a create, a replace or a patch that isn't an apply. */
export function trackUpdate(options: UpdateOptions): Json[] {
  const { live, object, schema, apiVersion, time, ignored = [] } = options
  const managers = readManagers(live)
  const identity = {
    manager: options.manager,
    operation: 'Update',
    apiVersion,
    subresource: options.subresource ?? '',
  } as const
  const key = managerKey(identity)
  const { added, modified, removed } = trackedDifference(
    schema,
    { before: live ?? {}, after: object },
    ignored,
  )
  const changed = added.union(modified)
  takeFromOthers(managers, key, changed.union(removed))
  const own = managers.get(key)
  const before = own?.fields ?? new FieldSet()
  const fields = before.difference(removed).union(changed)
  const moved = !fields.equals(before) || !changed.empty
  managers.set(key, { ...identity, time: moved ? time : own?.time, fields })
  return writeManagers(managers)
}

/** What an object without managers owned before the first apply: all of it. */
export function beforeFirstApply(
  live: Json,
  schema: SchemaNode | undefined,
  options: { apiVersion: string; time: string; ignored: readonly string[] },
): Manager {
  const { apiVersion, time, ignored } = options
  const fields = tracked(fieldsOf(schema, live), ignored)
  const manager = 'before-first-apply'
  return { manager, operation: 'Update', apiVersion, time, subresource: '', fields }
}
