/**
 * Defaults that schemas carry, the nulls which stand for "use the default", and, for built-in
 * kinds, the one form in which upstream stores quantities and times.
 */
import {
  formatMicroTime,
  formatTime,
  isQuantity,
  normaliseQuantity,
  parseTime,
} from '../kube/index.ts'
import { isMap, type Json } from './json.ts'
import { maxDepth } from './limits.ts'
import type { KindSchema, SchemaNode } from './types.ts'

/**
 * Fills defaults into the object itself, at all levels that exist or are themselves defaulted.
 * Before that, nulls go away where the schema doesn't allow them, as upstream does. Quantities and
 * times of built-in kinds become canonical (`0.5` → `500m`).
 */
export function applyDefaults(kind: KindSchema, object: unknown): void {
  fill(kind.node, object, { builtin: !kind.custom, depth: 0 })
}

interface Fill {
  readonly builtin: boolean
  readonly depth: number
}

function fill(node: SchemaNode, value: unknown, at: Fill): void {
  if (at.depth > maxDepth) return
  const inner = { ...at, depth: at.depth + 1 }
  if (Array.isArray(value)) {
    const { items } = node
    if (items === undefined) return
    for (const [i, item] of value.entries()) {
      if (at.builtin) value[i] = canonical(items, item)
      fill(items, item, inner)
    }
    return
  }
  if (!isMap(value)) return
  dropNulls(node, value)
  const { properties, additionalProperties: values } = node
  for (const [name, child] of Object.entries(properties ?? {})) {
    if (child.default !== undefined && value[name] === undefined) {
      value[name] = structuredClone(child.default)
    }
    if (value[name] !== undefined) fillField(child, value, name, inner)
  }
  if (typeof values !== 'object') return
  for (const key of Object.keys(value)) {
    if (properties === undefined || !Object.hasOwn(properties, key)) {
      fillField(values, value, key, inner)
    }
  }
}

function fillField(node: SchemaNode, map: Json, key: string, at: Fill): void {
  const value = map[key]
  if (isMap(value) || Array.isArray(value)) fill(node, value, at)
  else if (at.builtin && node.format !== undefined) map[key] = canonical(node, value)
}

function canonical(node: SchemaNode, value: unknown): unknown {
  if (node.format === 'quantity') {
    if (typeof value === 'number') return normaliseQuantity(value)
    return typeof value === 'string' && isQuantity(value) ? normaliseQuantity(value) : value
  }
  if (typeof value !== 'string' || !node.format?.startsWith('date-time')) return value
  const ms = parseTime(value)
  if (ms === undefined) return value
  if (node.format === 'date-time') return formatTime(ms)
  // Microseconds are finer than what a number of milliseconds is parsed to.
  return /\.\d{6}Z$/.test(value) ? value : formatMicroTime(ms)
}

function dropNulls(node: SchemaNode, map: Json): void {
  const { properties, additionalProperties } = node
  for (const key of Object.keys(map)) {
    if (map[key] !== null) continue
    const child =
      properties !== undefined && Object.hasOwn(properties, key)
        ? properties[key]
        : additionalProperties
    if (typeof child === 'object' && child.nullable !== true && !isAny(child)) delete map[key]
  }
}

/** A schema that says nothing about the type; null is a value there. */
function isAny(node: SchemaNode): boolean {
  return node.type === undefined && node.intOrString !== true
}
