/** Reading and comparing JSON-shaped values whose type nobody has checked. */

export type JsonMap = Record<string, unknown>

export function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The map at a key, or an empty one. */
export function mapOf(value: unknown): JsonMap {
  return isMap(value) ? value : {}
}

/** The list of maps at a key, or an empty one. */
export function listOf(value: unknown): JsonMap[] {
  return Array.isArray(value) ? value.filter(isMap) : []
}

export function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}

export function stringsOf(value: unknown): string[] {
  return Array.isArray(value)
    ? value.filter((item): item is string => typeof item === 'string')
    : []
}

/** The value at a dotted path of plain names. */
export function valueAt(root: unknown, path: string): unknown {
  let value = root
  for (const name of path.split('.')) {
    if (!isMap(value)) return undefined
    value = value[name]
  }
  return value
}

/** Sets the value at a dotted path, making the maps on the way. */
export function setAt(root: JsonMap, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop() as string
  let map = root
  for (const name of names) {
    const next = map[name]
    if (isMap(next)) map = next
    else {
      const made: JsonMap = {}
      map[name] = made
      map = made
    }
  }
  map[last] = value
}

/** A deep copy of what JSON can say; several times as fast as parsing its text again. */
export function copyOf<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copyOf) as Value
  const copy: JsonMap = {}
  for (const key of Object.keys(value)) {
    const inner = copyOf((value as JsonMap)[key])
    // A plain assignment of this one would be taken for the prototype.
    if (key === '__proto__') Object.defineProperty(copy, key, { ...writable, value: inner })
    else copy[key] = inner
  }
  return copy as Value
}

const writable = { configurable: true, enumerable: true, writable: true }

/** Equal as JSON values, whatever the order of keys. */
export function sameValue(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left) && Array.isArray(right)) {
    return (
      left.length === right.length && left.every((item, index) => sameValue(item, right[index]))
    )
  }
  if (!isMap(left) || !isMap(right)) return false
  const keys = Object.keys(left).filter((key) => left[key] !== undefined)
  const others = Object.keys(right).filter((key) => right[key] !== undefined)
  return (
    keys.length === others.length &&
    keys.every((key) => key in right && sameValue(left[key], right[key]))
  )
}
