/** `metadata.managedFields`: reading, writing, and keeping it for updates that aren't applies. */
import type { SchemaNode } from '../schema/index.ts'
import { FieldSet, nothing } from './field-set.ts'
import { maxUpdateManagers } from './limits.ts'
import { compare, type Difference } from './typed-values.ts'
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
  const { operation, subresource } = manager
  const version = operation === 'Apply' ? '' : manager.apiVersion
  // Line feeds can't occur in any of them.
  return `${manager.manager}\n${operation}\n${version}\n${subresource}`
}

export type Managers = Map<string, Manager>

/** The managers of an object; none when its managedFields are not in their form. */
export function readManagers(object: Json | undefined): Managers {
  const metadata = object?.['metadata']
  return decodeManagers(isMap(metadata) ? metadata['managedFields'] : undefined) ?? new Map()
}

/** The managers of a `managedFields` list; undefined when it isn't one. */
function decodeManagers(list: unknown): Managers | undefined {
  if (list === undefined || list === null) return new Map()
  if (!Array.isArray(list)) return undefined
  const managers: Managers = new Map()
  for (const entry of list as readonly unknown[]) {
    const fields = isMap(entry) ? FieldSet.decode(entry['fieldsV1']) : undefined
    if (!isMap(entry) || fields === undefined) return undefined
    const operation = entry['operation']
    if (operation !== 'Apply' && operation !== 'Update') return undefined
    const manager: Manager = {
      manager: String(entry['manager'] ?? ''),
      operation,
      apiVersion: String(entry['apiVersion'] ?? ''),
      time: typeof entry['time'] === 'string' ? entry['time'] : undefined,
      subresource: String(entry['subresource'] ?? ''),
      fields,
    }
    managers.set(managerKey(manager), manager)
  }
  return managers
}

/** Whether a client asks to forget all managers: a list with one empty entry, as Kubernetes has it. */
function isReset(list: unknown): boolean {
  if (!Array.isArray(list) || list.length !== 1) return false
  const [only] = list as readonly unknown[]
  return isMap(only) && Object.keys(only).length === 0
}

/** The managedFields that count in an update: those sent by the client, unless they say nothing or are no such list. */
export function managedFieldsOf(
  sent: unknown,
  present: unknown[] | undefined,
): unknown[] | undefined {
  if (isReset(sent)) return undefined
  const managers = decodeManagers(sent)
  return managers === undefined || managers.size === 0 ? present : (sent as unknown[])
}

/** The list to store: empty sets dropped, appliers first, then by time. */
export function writeManagers(managers: Managers): Json[] {
  return [...managers.values()]
    .filter(({ fields }) => !fields.empty)
    .sort(inOrder)
    .map(entryOf)
}

function inOrder(a: Manager, b: Manager): number {
  return (
    byText(a.operation, b.operation) ||
    byText(a.time ?? '', b.time ?? '') ||
    byText(a.manager, b.manager) ||
    byText(a.apiVersion, b.apiVersion) ||
    byText(a.subresource, b.subresource)
  )
}

function byText(left: string, right: string): number {
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

/** Joins the oldest updaters of each API version into one, until there are few enough. */
export function joinOldUpdaters(managers: Managers): void {
  const updaters = [...managers].filter(([, { operation }]) => operation === 'Update')
  let count = updaters.length
  if (count <= maxUpdateManagers) return
  const firstOf = new Map<string, string>()
  for (const [key, manager] of updaters.sort(([, a], [, b]) => inOrder(a, b))) {
    if (count <= maxUpdateManagers) return
    const { apiVersion } = manager
    const joined = { ...manager, manager: 'ancient-changes', subresource: '' }
    const bucket = managerKey(joined)
    const first = firstOf.get(apiVersion)
    if (first === undefined) {
      firstOf.set(apiVersion, key)
      continue
    }
    const earlier = managers.get(bucket) ?? managers.get(first)
    managers.delete(first)
    managers.delete(key)
    managers.set(bucket, { ...joined, fields: manager.fields.union(earlier?.fields ?? nothing) })
    firstOf.set(apiVersion, bucket)
    count--
  }
}

const untracked = new Set(
  [
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
  ].map((name) => `f:${name}`),
)

/** A dotted path of plain names as path elements. */
export function elementsOfPath(path: string): string[] {
  return path.split('.').map((name) => `f:${name}`)
}

/** A set without what nobody owns: identity, system fields, and the given dotted paths. */
export function tracked(set: FieldSet, ignored: readonly string[]): FieldSet {
  if (set.empty) return set
  const children = new Map(set.children)
  children.delete('f:apiVersion')
  children.delete('f:kind')
  const metadata = children.get('f:metadata')
  if (metadata !== undefined) {
    const rest = [...metadata.children].filter(([element]) => !untracked.has(element))
    // The presence of metadata itself says nothing.
    if (rest.length === 0) children.delete('f:metadata')
    else children.set('f:metadata', FieldSet.of(false, new Map(rest)))
  }
  return FieldSet.of(false, children).without(ignored.map(elementsOfPath))
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
  if (taken.empty) return
  for (const [other, manager] of managers) {
    if (other === key) continue
    const fields = manager.fields.difference(taken)
    if (fields.empty) managers.delete(other)
    else if (fields !== manager.fields) managers.set(other, { ...manager, fields })
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
  /** Dotted paths which every object of the kind has, so that nobody owns their presence. */
  readonly implied?: readonly string[]
}

/** What an update or a create changed, without the presence of what every object has. */
function changedFields(options: Omit<UpdateOptions, 'manager'>): {
  changed: FieldSet
  removed: FieldSet
} {
  const { live, object, schema, ignored = [], implied = [] } = options
  const objects = { before: live ?? {}, after: object }
  const { added, modified, removed } = trackedDifference(schema, objects, ignored)
  const paths = implied.map(elementsOfPath)
  return { changed: added.without(paths, 'nodes').union(modified), removed }
}

/** The managedFields after a create, a replace or a patch that isn't an apply. */
export function trackUpdate(options: UpdateOptions): Json[] {
  const { live, apiVersion, time } = options
  const managers = readManagers(live)
  // An object that has no managers gets none before the first apply.
  if (live !== undefined && managers.size === 0) return []
  const identity = {
    manager: options.manager,
    operation: 'Update',
    apiVersion,
    subresource: options.subresource ?? '',
  } as const
  const key = managerKey(identity)
  const { changed, removed } = changedFields(options)
  if (changed.empty && removed.empty) return writeManagers(managers)
  takeFromOthers(managers, key, changed.union(removed))
  const own = managers.get(key)
  const fields = (own?.fields ?? nothing).difference(removed).union(changed)
  managers.set(key, { ...identity, time: changed.empty ? own?.time : time, fields })
  joinOldUpdaters(managers)
  return writeManagers(managers)
}

/** What an object without managers owned before the first apply: all of it. */
export function beforeFirstApply(live: Json, options: Omit<UpdateOptions, 'manager'>): Manager {
  const { apiVersion, time } = options
  const { changed: fields } = changedFields({ ...options, live: undefined, object: live })
  const manager = 'before-first-apply'
  return { manager, operation: 'Update', apiVersion, time, subresource: '', fields }
}
