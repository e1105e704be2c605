/** Looking into JSON-shaped values whose shape nobody has checked yet. */

export type Json = Record<string, unknown>

/** Whether a value is a JSON object. */
export function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value when it is a JSON object, else undefined. */
export function asMap(value: unknown): Json | undefined {
  return isMap(value) ? value : undefined
}

/** The objects of a list; an empty list for anything else. */
export function mapsOf(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isMap) : []
}

/** The value when it is a text, else undefined. */
export function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** What a value is called in JSON Schema. */
export function typeOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

/** Equal as JSON, whatever the order of keys. */
export function sameJson(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, i) => sameJson(item, right[i]))
    )
  }
  if (!isMap(left) || !isMap(right)) return false
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
  )
}

/** `path` extended by a field; the root's path is empty. */
export function fieldPath(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

/** Schemas count code points, not UTF-16 units. */
export function characters(value: string): number {
  let count = value.length
  for (const pair of value.matchAll(/[\ud800-\udbff][\udc00-\udfff]/g)) count -= pair[0].length - 1
  return count
}
