/** JSON merge patch (RFC 7386): objects merge key by key, null removes, all else replaces. */
import { checkDepth, clone, get, isMap, type Json, put } from './values.ts'

/** The target with the patch applied; neither argument is changed. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  return merge(target, patch, 0)
}

function merge(target: unknown, patch: unknown, depth: number): unknown {
  checkDepth(depth)
  if (!isMap(patch)) return clone(patch)
  const result: Json = {}
  const base = isMap(target) ? target : {}
  for (const key of Object.keys(base)) {
    if (!Object.hasOwn(patch, key)) put(result, key, clone(base[key]))
    else if (patch[key] !== null) put(result, key, merge(base[key], patch[key], depth + 1))
  }
  for (const key of Object.keys(patch)) {
    if (patch[key] === null || Object.hasOwn(base, key)) continue
    put(result, key, merge(get(base, key), patch[key], depth + 1))
  }
  return result
}
