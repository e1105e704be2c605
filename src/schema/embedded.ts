/** Objects inside of objects (`x-kubernetes-embedded-resource`): each is a resource, with what belongs to one. */
import { type FieldError, fieldRequired } from '../kube/index.ts'
import { metadataErrors } from './builtin/metadata-validation.ts'
import { asText, fieldPath, isMap, type Json } from './json.ts'
import { maxDepth } from './limits.ts'
import type { SchemaNode } from './types.ts'

const known = new WeakMap<SchemaNode, boolean>()

/** Whether a schema has embedded resources anywhere; hardly any has. */
function hasEmbedded(node: SchemaNode): boolean {
  const ready = known.get(node)
  if (ready !== undefined) return ready
  // Cycles end here; the answer below overwrites this one.
  known.set(node, false)
  const { properties, items, additionalProperties } = node
  const found =
    node.embeddedResource === true ||
    Object.values(properties ?? {}).some(hasEmbedded) ||
    (items !== undefined && hasEmbedded(items)) ||
    (typeof additionalProperties === 'object' && hasEmbedded(additionalProperties))
  known.set(node, found)
  return found
}

/** Complaints about the embedded resources of an object that fits its schema. */
export function embeddedErrors(node: SchemaNode, object: unknown): FieldError[] {
  const errors: FieldError[] = []
  visit(node, object, { path: '', depth: 0, errors })
  return errors
}

interface Place {
  readonly path: string
  readonly depth: number
  readonly errors: FieldError[]
}

function visit(node: SchemaNode, value: unknown, at: Place): void {
  if (at.depth > maxDepth || !hasEmbedded(node)) return
  const depth = at.depth + 1
  if (Array.isArray(value)) {
    const { items } = node
    if (items === undefined) return
    for (const [i, item] of value.entries()) {
      visit(items, item, { ...at, path: `${at.path}[${i}]`, depth })
    }
    return
  }
  if (!isMap(value)) return
  if (node.embeddedResource === true) at.errors.push(...resourceErrors(value, at.path))
  const { properties, additionalProperties } = node
  for (const key of Object.keys(value)) {
    const declared =
      properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined
    const child = declared ?? additionalProperties
    if (typeof child !== 'object') continue
    visit(child, value[key], { ...at, path: fieldPath(at.path, key), depth })
  }
}

function resourceErrors(resource: Json, path: string): FieldError[] {
  const errors: FieldError[] = []
  for (const name of ['apiVersion', 'kind']) {
    if ((asText(resource[name]) ?? '') !== '') continue
    errors.push(fieldRequired(fieldPath(path, name), 'must not be empty'))
  }
  const { metadata } = resource
  if (!isMap(metadata)) return errors
  const gvk = { group: '', version: '', kind: asText(resource['kind']) ?? '' }
  // It needs no name: whoever makes an object of it may choose one.
  const named = { metadata: { ...metadata, name: asText(metadata['name']) || 'unnamed' } }
  for (const error of metadataErrors(gvk, named)) {
    errors.push({ ...error, field: fieldPath(path, error.field) })
  }
  return errors
}
