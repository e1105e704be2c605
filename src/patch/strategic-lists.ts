/** The list half of strategic merge patch: merging by key, deleting, and the order of the result. */
import { badRequest, failure } from '../kube/index.ts'
import { clone, get, isMap, type Json, same } from './values.ts'

export const directive = '$patch'

/** A patch that can't be understood; 400, as in Kubernetes. */
export function badFormat(path: string, why: string): Error {
  return badRequest(`strategic merge patch: ${path === '' ? 'the patch' : path}: ${why}`)
}

/** A patch that doesn't fit the object; 422. */
export function unfit(path: string, why: string): Error {
  return failure(
    422,
    'Invalid',
    `strategic merge patch: ${path === '' ? 'the patch' : path}: ${why}`,
  )
}

/** Maps are the same element when their merge keys are equal, scalars when they are equal. */
function identity(item: unknown, mergeKey: string | undefined): unknown {
  return mergeKey !== undefined && isMap(item) ? get(item, mergeKey) : item
}

function indexOf(list: readonly unknown[], item: unknown, mergeKey: string | undefined): number {
  const wanted = identity(item, mergeKey)
  return list.findIndex((other) => same(identity(other, mergeKey), wanted))
}

/** Removes what `$patch: delete` elements name, and tells whether `$patch: replace` was there. */
export function takeSpecialElements(
  original: readonly unknown[],
  patch: readonly unknown[],
  mergeKey: string,
  path: string,
): { original: unknown[]; patch: Json[]; replace: boolean } {
  let kept = [...original]
  const plain: Json[] = []
  let replace = false
  for (const item of patch) {
    if (!isMap(item)) throw unfit(path, 'the list has objects, the patch something else')
    const kind = item[directive]
    if (kind === undefined) {
      plain.push(item)
    } else if (kind === 'replace') {
      replace = true
    } else if (kind === 'delete') {
      const value = get(item, mergeKey)
      if (value === undefined) throw unfit(path, `$patch: delete needs the merge key "${mergeKey}"`)
      kept = kept.filter((other) => !isMap(other) || !same(get(other, mergeKey), value))
    } else {
      throw badFormat(path, `unknown $patch "${String(kind)}"; use delete or replace`)
    }
  }
  return { original: kept, patch: plain, replace }
}

/** Lists of scalars with strategy merge are sets: the union, each value once. */
export function mergeScalars(original: readonly unknown[], patch: readonly unknown[]): unknown[] {
  const merged: unknown[] = []
  for (const item of [...original, ...patch]) {
    if (!merged.some((other) => same(other, item))) merged.push(clone(item))
  }
  return merged
}

/** A list without the values which `$deleteFromPrimitiveList/...` names. */
export function withoutScalars(original: readonly unknown[], gone: readonly unknown[]): unknown[] {
  return original.filter((item) => !gone.some((other) => same(other, item)))
}

/**
 * Orders a merged list: elements which `order` names stand in its order, the others keep their
 * places relative to what they stood beside on the server.
 */
export function inOrder(
  merged: readonly unknown[],
  order: readonly unknown[],
  serverOrder: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const rank = (list: readonly unknown[]) => (a: unknown, b: unknown) => {
    const [left, right] = [indexOf(list, a, mergeKey), indexOf(list, b, mergeKey)]
    return left >= 0 && right >= 0 ? left - right : 0
  }
  const named = merged.filter((item) => indexOf(order, item, mergeKey) >= 0).sort(rank(order))
  const others = merged.filter((item) => indexOf(order, item, mergeKey) < 0).sort(rank(serverOrder))
  const result: unknown[] = []
  let i = 0
  let j = 0
  while (i < others.length && j < named.length) {
    const left = indexOf(serverOrder, others[i], mergeKey)
    const right = indexOf(serverOrder, named[j], mergeKey)
    result.push(left >= 0 && right >= 0 && left < right ? others[i++] : named[j++])
  }
  return [...result, ...others.slice(i), ...named.slice(j)]
}

/** Throws 400 when the patched elements aren't all in `$setElementOrder`, in the same order. */
export function checkElementOrder(
  patch: readonly unknown[],
  order: readonly unknown[],
  mergeKey: string | undefined,
  path: string,
): void {
  let at = 0
  for (const item of patch) {
    if (isMap(item) && item[directive] !== undefined) continue
    const found = indexOf(order.slice(at), item, mergeKey)
    if (found < 0) {
      throw badFormat(path, `the order in the patch list doesn't match the $setElementOrder list`)
    }
    at += found + 1
  }
}
