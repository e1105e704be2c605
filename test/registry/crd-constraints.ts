/** The single facts of a schema (types, required fields, enums, patterns, bounds), and values against each. */
import type { Json } from './crd-corpus.ts'

/** A value at a path which one constraint of the schema there forbids. */
export interface Breach {
  /** Of the object which is changed, like `spec.rules[0].name`. */
  readonly path: string
  /** Undefined: the field is left out, though required. */
  readonly value: unknown
  /** The field that must be named: `path`, or one below. */
  readonly field: string
  readonly reason: string
  readonly constraint: string
}

interface Schema {
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly 'x-kubernetes-int-or-string'?: boolean
  readonly 'x-kubernetes-list-type'?: string
}

const invalid = 'FieldValueInvalid'
const tooMany = 'FieldValueTooMany'

/** All breaches of a schema, outermost first. */
export function breachesOf(root: unknown): Breach[] {
  const found: Breach[] = []
  const visit = (schema: Schema, path: string): void => {
    found.push(...ownBreaches(schema, path))
    for (const [name, child] of Object.entries(schema.properties ?? {})) {
      visit(child, `${path}.${name}`)
    }
    if (schema.items !== undefined) visit(schema.items, `${path}[0]`)
    if (typeof schema.additionalProperties === 'object') {
      visit(schema.additionalProperties, `${path}.9`)
    }
  }
  visit(root as Schema, 'spec')
  return found
}

function ownBreaches(schema: Schema, path: string): Breach[] {
  const found: Breach[] = []
  const add = (constraint: string, value: unknown, reason: string, field = path): void => {
    found.push({ path, value, field, reason, constraint })
  }
  const wrong = wrongType(schema)
  if (wrong !== undefined) add('type', wrong, 'FieldValueTypeInvalid')
  if (schema.enum !== undefined) {
    add('enum', schema.type === 'integer' ? 77_777 : 'No Such', 'FieldValueNotSupported')
  }
  textBreaches(schema, add)
  if (schema.minimum !== undefined) add('minimum', schema.minimum - 1, invalid)
  if (schema.maximum !== undefined) add('maximum', schema.maximum + 1, invalid)
  const { minItems = 0, maxItems, minProperties = 0, maxProperties } = schema
  const { items } = schema
  if (minItems > 0) add('minItems', [], invalid)
  if (maxItems !== undefined && items !== undefined) {
    add(
      'maxItems',
      Array.from({ length: maxItems + 1 }, () => sample(items)),
      tooMany,
    )
  }
  if (minProperties > 0) add('minProperties', {}, invalid)
  const values = schema.additionalProperties
  if (maxProperties !== undefined && typeof values === 'object') {
    const entries = Array.from({ length: maxProperties + 1 }, (_, i) => [`k${i}`, sample(values)])
    add('maxProperties', Object.fromEntries(entries), tooMany)
  }
  for (const name of schema.required ?? []) {
    if (schema.properties?.[name] !== undefined && 'default' in schema.properties[name]) continue
    const { [name]: _, ...others } = sample(schema) as Json
    add('required', others, 'FieldValueRequired', `${path}.${name}`)
  }
  if (schema['x-kubernetes-list-type'] !== undefined && items !== undefined) {
    const one = sample(items)
    const kind = schema['x-kubernetes-list-type']
    const keyed = kind === 'set' || (kind === 'map' && typeof one === 'object')
    if (keyed) add('unique', [one, one], 'FieldValueDuplicate', `${path}[1]`)
  }
  return found
}

function textBreaches(
  { pattern, minLength = 0, maxLength, enum: values }: Schema,
  add: (constraint: string, value: unknown, reason: string) => void,
): void {
  if (values !== undefined) return
  // No pattern of these kinds takes a tab and a broken bar; one takes any text that has a colon.
  if (pattern !== undefined && maxLength !== 0)
    add('pattern', `¦\t¦${'a'.repeat(minLength)}`, invalid)
  if (minLength > 0) add('minLength', '', invalid)
  if (maxLength !== undefined) add('maxLength', 'a'.repeat(maxLength + 1), 'FieldValueTooLong')
}

function wrongType({ type, ...schema }: Schema): unknown {
  if (schema['x-kubernetes-int-or-string'] === true) return true
  if (type === 'object' || type === 'array') return 'text'
  return type === undefined ? undefined : {}
}

/** A small value of the right type, with what is required. */
export function sample(schema: Schema): unknown {
  if ('default' in schema) return schema.default
  if (schema.enum !== undefined) return schema.enum[0]
  if (schema['x-kubernetes-int-or-string'] === true) return 1
  switch (schema.type) {
    case 'object': {
      const names = schema.required ?? []
      return Object.fromEntries(
        names.map((name) => [name, sample(schema.properties?.[name] ?? {})]),
      )
    }
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => sample(schema.items ?? {}))
    case 'integer':
    case 'number':
      return schema.minimum ?? 1
    case 'boolean':
      return true
    default:
      return 'a'.repeat(schema.minLength ?? 1)
  }
}

/** An object that has one value at a path, and on the way what is required. */
export function objectWith(root: unknown, breach: Breach): unknown {
  const names = breach.path.split(/[.[\]]+/).filter((name) => name !== '')
  const build = (schema: Schema, left: readonly string[]): unknown => {
    const [name, ...rest] = left
    if (name === undefined) return breach.value
    if (schema.type === 'array') return [build(schema.items ?? {}, rest)]
    const declared = schema.properties?.[name]
    const values = schema.additionalProperties
    const child = declared ?? (typeof values === 'object' ? values : {})
    return { ...(sample(schema) as Json), [name]: build(child, rest) }
  }
  return build(root as Schema, names.slice(1))
}
