/** JSON as values where no schema says more: whole numbers are ints, as Kubernetes reads them. */
import type { Value } from './values.ts'

/** The value of parsed JSON; undefined and functions, which JSON doesn't have, become null. */
export function valueOfJson(json: unknown): Value {
  switch (typeof json) {
    case 'string':
    case 'boolean':
      return json
    case 'number':
      return Number.isSafeInteger(json) ? BigInt(json) : json
    case 'object':
      break
    default:
      return null
  }
  if (json === null) return null
  if (Array.isArray(json)) return json.map(valueOfJson)
  return new Map(Object.entries(json).map(([key, each]) => [key, valueOfJson(each)]))
}
