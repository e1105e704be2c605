/** Setting defaults: only where nothing is. Null counts as nothing, as in Go. */
import { isMap, type Json } from '../json.ts'

/** Sets fields which are absent or null. */
export function defaults(map: Json, values: Json): void {
  for (const [key, value] of Object.entries(values)) {
    if (map[key] === undefined || map[key] === null) map[key] = value
  }
}

/** The map at a key; made when nothing is there, undefined when something else is. */
export function ensureMap(map: Json, key: string): Json | undefined {
  const found = map[key]
  if (isMap(found)) return found
  if (found !== undefined && found !== null) return undefined
  const made: Json = {}
  map[key] = made
  return made
}

/** Whether a field is absent, null or the empty text. */
export function isUnset(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}
