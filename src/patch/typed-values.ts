/**
 * What server-side apply does with values under a schema: which fields they have, how two of them
 * differ, and merging one into another. Maps are merged key by key, `set` and `map` lists item by
 * item, everything else is one atom. Merging shares what it doesn't change, so that comparing the
 * result with what it came from costs as much as there are changes.
 */
import type { SchemaNode } from '../schema/index.ts'
import { FieldSet, leaf, nothing, pathText } from './field-set.ts'
import { elementsOf, mergeItems } from './typed-lists.ts'
import { checkDepth, clone, get, isMap, type Json, put, same } from './values.ts'

export type Node = SchemaNode | undefined

/** A field of a map, as its schema knows it. */
interface Field {
  readonly element: string
  /** Its schema: the declared one, or that of the map's values. */
  readonly node: Node
  readonly declared: boolean
}

/** Declared fields by node and name; made when they are met. */
const declaredFields = new WeakMap<SchemaNode, Map<string, Field>>()

/** Looks up fields of one map. */
function fieldsIn(node: Node): (key: string) => Field {
  if (node === undefined) return unknownField
  const { properties, additionalProperties } = node
  const values = typeof additionalProperties === 'object' ? additionalProperties : undefined
  const other = (key: string): Field => ({ element: `f:${key}`, node: values, declared: false })
  if (properties === undefined) return other
  let known = declaredFields.get(node)
  if (known === undefined) {
    known = new Map()
    declaredFields.set(node, known)
  }
  const table = known
  return (key) => {
    const found = table.get(key)
    if (found !== undefined) return found
    const declared = Object.hasOwn(properties, key) ? properties[key] : undefined
    if (declared === undefined) return other(key)
    const field = { element: `f:${key}`, node: declared, declared: true }
    table.set(key, field)
    return field
  }
}

function unknownField(key: string): Field {
  return { element: `f:${key}`, node: undefined, declared: false }
}

function isGranularMap(node: Node, value: unknown): value is Json {
  return isMap(value) && node?.mapType !== 'atomic'
}

/** Whether items of a list are merged one by one. */
function isGranularList(node: Node, value: unknown): value is unknown[] {
  return Array.isArray(value) && (node?.listType === 'map' || node?.listType === 'set')
}

/** What was met on the way. */
export interface Seen {
  /** A list had two items of one key. */
  repeated: boolean
}

/** The fields which an applied configuration claims. */
export function fieldsOf(node: Node, value: unknown, seen?: Seen, depth = 0): FieldSet {
  checkDepth(depth)
  const children = new Map<string, FieldSet>()
  if (isGranularMap(node, value)) {
    const fieldOf = fieldsIn(node)
    for (const key of Object.keys(value)) {
      const each = value[key]
      const field = fieldOf(key)
      const child = fieldsOf(field.node, each, seen, depth + 1)
      const own = !field.declared || (child.empty && isBareMap(each))
      const marked = own ? child.marked(true) : child
      if (!marked.empty) children.set(field.element, marked)
    }
  } else if (isGranularList(node, value)) {
    const elements = elementsOf(node, value)
    for (const [index, element] of elements.entries()) {
      const child = fieldsOf(node?.items, value[index], seen, depth + 1).marked(true)
      const present = children.get(element)
      if (present !== undefined && seen !== undefined) seen.repeated = true
      children.set(element, present === undefined ? child : present.union(child))
    }
  } else return leaf
  return FieldSet.of(false, children)
}

export interface Difference {
  readonly added: FieldSet
  readonly modified: FieldSet
  readonly removed: FieldSet
}

const equal: Difference = { added: nothing, modified: nothing, removed: nothing }
const addedLeaf: Difference = { ...equal, added: leaf }
const modifiedLeaf: Difference = { ...equal, modified: leaf }
const removedLeaf: Difference = { ...equal, removed: leaf }

/** How `after` differs from `before`; every path that comes or goes is named, containers too. */
export function compare(node: Node, before: unknown, after: unknown, depth = 0): Difference {
  if (before === after) return equal
  checkDepth(depth)
  // A null beside a map or a list stands for an empty one, unless that is empty as well.
  const [some, other] = [before ?? after, after ?? before]
  const bothEmpty = isBare(before) && isBare(after)
  if (!bothEmpty && isGranularMap(node, some) && isGranularMap(node, other)) {
    return compareMaps(node, { before, after } as Pair<Json>, depth)
  }
  if (!bothEmpty && isGranularList(node, some) && isGranularList(node, other)) {
    return compareLists(node, { before, after } as Pair<unknown[]>, depth)
  }
  if (before === undefined) return addedLeaf
  if (after === undefined) return removedLeaf
  return same(before, after) ? equal : modifiedLeaf
}

function isBareMap(value: unknown): boolean {
  return isMap(value) && Object.keys(value).length === 0
}

function isBare(value: unknown): boolean {
  if (value === undefined || value === null) return true
  return Array.isArray(value) ? value.length === 0 : isMap(value) && Object.keys(value).length === 0
}

interface Pair<T> {
  readonly before: T | undefined | null
  readonly after: T | undefined | null
}

function compareMaps(node: Node, { before, after }: Pair<Json>, depth: number): Difference {
  const draft = new DifferenceDraft()
  const olds = before ?? {}
  const news = after ?? {}
  const fieldOf = fieldsIn(node)
  for (const key of Object.keys(olds)) {
    const [old, next] = [olds[key], get(news, key)]
    // Most fields didn't change, and those are the same value.
    if (old === next) continue
    const field = fieldOf(key)
    draft.add(field.element, compare(field.node, old, next, depth + 1))
  }
  for (const key of Object.keys(news)) {
    if (Object.hasOwn(olds, key)) continue
    const field = fieldOf(key)
    draft.add(field.element, compare(field.node, undefined, news[key], depth + 1))
  }
  return draft.finish(before, after)
}

function compareLists(node: Node, { before, after }: Pair<unknown[]>, depth: number): Difference {
  const draft = new DifferenceDraft()
  const byElement = (list: unknown[] | undefined | null): Map<string, unknown> =>
    new Map(elementsOf(node, list ?? []).map((element, i) => [element, list?.[i]]))
  const olds = byElement(before)
  const news = byElement(after)
  for (const [element, old] of olds) {
    draft.add(element, compare(node?.items, old, news.get(element), depth + 1))
  }
  for (const [element, next] of news) {
    if (olds.has(element)) continue
    draft.add(element, compare(node?.items, undefined, next, depth + 1))
  }
  return draft.finish(before, after)
}

/** Collects the differences of a node's children; most nodes have none. */
class DifferenceDraft {
  #added: Map<string, FieldSet> | undefined
  #modified: Map<string, FieldSet> | undefined
  #removed: Map<string, FieldSet> | undefined

  add(element: string, child: Difference): void {
    if (child === equal) return
    const { added, modified, removed } = child
    if (!added.empty) this.#added = (this.#added ?? new Map()).set(element, added)
    if (!modified.empty) this.#modified = (this.#modified ?? new Map()).set(element, modified)
    if (!removed.empty) this.#removed = (this.#removed ?? new Map()).set(element, removed)
  }

  finish(before: unknown, after: unknown): Difference {
    const came = before === undefined
    const went = after === undefined
    if (!came && !went && !this.#added && !this.#modified && !this.#removed) return equal
    return {
      added: FieldSet.of(came, this.#added ?? new Map()),
      modified: FieldSet.of(false, this.#modified ?? new Map()),
      removed: FieldSet.of(went, this.#removed ?? new Map()),
    }
  }
}

/**
 * `config` merged into `live`; neither is changed. What stays as it is comes out as the same object,
 * what comes from the configuration is a copy.
 */
export function mergeTyped(node: Node, live: unknown, config: unknown): unknown {
  if (config === undefined) return live
  if (live === undefined) return clone(config)
  if (isGranularMap(node, live) && isGranularMap(node, config)) {
    let result: Json | undefined
    const fieldOf = fieldsIn(node)
    for (const key of Object.keys(config)) {
      const before = get(live, key)
      if (before === config[key]) continue
      const merged = mergeTyped(fieldOf(key).node, before, config[key])
      if (merged === before) continue
      result ??= { ...live }
      put(result, key, merged)
    }
    return result ?? live
  }
  if (isGranularList(node, live) && isGranularList(node, config)) {
    return mergeItems(node, live, config, (one, other) => mergeTyped(node?.items, one, other))
  }
  return same(live, config) ? live : clone(config)
}

/**
 * A merged value without what a manager owned before (`last`) and nobody owns now (`kept`).
 * Containers that become empty go away with their last item.
 */
export function pruneTyped(node: Node, value: unknown, last: FieldSet, kept: FieldSet): unknown {
  if (isGranularMap(node, value)) {
    const keys = Object.keys(value)
    const result: Json = {}
    for (const key of keys) {
      const { node: child, element } = fieldsIn(node)(key)
      const rest = prunePart(child, value[key], element, { last, kept })
      if (rest !== undefined) put(result, key, rest)
    }
    const emptied = keys.length > 0 && Object.keys(result).length === 0
    return emptied && !kept.owned ? undefined : result
  }
  if (isGranularList(node, value)) {
    const rest = elementsOf(node, value)
      .map((element, i) => prunePart(node?.items, value[i], element, { last, kept }))
      .filter((item) => item !== undefined)
    return value.length > 0 && rest.length === 0 && !kept.owned ? undefined : rest
  }
  return value
}

function prunePart(
  node: Node,
  value: unknown,
  element: string,
  { last, kept }: { readonly last: FieldSet; readonly kept: FieldSet },
): unknown {
  const gone = last.children.get(element)
  if (gone === undefined) return value
  const owned = kept.children.get(element)
  if (owned === undefined && (gone.owned || element.startsWith('f:'))) return undefined
  return pruneTyped(node, value, gone, owned ?? nothing)
}

export interface RepeatedItem {
  /** `.spec.containers` */
  readonly path: string
  /** `[name="a"]` */
  readonly key: string
}

/** Items that a list of a configuration has more than once, by their keys. */
export function repeatedItems(
  node: Node,
  value: unknown,
  path: readonly string[] = [],
): RepeatedItem[] {
  if (isGranularMap(node, value)) {
    return Object.keys(value).flatMap((key) => {
      const child = value[key]
      if (typeof child !== 'object' || child === null) return []
      const field = fieldsIn(node)(key)
      return repeatedItems(field.node, child, [...path, field.element])
    })
  }
  if (!isGranularList(node, value)) return []
  const seen = new Set<string>()
  return elementsOf(node, value).flatMap((element, i) => {
    const below = repeatedItems(node?.items, value[i], [...path, element])
    const isNew = !seen.has(element)
    seen.add(element)
    return isNew ? below : [{ path: pathText(path), key: pathText([element]) }, ...below]
  })
}
