/** Fields that no schema knows: finding them, and removing them before an object is stored. */
import { fieldPath, isMap, type Json } from './json.ts'
import { maxDepth } from './limits.ts'
import type { KindSchema, SchemaNode } from './types.ts'

const ofEmbedded = ['apiVersion', 'kind', 'metadata']

/** Paths of unknown fields, like `spec.junk` and `spec.containers[0].foo`, in document order. */
export function unknownFields(kind: KindSchema, object: unknown): string[] {
  // Paths are for people, and hardly any object has something to tell.
  if (!hasUnknown(kind.node, object, 0)) return []
  const found: string[] = []
  walk(kind.node, object, { path: '', depth: 0, visit: (path) => found.push(path) })
  return found
}

/** Removes unknown fields from the object itself; returns their paths. */
export function prune(kind: KindSchema, object: unknown): string[] {
  const found: string[] = []
  const visit = (path: string, map: Json, key: string) => {
    delete map[key]
    found.push(path)
  }
  walk(kind.node, object, { path: '', depth: 0, visit })
  return found
}

function hasUnknown(node: SchemaNode, value: unknown, depth: number): boolean {
  if (depth > maxDepth) return false
  if (Array.isArray(value)) {
    const { items } = node
    return items !== undefined && value.some((item) => hasUnknown(items, item, depth + 1))
  }
  if (!isMap(value)) return false
  for (const key of Object.keys(value)) {
    const child = childNode(node, key)
    if (child === undefined) return true
    const inner = value[key]
    if (child === 'any' || typeof inner !== 'object') continue
    if (hasUnknown(child, inner, depth + 1)) return true
  }
  return false
}

interface Walk {
  readonly path: string
  readonly depth: number
  readonly visit: (path: string, map: Json, key: string) => void
}

function walk(node: SchemaNode, value: unknown, at: Walk): void {
  if (at.depth > maxDepth) return
  if (Array.isArray(value)) {
    const { items } = node
    if (items === undefined) return
    for (const [i, item] of value.entries()) {
      walk(items, item, { ...at, path: `${at.path}[${i}]`, depth: at.depth + 1 })
    }
  } else if (isMap(value)) {
    for (const key of Object.keys(value)) {
      const path = fieldPath(at.path, key)
      const child = childNode(node, key)
      if (child === undefined) at.visit(path, value, key)
      else if (child !== 'any') walk(child, value[key], { ...at, path, depth: at.depth + 1 })
    }
  }
}

/** The schema of a field, `any` when it may be there but has none, undefined when unknown. */
function childNode(node: SchemaNode, key: string): SchemaNode | 'any' | undefined {
  const { properties, additionalProperties } = node
  const property =
    properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined
  if (property !== undefined) return property
  if (typeof additionalProperties === 'object') return additionalProperties
  if (additionalProperties === true || node.preserveUnknown === true) return 'any'
  return node.embeddedResource === true && ofEmbedded.includes(key) ? 'any' : undefined
}
