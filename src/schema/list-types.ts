/** Uniqueness in lists: `set` lists by value, `map` lists by their keys. */
import { type FieldError, fieldDuplicate, fieldInvalid } from '../kube/index.ts'
import { isMap, type Json } from './json.ts'
import type { SchemaNode } from './types.ts'

/** Whether there is anything to complain about. */
export function hasDuplicates(node: SchemaNode, list: readonly unknown[]): boolean {
  if (list.length < 2) return false
  const seen = new Set<unknown>()
  for (const item of list) {
    const known = seen.size
    seen.add(node.listType === 'map' ? keyText(node, item) : valueText(item))
    if (seen.size === known) return true
  }
  return false
}

/** The key of an element as one value to compare. Nearly all lists have one key. */
function keyText(node: SchemaNode, item: unknown): unknown {
  const [name, ...others] = node.listMapKeys ?? []
  if (name !== undefined && others.length === 0 && isMap(item) && typeof item[name] === 'string') {
    return item[name]
  }
  return `\0${stable(listKey(node, item))}`
}

function valueText(item: unknown): unknown {
  return typeof item === 'string' ? item : `\0${stable(item)}`
}

/** One complaint for each value that is there more than once, at its second place, as upstream. */
export function duplicateErrors(
  node: SchemaNode,
  list: readonly unknown[],
  path: string,
): FieldError[] {
  if (list.length < 2) return []
  if (node.listType === 'map') return duplicateKeys(node, list, path)
  if (node.listType !== 'set' && node.uniqueItems !== true) return []
  const repeated = repeats(list.map(stable))
  if (node.listType === 'set') return repeated.map((i) => fieldDuplicate(`${path}[${i}]`, list[i]))
  if (repeated.length === 0) return []
  return [fieldInvalid(path, '', `${path} in body shouldn't contain duplicates`)]
}

function duplicateKeys(node: SchemaNode, list: readonly unknown[], path: string): FieldError[] {
  const keys = list.map((item) => listKey(node, item))
  return repeats(keys.map(stable)).map((i) => ({
    reason: 'FieldValueDuplicate',
    // The real API prints Go's notation here.
    message: `Duplicate value: map[string]interface {}${JSON.stringify(keys[i])}`,
    field: `${path}[${i}]`,
  }))
}

/** The key of an element of a `map` list, with defaults of absent key fields, keys sorted. */
export function listKey(node: SchemaNode, item: unknown): Json {
  const key: Json = {}
  for (const name of [...(node.listMapKeys ?? [])].sort()) {
    const given = isMap(item) && Object.hasOwn(item, name) ? item[name] : undefined
    const value = given ?? node.items?.properties?.[name]?.default
    if (value !== undefined) key[name] = value
  }
  return key
}

/** Indexes where texts occur for the second time. */
function repeats(texts: readonly string[]): number[] {
  const times = new Map<string, number>()
  const found: number[] = []
  for (const [i, text] of texts.entries()) {
    const before = times.get(text) ?? 0
    if (before === 1) found.push(i)
    times.set(text, before + 1)
  }
  return found
}

/** A text that is the same for equal JSON values. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isMap(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
