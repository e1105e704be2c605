/**
 * Strategic merge patch: a merge patch which knows from the schema which lists merge by a key, and
 * carries directives for what a merge can't say ($patch, $setElementOrder, $retainKeys,
 * $deleteFromPrimitiveList). Follows the behaviour of Kubernetes' API server.
 */
import type { SchemaNode } from '../schema/index.ts'
import {
  badFormat,
  checkElementOrder,
  directive,
  inOrder,
  mergeScalars,
  takeSpecialElements,
  unfit,
  withoutScalars,
} from './strategic-lists.ts'
import { checkDepth, clone, get, isMap, type Json, put } from './values.ts'

const retainKeys = '$retainKeys'
const orderPrefix = '$setElementOrder/'
const deletePrefix = '$deleteFromPrimitiveList/'

/** Where we are: the schema of the value at hand, and its path for messages. */
interface At {
  readonly node: SchemaNode | undefined
  readonly path: string
  readonly depth: number
}

/**
 * The target with the patch applied; neither argument is changed. Throws 400 for directives that
 * can't be understood and 422 for elements without their merge key.
 */
export function strategicMergePatch(
  target: unknown,
  patch: unknown,
  schema: SchemaNode | undefined,
): unknown {
  if (!isMap(patch)) throw badFormat('', 'it must be an object')
  return mergeMap(isMap(target) ? clone(target) : {}, patch, { node: schema, path: '', depth: 0 })
}

function childOf(at: At, name: string): At {
  const values = at.node?.additionalProperties
  const node = at.node?.properties?.[name] ?? (typeof values === 'object' ? values : undefined)
  return { node, path: at.path === '' ? name : `${at.path}.${name}`, depth: at.depth + 1 }
}

function strategiesOf(at: At): string[] {
  return at.node?.patchStrategy?.split(',') ?? []
}

function mergeMap(original: Json, patch: Json, at: At): Json {
  checkDepth(at.depth)
  const kind = patch[directive]
  if (kind === 'replace') return clean(patch) as Json
  if (kind === 'delete') return {}
  if (kind !== undefined && kind !== 'merge') {
    throw badFormat(at.path, `unknown $patch "${String(kind)}"; use merge, replace or delete`)
  }
  applyRetainKeys(original, patch, at)
  const ordered = applyElementOrders(original, patch, at)
  for (const [key, value] of Object.entries(patch)) {
    if (key === directive || key === retainKeys || key.startsWith(orderPrefix)) continue
    if (key.startsWith(deletePrefix)) {
      deleteScalars(original, key.slice(deletePrefix.length), value, at)
    } else if (!ordered.has(key)) {
      mergeKey(original, key, value, childOf(at, key))
    }
  }
  return original
}

function mergeKey(original: Json, key: string, value: unknown, at: At): void {
  const present = get(original, key)
  if (value === null) {
    delete original[key]
  } else if (isMap(present) && isMap(value)) {
    const replace = strategiesOf(at).includes('replace')
    put(original, key, replace ? clean(value) : mergeMap(present, value, at))
  } else if (Array.isArray(present) && Array.isArray(value)) {
    put(original, key, mergeList(present, value, at))
  } else {
    put(original, key, clean(value))
  }
}

function mergeList(original: unknown[], patch: unknown[], at: At): unknown[] {
  if (!strategiesOf(at).includes('merge')) return clean(patch) as unknown[]
  if (original.length === 0 && patch.length === 0) return original
  const sample = original[0] ?? patch[0]
  if (!isMap(sample)) {
    if (Array.isArray(sample)) throw unfit(at.path, 'lists of lists are not supported')
    return inOrder(mergeScalars(original, patch), patch, original, undefined)
  }
  const key = at.node?.patchMergeKey
  if (key === undefined) throw unfit(at.path, 'the schema has no merge key for this list')
  const special = takeSpecialElements(original, patch, key, at.path)
  if (special.replace) return clean(special.patch) as unknown[]
  const merged = [...special.original]
  for (const item of special.patch) {
    const value = get(item, key)
    if (value === undefined) {
      throw unfit(
        at.path,
        `map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`,
      )
    }
    const index = merged.findIndex((other) => isMap(other) && get(other, key) === value)
    const inner = { node: at.node?.items, path: `${at.path}[${key}=${value}]`, depth: at.depth + 1 }
    if (index < 0) merged.push(clean(item))
    else merged[index] = mergeMap(merged[index] as Json, item, inner)
  }
  return inOrder(merged, special.patch, special.original, key)
}

/** Drops all fields which `$retainKeys` doesn't name (one member of a union is being chosen). */
function applyRetainKeys(original: Json, patch: Json, at: At): void {
  const keys = patch[retainKeys]
  if (keys === undefined) return
  if (!Array.isArray(keys)) throw badFormat(at.path, '$retainKeys must be a list of field names')
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || key.startsWith('$') || keys.includes(key)) continue
    throw badFormat(at.path, `"${key}" is in the patch but not in its $retainKeys list`)
  }
  for (const key of Object.keys(original)) if (!keys.includes(key)) delete original[key]
}

/** Merges and sorts the lists for which the patch gives an order; returns their names. */
function applyElementOrders(original: Json, patch: Json, at: At): Set<string> {
  const done = new Set<string>()
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith(orderPrefix)) continue
    const name = key.slice(orderPrefix.length)
    const child = childOf(at, name)
    if (!Array.isArray(order)) throw badFormat(child.path, '$setElementOrder must be a list')
    const present = get(original, name)
    const change = get(patch, name)
    // Null deletes the list, as without an order.
    if (change === null) continue
    const mergeBy = child.node?.patchMergeKey
    if (Array.isArray(change)) checkElementOrder(change, order, mergeBy, child.path)
    if (!Array.isArray(present)) {
      if (Array.isArray(change)) put(original, name, clean(change))
    } else {
      // Deletions of scalars come along with an order, which then counts for what is left.
      const merged = Array.isArray(change) ? mergeList([...present], change, child) : present
      const gone = get(patch, deletePrefix + name)
      const left = Array.isArray(gone) ? withoutScalars(merged, gone) : merged
      put(original, name, inOrder(left, order, present, mergeBy))
    }
    done.add(name)
  }
  return done
}

function deleteScalars(original: Json, name: string, gone: unknown, at: At): void {
  const present = get(original, name)
  if (!Array.isArray(gone)) {
    throw badFormat(childOf(at, name).path, '$deleteFromPrimitiveList must be a list')
  }
  if (Array.isArray(present)) put(original, name, withoutScalars(present, gone))
}

/** A value of the patch as it goes into the object: no directives, no nulls in maps. */
function clean(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value
      .filter((item) => !isMap(item) || item[directive] === undefined)
      .map((item) => clean(item))
  }
  if (!isMap(value)) return value
  const copy: Json = {}
  for (const [key, child] of Object.entries(value)) {
    if (child !== null && !isDirective(key)) put(copy, key, clean(child))
  }
  return copy
}

function isDirective(key: string): boolean {
  return (
    key === directive ||
    key === retainKeys ||
    key.startsWith(orderPrefix) ||
    key.startsWith(deletePrefix)
  )
}
