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
  fill(kind.node, object, { builtin: !kind.custom }, 0)
}

interface Fill {
  readonly builtin: boolean
}

function fill(node: SchemaNode, value: unknown, at: Fill, depth: number): void {
  if (depth > maxDepth) return
  if (Array.isArray(value)) {
    const { items } = node
    if (items === undefined) return
    for (const [i, item] of value.entries()) {
      if (at.builtin) value[i] = canonical(items, item)
      fill(items, item, at, depth + 1)
    }
    return
  }
  if (!isMap(value)) return
  dropNulls(node, value)
  const { properties, additionalProperties: values } = node
  for (const [name, content] of defaultedFields(node)) {
    if (value[name] === undefined) value[name] = structuredClone(content)
  }
  // An object has few of the fields which its kind declares.
  for (const key of Object.keys(value)) {
    const declared =
      properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined
    const child = declared ?? values
    if (typeof child !== 'object') continue
    const inner = value[key]
    if (typeof inner === 'object' && inner !== null) fill(child, inner, at, depth + 1)
    else if (at.builtin && child.format !== undefined) value[key] = canonical(child, inner)
  }
}

type Defaulted = readonly (readonly [string, unknown])[]
const defaultsOf = new WeakMap<SchemaNode, Defaulted>()

/** The declared fields with a default; most nodes have none. */
function defaultedFields(node: SchemaNode): Defaulted {
  let fields = defaultsOf.get(node)
  if (fields === undefined) {
    fields = Object.entries(node.properties ?? {})
      .filter(([, child]) => child.default !== undefined)
      .map(([name, child]) => [name, child.default] as const)
    defaultsOf.set(node, fields)
  }
  return fields
}

function canonical(node: SchemaNode, value: unknown): unknown {
  if (node.format === undefined) return value
  if (node.format === 'quantity') {
    if (typeof value === 'number') return normaliseQuantity(value)
    return typeof value === 'string' && isQuantity(value) ? normaliseQuantity(value) : value
  }
  if (typeof value !== 'string' || !node.format.startsWith('date-time')) return value
  // Nearly all times have this form already: they were read from the store.
  if (node.format === 'date-time' && /^[\d-]{10}T[\d:]{8}Z$/.test(value)) return value
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
