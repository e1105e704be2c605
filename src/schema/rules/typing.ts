/** Schemas as types of the expression language, and JSON as its values. */
import {
  CelDuration,
  type CelList,
  CelTimestamp,
  listType,
  mapType,
  objectType,
  parseDuration,
  parseTimestamp,
  type Type,
  types,
  type Value,
} from '../../cel/index.ts'
import { isMap, type Json } from '../json.ts'
import type { SchemaNode } from '../types.ts'
import { escapeName, plainName } from './escape.ts'

const text: SchemaNode = { type: 'string' }

/** What rules see of the root of any resource, and of embedded ones, besides their own fields. */
const resourceFields: Record<string, SchemaNode> = {
  apiVersion: text,
  kind: text,
  metadata: { type: 'object', properties: { name: text, generateName: text } },
}

/** A node as rules see it. `root` tells the schema of a whole resource. */
export interface View {
  readonly node: SchemaNode
  readonly root: boolean
}

/** The fields of an object's schema, those of resources included; undefined when it has none. */
export function fieldsOf({ node, root }: View): Record<string, SchemaNode> | undefined {
  if (!root && node.embeddedResource !== true) return node.properties
  return { ...node.properties, ...resourceFields }
}

const textTypes: Record<string, Type> = {
  byte: types.bytes,
  date: types.timestamp,
  'date-time': types.timestamp,
  duration: types.duration,
}

/** The type of a schema; undefined when rules can't look into what it describes. */
export function declaredType(view: View, name = 'object'): Type | undefined {
  const { node } = view
  if (node.intOrString === true) return types.dyn
  switch (node.type) {
    case 'string':
      return textTypes[node.format ?? ''] ?? types.string
    case 'boolean':
      return types.bool
    case 'integer':
      return types.int
    case 'number':
      return types.double
    case 'array': {
      const { items } = node
      const element =
        items === undefined ? undefined : declaredType({ node: items, root: false }, `${name}.@idx`)
      return element === undefined ? undefined : listType(element)
    }
    case 'object':
      return objectOrMap(view, name)
    default:
      return undefined
  }
}

function objectOrMap(view: View, name: string): Type | undefined {
  const { additionalProperties } = view.node
  if (typeof additionalProperties === 'object') {
    const value = declaredType({ node: additionalProperties, root: false }, `${name}.@elem`)
    return value === undefined ? undefined : mapType(types.string, value)
  }
  const fields = new Map<string, Type>()
  for (const [key, child] of Object.entries(fieldsOf(view) ?? {})) {
    const escaped = escapeName(key)
    if (escaped === undefined) continue
    const type = declaredType({ node: child, root: false }, `${name}.${escaped}`)
    if (type === undefined) continue
    fields.set(escaped, type)
    const plain = plainName(key)
    if (plain !== undefined) fields.set(plain, type)
  }
  return objectType(name, fields)
}

/**
 * JSON as a value of its schema's type: integers become ints by what the schema says, never by
 * how they look. Undefined for what rules can't see.
 */
export function celValue(view: View, json: unknown): Value | undefined {
  if (json === null) return null
  const { node } = view
  if (node.intOrString === true) return typeof json === 'number' ? integer(json) : textOf(json)
  switch (node.type) {
    case 'string':
      return typeof json === 'string' ? formatted(node.format, json) : undefined
    case 'boolean':
      return typeof json === 'boolean' ? json : undefined
    case 'integer':
      return typeof json === 'number' ? integer(json) : undefined
    case 'number':
      return typeof json === 'number' ? json : undefined
    case 'array':
      return Array.isArray(json) ? listValue(node, json) : undefined
    case 'object':
      return isMap(json) ? mapValue(view, json) : undefined
    default:
      return undefined
  }
}

function integer(json: number): Value {
  return Number.isInteger(json) ? BigInt(json) : json
}

function textOf(json: unknown): string | undefined {
  return typeof json === 'string' ? json : undefined
}

function formatted(format: string | undefined, text: string): Value {
  switch (format) {
    case 'byte':
      return Buffer.from(text, 'base64')
    case 'date':
    case 'date-time': {
      const nanos = parseTimestamp(format === 'date' ? `${text}T00:00:00Z` : text)
      return nanos === undefined ? text : new CelTimestamp(nanos)
    }
    case 'duration': {
      const nanos = parseDuration(text)
      return nanos === undefined ? text : new CelDuration(nanos)
    }
    default:
      return text
  }
}

function listValue(node: SchemaNode, json: readonly unknown[]): CelList | undefined {
  const { items } = node
  if (items === undefined) return undefined
  const list = json.map((item) => celValue({ node: items, root: false }, item) ?? null)
  if (node.listType === 'set') return Object.assign(list, { traits: { identity: identityText } })
  if (node.listType !== 'map') return list
  const keys = (node.listMapKeys ?? []).map((key) => escapeName(key) ?? key)
  const identity = (element: Value) =>
    element instanceof Map ? identityText(keys.map((key) => element.get(key) ?? null)) : ''
  return Object.assign(list, { traits: { identity } })
}

function identityText(value: Value): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner === 'bigint') return `${inner}n`
    return inner instanceof Map ? [...inner].sort(([a], [b]) => (a < b ? -1 : 1)) : inner
  })
}

function mapValue(view: View, json: Json): Value {
  const map = new Map<Value, Value>()
  const { additionalProperties } = view.node
  if (typeof additionalProperties === 'object') {
    const child = { node: additionalProperties, root: false }
    for (const key of Object.keys(json)) {
      const value = celValue(child, json[key])
      if (value !== undefined) map.set(key, value)
    }
    return map
  }
  const fields = fieldsOf(view) ?? {}
  for (const key of Object.keys(json)) {
    const field = Object.hasOwn(fields, key) ? fields[key] : undefined
    const escaped = field === undefined ? undefined : escapeName(key)
    if (field === undefined || escaped === undefined) continue
    const value = celValue({ node: field, root: false }, json[key])
    if (value === undefined) continue
    map.set(escaped, value)
    const plain = plainName(key)
    if (plain !== undefined) map.set(plain, value)
  }
  return map
}
