/**
 * For the property test: what a ConfigMap's writes mean, in the simplest words. Fields are the keys of `data` and
 * of `labels`; who owns which is kept by manager and operation.
 */

/** `d:key` for data, `l:key` for labels. */
export type Fields = Readonly<Record<string, string>>
/** `manager operation` to the sorted names of its fields. */
export type Owners = Readonly<Record<string, readonly string[]>>

export interface State {
  readonly fields: Fields
  readonly owners: Owners
}

export type Operation =
  | { readonly do: 'create'; readonly manager: string; readonly fields: Fields }
  | {
      readonly do: 'put'
      readonly manager: string
      readonly fields: Fields
      readonly stale: boolean
    }
  /** An undefined value removes the field. */
  | {
      readonly do: 'patch'
      readonly manager: string
      readonly changes: Readonly<Record<string, string | undefined>>
    }
  | {
      readonly do: 'apply'
      readonly manager: string
      readonly fields: Fields
      readonly force: boolean
    }
  | { readonly do: 'delete' }

/** What a write makes of a state; `conflict` lists the fields that others own. Undefined: no object. */
export function outcome(
  before: State | undefined,
  operation: Operation,
): State | undefined | { readonly conflict: readonly string[] } {
  switch (operation.do) {
    case 'delete':
      return undefined
    case 'create':
    case 'put':
      return updated(before, operation.manager, operation.fields)
    case 'patch': {
      const fields: Record<string, string> = { ...before?.fields }
      for (const [name, value] of Object.entries(operation.changes)) {
        if (value === undefined) delete fields[name]
        else fields[name] = value
      }
      return updated(before, operation.manager, fields)
    }
    case 'apply':
      return applied(before, operation)
  }
}

/** The writer gets what it changed, and everybody loses what was changed or removed. */
function updated(before: State | undefined, manager: string, fields: Fields): State {
  const old = before?.fields ?? {}
  const changed = Object.keys(fields).filter((name) => old[name] !== fields[name])
  const gone = Object.keys(old).filter((name) => fields[name] === undefined)
  const owners = without(before?.owners ?? {}, new Set([...changed, ...gone]))
  const key = `${manager} Update`
  return { fields, owners: clean({ ...owners, [key]: [...(owners[key] ?? []), ...changed] }) }
}

/** The applier owns exactly what it sends; what it sent before and nobody else owns is removed. */
function applied(
  before: State | undefined,
  operation: Operation & { readonly do: 'apply' },
): State | { readonly conflict: readonly string[] } {
  const key = `${operation.manager} Apply`
  const { [key]: mine = [], ...others } = before?.owners ?? {}
  const old = before?.fields ?? {}
  const held = new Set(Object.values(others).flat())
  const wanted = operation.fields
  const fields: Record<string, string> = { ...old, ...wanted }
  for (const name of mine) {
    if (wanted[name] === undefined && !held.has(name)) delete fields[name]
  }
  const changed = Object.keys(wanted).filter((name) => old[name] !== wanted[name])
  const conflict = changed.filter((name) => held.has(name))
  if (conflict.length > 0 && !operation.force) return { conflict: conflict.toSorted() }
  const owners = without(others, new Set(changed))
  return { fields, owners: clean({ ...owners, [key]: Object.keys(wanted) }) }
}

function without(owners: Owners, names: ReadonlySet<string>): Record<string, readonly string[]> {
  return Object.fromEntries(
    Object.entries(owners).map(([key, fields]) => [key, fields.filter((name) => !names.has(name))]),
  )
}

/** In one order and without managers that own nothing, so that states can be compared. */
function clean(owners: Owners): Owners {
  return Object.fromEntries(
    Object.entries(owners)
      .filter(([, fields]) => fields.length > 0)
      .map(([key, fields]): [string, string[]] => [key, [...new Set(fields)].toSorted()])
      .toSorted(([left], [right]) => (left < right ? -1 : 1)),
  )
}

/** The same of a ConfigMap as the registry shows it, without the field `base`, which never changes. */
export function stateOf(object: {
  readonly data?: unknown
  readonly metadata: { readonly labels?: unknown; readonly managedFields?: unknown }
}): State {
  const fields: Record<string, string> = {}
  const { data = {}, metadata } = object
  for (const [name, value] of Object.entries(data as object)) fields[`d:${name}`] = String(value)
  delete fields['d:base']
  for (const [name, value] of Object.entries((metadata.labels ?? {}) as object)) {
    fields[`l:${name}`] = String(value)
  }
  const owners: Record<string, string[]> = {}
  for (const entry of (metadata.managedFields ?? []) as ManagedFields[]) {
    const { manager, operation, fieldsV1 } = entry
    owners[`${manager} ${operation}`] = [
      ...leaves('d', fieldsV1['f:data']),
      ...leaves('l', (fieldsV1['f:metadata'] as Tree | undefined)?.['f:labels']),
    ]
  }
  return { fields: sorted(fields), owners: clean(owners) }
}

/** Compares by value, whatever the order of keys. */
export function sorted(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).toSorted(([left], [right]) => (left < right ? -1 : 1)),
  )
}

type Tree = Readonly<Record<string, unknown>>

interface ManagedFields {
  readonly manager: string
  readonly operation: string
  readonly fieldsV1: Tree
}

function leaves(prefix: string, tree: unknown): string[] {
  return Object.keys((tree ?? {}) as object)
    .filter((name) => name.startsWith('f:') && name !== 'f:base')
    .map((name) => `${prefix}:${name.slice(2)}`)
}
