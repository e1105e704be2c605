/** Working with JSON values: what each patch format needs, safe for hostile key names. */
import { badRequest } from '../kube/index.ts'
import { maxDepth } from './limits.ts'

export type Json = Record<string, unknown>

/** Whether a value is a JSON object. */
export function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Sets a key as an own property, also when it is called `__proto__`. */
export function put(map: Json, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true })
  } else {
    map[key] = value
  }
}

/** The value of an own key, or undefined. */
export function get(map: Json, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined
}

/** A deep copy. */
export function clone<T>(value: T, depth?: number): T
export function clone(value: unknown, depth = 0): unknown {
  checkDepth(depth)
  if (Array.isArray(value)) return value.map((item) => clone(item, depth + 1))
  if (!isMap(value)) return value
  const copy: Json = {}
  for (const key of Object.keys(value)) put(copy, key, clone(value[key], depth + 1))
  return copy
}

/** Throws 400 below the deepest level that is followed. */
export function checkDepth(depth: number): void {
  if (depth > maxDepth) throw badRequest(`the document is nested deeper than ${maxDepth} levels`)
}

/** Equal as JSON, whatever the order of keys. */
export function same(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, i) => same(item, right[i]))
    )
  }
  if (!isMap(left) || !isMap(right)) return false
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && same(left[key], right[key]))
  )
}
