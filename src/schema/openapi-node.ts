/** Between JSON Schema / OpenAPI v3 as it stands in CRDs and documents, and our nodes. */
import type { SchemaNode, SchemaRule, SchemaType } from './types.ts'

type Json = Record<string, unknown>

/** Keys which mean the same and are named the same on both sides. */
const plain = [
  'format',
  'required',
  'enum',
  'pattern',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'uniqueItems',
  'minProperties',
  'maxProperties',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'default',
  'nullable',
] as const

/** Extensions and our names of them. */
const extensions = [
  ['x-kubernetes-int-or-string', 'intOrString'],
  ['x-kubernetes-preserve-unknown-fields', 'preserveUnknown'],
  ['x-kubernetes-embedded-resource', 'embeddedResource'],
  ['x-kubernetes-list-type', 'listType'],
  ['x-kubernetes-list-map-keys', 'listMapKeys'],
  ['x-kubernetes-map-type', 'mapType'],
  ['x-kubernetes-patch-merge-key', 'patchMergeKey'],
  ['x-kubernetes-patch-strategy', 'patchStrategy'],
  ['x-kubernetes-validations', 'rules'],
] as const

const ruleKeys = ['rule', 'message', 'messageExpression', 'reason', 'fieldPath', 'optionalOldSelf']

function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export interface ReadOptions {
  /** What to call the target of a `$ref`; without it references are dropped. */
  readonly refName?: (ref: unknown) => string
  /** Whether descriptions are kept; examples and the like never are. */
  readonly descriptions?: boolean
}

/** Reads a schema. */
export function fromOpenApi(schema: unknown, options: ReadOptions = {}): SchemaNode {
  const node: SchemaNode = {}
  if (!isMap(schema)) return node
  const { refName, descriptions = false } = options
  const read = (child: unknown) => fromOpenApi(child, options)
  if (schema['$ref'] !== undefined && refName !== undefined) node.ref = refName(schema['$ref'])
  const type = schema['type']
  // JSON Schema writes optional fields as ["string", "null"]; here every optional field may be null.
  const name = Array.isArray(type) ? type.find((each) => each !== 'null') : type
  if (typeof name === 'string' && name !== '') node.type = name as SchemaType
  const { description } = schema
  if (descriptions && typeof description === 'string') node.description = description
  const target = node as Json
  for (const key of plain) if (schema[key] !== undefined) target[key] = schema[key]
  for (const [from, to] of extensions) if (schema[from] !== undefined) target[to] = schema[from]
  if (Array.isArray(node.rules)) node.rules = node.rules.map(ruleOf)
  if (isMap(schema['properties'])) {
    node.properties = {}
    for (const [key, child] of Object.entries(schema['properties'])) {
      node.properties[key] = read(child)
    }
  }
  const values = schema['additionalProperties']
  if (typeof values === 'boolean') node.additionalProperties = values
  else if (isMap(values)) node.additionalProperties = read(values)
  if (isMap(schema['items'])) node.items = read(schema['items'])
  for (const key of ['allOf', 'anyOf', 'oneOf'] as const) {
    const list = schema[key]
    if (Array.isArray(list)) node[key] = list.map(read)
  }
  if (isMap(schema['not'])) node.not = read(schema['not'])
  // The alternatives of int-or-string say again what the extension says.
  if (node.intOrString === true) delete node.anyOf
  return node
}

function ruleOf(rule: SchemaRule): SchemaRule {
  const entries = Object.entries(rule).filter(([key]) => ruleKeys.includes(key))
  return Object.fromEntries(entries) as unknown as SchemaRule
}

/**
 * Writes a node as OpenAPI v3.
 * @param refTo gives the `$ref` for a named node, or undefined to write it in place
 */
export function toOpenApi(
  node: SchemaNode,
  refTo: (node: SchemaNode) => string | undefined = () => undefined,
): Json {
  const schema: Json = {}
  const write = (child: SchemaNode): Json => {
    const $ref = refTo(child)
    return $ref === undefined ? toOpenApi(child, refTo) : { $ref }
  }
  if (node.description !== undefined) schema['description'] = node.description
  writeType(node, schema)
  for (const key of plain) {
    if (key !== 'format' && node[key] !== undefined) schema[key] = node[key]
  }
  if (node.properties !== undefined) {
    const properties: Json = {}
    for (const [key, child] of Object.entries(node.properties)) properties[key] = write(child)
    schema['properties'] = properties
  }
  const { additionalProperties: values, items, not } = node
  if (typeof values === 'boolean') schema['additionalProperties'] = values
  else if (values !== undefined) schema['additionalProperties'] = write(values)
  if (items !== undefined) schema['items'] = write(items)
  for (const key of ['allOf', 'anyOf', 'oneOf'] as const) {
    const list = node[key]
    if (list !== undefined) schema[key] = list.map(write)
  }
  if (not !== undefined) schema['not'] = write(not)
  for (const [to, from] of extensions) if (node[from] !== undefined) schema[to] = node[from]
  return schema
}

function writeType(node: SchemaNode, schema: Json): void {
  if (node.format === 'quantity') {
    schema['oneOf'] = [{ type: 'string' }, { type: 'number' }]
    return
  }
  if (node.type !== undefined) schema['type'] = node.type
  if (node.format === 'date-time-micro') schema['format'] = 'date-time'
  else if (node.format !== undefined) schema['format'] = node.format
  if (node.intOrString === true) {
    schema['anyOf'] = [{ type: 'integer' }, { type: 'string' }]
  }
}
