/**
 * Whether the schema of a CustomResourceDefinition is structural: every field and list has one type that is said
 * outside of `allOf`, `anyOf`, `oneOf` and `not`, so that pruning and defaulting know what they look at.
 */
import { asMap, type Json, mapsOf, sameJson } from '../json.ts'
import { maxDepth } from '../limits.ts'
import { compilePattern } from '../patterns.ts'
import { Cursor } from './report.ts'

const types = ['object', 'array', 'string', 'integer', 'number', 'boolean']
const preserve = 'x-kubernetes-preserve-unknown-fields'
const embedded = 'x-kubernetes-embedded-resource'
const intOrString = 'x-kubernetes-int-or-string'

type Level = 'root' | 'field' | 'item'

const noType: Record<Level, string> = {
  root: 'must not be empty at the root',
  field: 'must not be empty for specified object fields',
  item: 'must not be empty for specified array items',
}

/** Complains about a whole schema, `schema` being its root. */
export function structuralErrors(schema: Cursor): void {
  nodeErrors(schema, 'root', 0)
}

function nodeErrors(schema: Cursor, level: Level, depth: number): void {
  if (depth > maxDepth) {
    schema.forbidden('', `the schema is nested deeper than ${maxDepth} levels`)
    return
  }
  typeErrors(schema, level)
  extensionErrors(schema)
  listErrors(schema)
  if (level === 'root' || schema.value(embedded) === true) metadataErrors(schema, level)
  if (schema.isSet('$ref')) schema.forbidden('$ref', '$ref is not supported')
  const values = asMap(schema.value('additionalProperties'))
  if (values !== undefined && level === 'root') {
    schema.forbidden('additionalProperties', 'must not be used at the root')
  }
  if (schema.isSet('properties') && values !== undefined) {
    const text = 'additionalProperties and properties are mutual exclusive'
    schema.forbidden('additionalProperties', text)
  }
  if (level === 'root' && schema.value('nullable') === true) {
    schema.forbidden('nullable', 'nullable cannot be set to true at the root')
  }
  valueErrors(schema, schema.map, depth)
  for (const [child, name] of propertiesOf(schema)) {
    // What metadata looks like is known; the checks above say what may be said of it.
    if (level !== 'root' || name !== 'metadata') nodeErrors(child, 'field', depth + 1)
  }
  const items = schema.child('items')
  if (items !== undefined) nodeErrors(items, 'item', depth + 1)
  const each = schema.child('additionalProperties')
  if (each !== undefined) nodeErrors(each, 'field', depth + 1)
}

function typeErrors(schema: Cursor, level: Level): void {
  const type = schema.text('type') ?? ''
  if (schema.value(embedded) === true && type !== 'object') {
    const text = 'must be object if x-kubernetes-embedded-resource is true'
    if (type === '') schema.required('type', text)
    else schema.invalid('type', text)
    return
  }
  const free = schema.value(intOrString) === true || schema.value(preserve) === true
  if (type === '') {
    if (!free) schema.required('type', noType[level])
  } else if (level === 'root' && type !== 'object') {
    schema.invalid('type', 'must be object at the root')
  } else if (!types.includes(type)) schema.notSupported('type', types)
}

function extensionErrors(schema: Cursor): void {
  if (schema.value(preserve) === false) schema.invalid(preserve, 'must be true or undefined')
  if (schema.value(intOrString) === true) {
    if (schema.isSet('type')) {
      schema.invalid('type', 'must be empty if x-kubernetes-int-or-string is true')
    }
    for (const name of [preserve, embedded]) {
      if (schema.value(name) !== true) continue
      schema.invalid(name, 'must be false if x-kubernetes-int-or-string is true')
    }
  }
  if (schema.value(embedded) !== true) return
  if (schema.isSet('additionalProperties')) {
    const text = 'must not be used if x-kubernetes-embedded-resource is set'
    schema.forbidden('additionalProperties', text)
  }
  const named = Object.keys(asMap(schema.value('properties')) ?? {}).length > 0
  if (!named && schema.value(preserve) !== true) {
    const text = `must not be empty if ${embedded} is true without ${preserve}`
    schema.required('properties', text)
  }
}

function listErrors(schema: Cursor): void {
  const type = schema.text('type')
  if (type === 'array' && schema.child('items') === undefined) {
    schema.required('items', 'must be specified')
  }
  if (schema.value('uniqueItems') === true) {
    schema.forbidden(
      'uniqueItems',
      'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    )
  }
  const listType = schema.text('x-kubernetes-list-type')
  if (listType === undefined) return
  const listTypes = ['atomic', 'map', 'set']
  if (!listTypes.includes(listType)) schema.notSupported('x-kubernetes-list-type', listTypes)
  if (type !== 'array') {
    if (type === undefined)
      schema.required('type', 'must be array if x-kubernetes-list-type is set')
    else schema.invalid('type', 'must be array if x-kubernetes-list-type is specified')
  }
  if (listType === 'map') mapListErrors(schema)
}

function mapListErrors(schema: Cursor): void {
  const keys = schema.value('x-kubernetes-list-map-keys')
  const name = 'x-kubernetes-list-map-keys'
  if (!Array.isArray(keys) || keys.length === 0) {
    schema.required(name, 'must not be empty if x-kubernetes-list-type is map')
    return
  }
  const items = schema.child('items')
  const declared = items?.child('properties')
  for (const [i, key] of keys.entries()) {
    if (declared?.child(String(key)) === undefined) {
      schema.invalid(`${name}[${i}]`, 'must be the name of a property of the item', key)
    }
  }
}

function metadataErrors(schema: Cursor, level: Level): void {
  const properties = schema.child('properties')
  for (const name of ['kind', 'apiVersion']) {
    const type = properties?.child(name)?.text('type') ?? ''
    if (properties?.isSet(name) && type !== 'string') {
      schema.invalid(`properties[${name}].type`, 'must be string', type)
    }
  }
  const metadata = properties?.child('metadata')
  if (metadata === undefined) return
  const type = metadata.text('type') ?? ''
  if (type !== 'object') schema.invalid('properties[metadata].type', 'must be object', type)
  if (level !== 'root') return
  const said = Object.keys(asMap(metadata.value('properties')) ?? {})
  const others = Object.keys(metadata.map).filter(
    (key) => !['type', 'properties', 'description', 'default'].includes(key),
  )
  if (others.length > 0 || said.some((name) => name !== 'name' && name !== 'generateName')) {
    const text =
      'must not specify anything other than name and generateName, but metadata is implicitly specified'
    schema.forbidden('properties[metadata]', text)
  }
}

/** Checks patterns, and what combines schemas; `whole` is the node outside of all combinations. */
function valueErrors(schema: Cursor, whole: Json | undefined, depth: number): void {
  const pattern = schema.text('pattern')
  if (pattern !== undefined && compilePattern(pattern) === undefined) {
    schema.invalid('pattern', "must be a valid regular expression, but isn't")
  }
  for (const name of ['anyOf', 'allOf', 'oneOf']) {
    for (const [i, child] of schema.children(name).entries()) {
      if (name === 'anyOf' && isIntOrString(schema.map)) continue
      // The other way to say "an integer or a string", beside more constraints.
      if (name === 'allOf' && i === 0 && isIntOrString(child.map)) continue
      nestedErrors(child, whole, depth + 1)
    }
  }
  const not = schema.child('not')
  if (not !== undefined) nestedErrors(not, whole, depth + 1)
}

function isIntOrString({ anyOf }: Json): boolean {
  return sameJson(anyOf, [{ type: 'integer' }, { type: 'string' }])
}

const forbiddenNested = [
  ['type', 'must be empty to be structural'],
  ['title', 'must be empty to be structural'],
  ['description', 'must be empty to be structural'],
  ['x-kubernetes-list-map-keys', 'must be empty to be structural'],
  ['x-kubernetes-validations', 'must be empty to be structural'],
  ['additionalProperties', 'must be undefined to be structural'],
  ['default', 'must be undefined to be structural'],
  ['externalDocs', 'must be undefined to be structural'],
  ['x-kubernetes-list-type', 'must be undefined to be structural'],
  ['x-kubernetes-map-type', 'must be undefined to be structural'],
  ['nullable', 'must be false to be structural'],
  [preserve, 'must be false to be structural'],
  [embedded, 'must be false to be structural'],
  [intOrString, 'must be false to be structural'],
] as const

/** Inside a combination only values may be constrained, and only of what is declared outside. */
function nestedErrors(schema: Cursor, whole: Json | undefined, depth: number): void {
  if (depth > maxDepth) return
  for (const [name, text] of forbiddenNested) {
    if (schema.isSet(name) && schema.value(name) !== false) schema.forbidden(name, text)
  }
  valueErrors(schema, whole, depth)
  for (const [child, name] of propertiesOf(schema)) {
    if (name === 'metadata') {
      schema.forbidden('properties[metadata]', 'must not be specified in a nested context')
    }
    nestedErrors(child, declaredIn(child, whole, `properties[${name}]`), depth + 1)
  }
  const items = schema.child('items')
  if (items !== undefined) nestedErrors(items, declaredIn(items, whole, 'items'), depth + 1)
}

/** The same field outside of combinations; complains when there is none. */
function declaredIn(child: Cursor, whole: Json | undefined, part: string): Json | undefined {
  if (whole === undefined) return undefined
  const name = /^properties\[(.*)\]$/s.exec(part)?.[1]
  const found = asMap(name === undefined ? whole['items'] : asMap(whole['properties'])?.[name])
  if (found !== undefined) return found
  const place = child.path
    .slice(0, -part.length - 1)
    .replace(/(?:\.(?:allOf|anyOf|oneOf)\[\d+\]|\.not)+/g, '')
  child.errors.push({
    reason: 'FieldValueRequired',
    message: `Required value: because it is defined in ${child.path}`,
    field: `${place}.${part}`,
  })
  return undefined
}

function propertiesOf(schema: Cursor): (readonly [Cursor, string])[] {
  const properties = schema.child('properties')
  if (properties === undefined) return []
  return Object.keys(properties.map).flatMap((name) => {
    const [child] = mapsOf([properties.map[name]])
    if (child === undefined) return []
    return [[new Cursor(child, `${properties.path}[${name}]`, schema.errors), name] as const]
  })
}
