/**
 * What server-side apply does with values under a schema: which fields they have, how two of them
 * differ, and merging one into another. Maps are merged key by key, `set` and `map` lists item by
 * item, everything else is one atom.
 */
import { listKey, type SchemaNode } from '../schema/index.ts'
import { FieldSet } from './field-set.ts'
import { checkDepth, clone, get, isMap, type Json, put, same } from './values.ts'

type Node = SchemaNode | undefined

/** The parts of a granular value by path element, in order; undefined when it is an atom. */
export interface Part {
  readonly element: string
  readonly value: unknown
  readonly node: Node
  /** A field that the schema declares: it exists with its parent and isn't owned by itself. */
  readonly declared: boolean
}

/** The parts of a value; undefined for scalars, nulls and atomic maps and lists. */
export function partsOf(node: Node, value: unknown): Part[] | undefined {
  if (isMap(value)) return node?.mapType === 'atomic' ? undefined : mapParts(node, value)
  if (!Array.isArray(value)) return undefined
  if (node?.listType !== 'set' && node?.listType !== 'map') return undefined
  const { items } = node
  return value.map((item) => ({
    element:
      node.listType === 'set'
        ? `v:${JSON.stringify(item)}`
        : `k:${JSON.stringify(listKey(node, item))}`,
    value: item,
    node: items,
    declared: false,
  }))
}

function mapParts(node: Node, map: Json): Part[] {
  const { properties, additionalProperties: values } = node ?? {}
  return Object.entries(map).map(([key, value]) => {
    const declared = properties !== undefined && Object.hasOwn(properties, key)
    const other = typeof values === 'object' ? values : undefined
    return { element: `f:${key}`, value, node: declared ? properties[key] : other, declared }
  })
}

/** The fields which an applied configuration claims. */
export function fieldsOf(node: Node, value: unknown, depth = 0): FieldSet {
  checkDepth(depth)
  const set = new FieldSet()
  const parts = partsOf(node, value)
  if (parts === undefined) {
    set.owned = true
    return set
  }
  for (const part of parts) {
    const child = fieldsOf(part.node, part.value, depth + 1)
    const bare = isMap(part.value) && Object.keys(part.value).length === 0
    if (!part.declared || bare) child.owned = true
    if (child.empty) continue
    const present = set.children.get(part.element)
    set.children.set(part.element, present === undefined ? child : present.union(child))
  }
  return set
}

export interface Difference {
  readonly added: FieldSet
  readonly modified: FieldSet
  readonly removed: FieldSet
}

/** How `after` differs from `before`; every path that comes or goes is named, containers too. */
export function compare(node: Node, before: unknown, after: unknown): Difference {
  const difference = { added: new FieldSet(), modified: new FieldSet(), removed: new FieldSet() }
  compareInto(difference, node, { before, after, path: [] })
  return difference
}

interface Pair {
  readonly before: unknown
  readonly after: unknown
  readonly path: readonly string[]
}

function compareInto(out: Difference, node: Node, { before, after, path }: Pair): void {
  checkDepth(path.length)
  const olds = partsOf(node, before)
  const news = partsOf(node, after)
  const leaf = (olds?.length ?? 0) === 0 && (news?.length ?? 0) === 0
  if (
    leaf ||
    (olds === undefined && before !== undefined) ||
    (news === undefined && after !== undefined)
  ) {
    if (before === undefined) {
      out.added.insert(path)
    } else if (after === undefined) {
      out.removed.insert(path)
    } else if (!same(before, after)) {
      out.modified.insert(path)
    }
    return
  }
  descend(out, path, olds ?? [], news ?? [])
  if (before === undefined) out.added.insert(path)
  else if (after === undefined) out.removed.insert(path)
}

function descend(
  out: Difference,
  path: readonly string[],
  olds: readonly Part[],
  news: readonly Part[],
): void {
  const before = new Map(olds.map((part) => [part.element, part]))
  const after = new Map(news.map((part) => [part.element, part]))
  for (const element of new Set([...before.keys(), ...after.keys()])) {
    const old = before.get(element)
    const next = after.get(element)
    compareInto(out, (next ?? old)?.node, {
      before: old?.value,
      after: next?.value,
      path: [...path, element],
    })
  }
}

/** `config` merged into `live`; neither is changed. */
export function mergeTyped(node: Node, live: unknown, config: unknown): unknown {
  if (config === undefined) return clone(live)
  if (live === undefined) return clone(config)
  const olds = partsOf(node, live)
  const news = partsOf(node, config)
  if (olds === undefined || news === undefined) return clone(config)
  if (Array.isArray(live)) return mergeLists(olds, news)
  const result: Json = {}
  const changed = config as Json
  for (const { element, value, node: child } of olds) {
    const key = element.slice(2)
    put(result, key, mergeTyped(child, value, get(changed, key)))
  }
  for (const { element, value } of news) {
    const key = element.slice(2)
    if (!Object.hasOwn(result, key)) put(result, key, clone(value))
  }
  return result
}

/**
 * Items of the configuration come in its order; items of the live list which it doesn't have keep
 * their places between the ones it shares.
 */
function mergeLists(olds: readonly Part[], news: readonly Part[]): unknown[] {
  const live = new Map(olds.map((part) => [part.element, part]))
  const config = new Map(news.map((part) => [part.element, part]))
  const order = [...config.keys()]
  const shared = order.filter((element) => live.has(element))
  const merged = new Set<string>()
  const result: unknown[] = []
  const take = (element: string) => {
    const part = config.get(element) ?? live.get(element)
    result.push(mergeTyped(part?.node, live.get(element)?.value, config.get(element)?.value))
    merged.add(element)
    if (shared[0] === element) shared.shift()
  }
  let i = 0
  let j = 0
  while (i < olds.length || j < order.length) {
    const left = olds[i]?.element
    const right = order[j]
    if (left !== undefined && left === right) {
      take(left)
      i++
      j++
    } else if (left !== undefined && right !== undefined && isLater(left, config, shared)) {
      i++
    } else if (left !== undefined && !config.has(left)) {
      take(left)
      i++
    } else if (left !== undefined && merged.has(left)) {
      i++
    } else if (right !== undefined) {
      take(right)
      j++
    } else {
      i++
    }
  }
  return result
}

/** A shared item that isn't the next one in the configuration's order: its turn comes there. */
function isLater(element: string, config: Map<string, Part>, shared: readonly string[]): boolean {
  return config.has(element) && shared[0] !== undefined && shared[0] !== element
}

/**
 * A merged value without what a manager owned before (`last`) and nobody owns now (`kept`).
 * Containers that become empty go away with their last item.
 */
export function pruneTyped(node: Node, value: unknown, last: FieldSet, kept: FieldSet): unknown {
  const parts = partsOf(node, value)
  if (parts === undefined) return value
  const left: Part[] = []
  for (const part of parts) {
    const gone = last.children.get(part.element)
    const owned = kept.children.get(part.element)
    const named = part.element.startsWith('f:')
    if (gone === undefined) left.push(part)
    else if (owned === undefined && (gone.owned || named)) continue
    else {
      const rest = pruneTyped(part.node, part.value, gone, owned ?? new FieldSet())
      if (rest !== undefined) left.push({ ...part, value: rest })
    }
  }
  if (left.length === 0 && parts.length > 0 && !kept.owned) return undefined
  if (Array.isArray(value)) return left.map((part) => part.value)
  const result: Json = {}
  for (const part of left) put(result, part.element.slice(2), part.value)
  return result
}
