/**
 * Checks an object against its schema, with the messages of the Kubernetes API: types, required
 * fields, enums, patterns, bounds, combinations, uniqueness in lists. CEL rules are not looked at.
 */
import {
  type ApiError,
  badRequest,
  type FieldError,
  fieldInvalid,
  fieldNotSupported,
  fieldRequired,
  fieldTooLong,
  fieldTooMany,
  fieldTypeInvalid,
  type GroupVersionKind,
} from '../kube/index.ts'
import { accepts, type Explain } from './accept.ts'
import { hasFormat } from './formats.ts'
import { characters, fieldPath, isMap, type Json, sameJson, typeOf } from './json.ts'
import { maxDepth, maxFieldErrors } from './limits.ts'
import { duplicateErrors } from './list-types.ts'
import { compilePattern } from './patterns.ts'
import type { KindSchema, SchemaNode } from './types.ts'

/** What holds for the whole object that is checked. */
interface Check {
  readonly errors: FieldError[]
  /** Built-in kinds: null means absent, and fields which Go would fill with zero aren't missed. */
  readonly builtin: boolean
  readonly depth: number
}

/** All complaints about an object, in the order of its fields; an empty list means valid. */
export function validate(kind: KindSchema, object: unknown): FieldError[] {
  const builtin = !kind.custom
  const explain = builtin ? ofBuiltin : ofCustom
  return accepts(kind.node, object, { builtin, explain }) ? [] : complaintsOf(kind, object)
}

/** What `validate` says, found by the walk alone. */
export function complaintsOf(kind: KindSchema, object: unknown): FieldError[] {
  const errors: FieldError[] = []
  visit(kind.node, object, '', { errors, builtin: !kind.custom, depth: 0 })
  return errors.slice(0, maxFieldErrors)
}

const ofBuiltin: Explain = (node, value, depth) => isFine(node, value, { builtin: true, depth })
const ofCustom: Explain = (node, value, depth) => isFine(node, value, { builtin: false, depth })

function isFine(node: SchemaNode, value: unknown, check: Omit<Check, 'errors'>): boolean {
  const errors: FieldError[] = []
  // Where in an object this stands doesn't matter: there is no status, and nobody sees the path.
  visit(node, value, 'spec', { ...check, errors })
  return errors.length === 0
}

/**
 * The 400 for an object of a built-in kind whose JSON doesn't fit its type, or undefined: there
 * the API fails while decoding, before it validates.
 */
export function decodingFailure(
  gvk: GroupVersionKind,
  errors: readonly FieldError[],
): ApiError | undefined {
  const found = errors.find(({ reason }) => reason === 'FieldValueTypeInvalid')
  if (found === undefined) return undefined
  const { kind, version } = gvk
  const detail = found.message.replace(/^Invalid value: (?:"(?:[^"\\]|\\.)*"|\S+): /, '')
  return badRequest(
    `${kind} in version "${version}" cannot be handled as a ${kind}: ${found.field}: ${detail}`,
  )
}

function visit(node: SchemaNode, value: unknown, path: string, check: Check): void {
  if (check.errors.length >= maxFieldErrors || check.depth > maxDepth) return
  if (!typeFits(node, value, path, check)) return
  if (value === null || value === undefined) return
  combinations(node, value, path, check)
  if (typeof value === 'string') textErrors(node, value, path, check)
  else if (typeof value === 'number') numberErrors(node, value, path, check)
  if (node.enum !== undefined && !node.enum.some((each) => sameJson(each, value))) {
    // Built-in enums allow the empty text: it stands for a default.
    if (!check.builtin || value !== '') {
      check.errors.push(fieldNotSupported(path, value, node.enum))
    }
  }
  if (Array.isArray(value)) listErrors(node, value, path, check)
  else if (isMap(value)) mapErrors(node, value, path, check)
}

function typeFits(node: SchemaNode, value: unknown, path: string, check: Check): boolean {
  const found = typeOf(value)
  if (value === null || value === undefined) {
    if (check.builtin || node.nullable === true || (node.type === undefined && !node.intOrString)) {
      return true
    }
  } else if (node.intOrString === true) {
    if (found === 'integer' || found === 'string') return true
  } else if (node.type === undefined || node.type === found) {
    return true
  } else if (node.type === 'number' && found === 'integer') {
    return true
  } else if (node.format === 'quantity' && typeof value === 'number') {
    return true
  }
  const wanted = node.intOrString === true ? 'integer,string' : (node.type ?? 'object')
  check.errors.push(
    fieldTypeInvalid(path, found, `${path} in body must be of type ${wanted}: "${found}"`),
  )
  return false
}

function textErrors(node: SchemaNode, value: string, path: string, check: Check): void {
  const { errors } = check
  const { minLength, maxLength, pattern, format } = node
  let matches = true
  if (minLength !== undefined || maxLength !== undefined) {
    const length = characters(value)
    const tooLong = maxLength !== undefined && length > maxLength
    if (tooLong) errors.push(fieldTooLong(path, maxLength))
    else if (minLength !== undefined && length < minLength) {
      const text = `${path} in body should be at least ${minLength} chars long`
      errors.push(fieldInvalid(path, value, text))
    }
    // A text of the wrong length isn't matched as well; the API names the first complaint only.
    matches = !tooLong && (minLength === undefined || length >= minLength)
  }
  if (matches && pattern !== undefined && compilePattern(pattern)?.test(value) !== true) {
    errors.push(fieldInvalid(path, value, `${path} in body should match '${pattern}'`))
  }
  if (format !== undefined && !hasFormat(value, format)) {
    const name = format === 'date-time-micro' ? 'date-time' : format
    const text = `${path} in body must be of type ${name}: ${JSON.stringify(value)}`
    errors.push(fieldTypeInvalid(path, value, text))
  }
}

function numberErrors(node: SchemaNode, value: number, path: string, check: Check): void {
  const { minimum, maximum, multipleOf } = node
  const complain = (text: string) => {
    check.errors.push(fieldInvalid(path, value, `${path} in body should be ${text}`))
  }
  if (maximum !== undefined && (node.exclusiveMaximum ? value >= maximum : value > maximum)) {
    complain(`less than ${node.exclusiveMaximum ? '' : 'or equal to '}${maximum}`)
  }
  if (minimum !== undefined && (node.exclusiveMinimum ? value <= minimum : value < minimum)) {
    complain(`greater than ${node.exclusiveMinimum ? '' : 'or equal to '}${minimum}`)
  }
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf)) {
    complain(`a multiple of ${multipleOf}`)
  }
  if (check.builtin && node.format === 'int32' && (value > 2147483647 || value < -2147483648)) {
    const text = `${path} in body must be of type int32: "${value}"`
    check.errors.push(fieldTypeInvalid(path, value, text))
  }
}

function listErrors(node: SchemaNode, list: unknown[], path: string, check: Check): void {
  const { errors } = check
  const { minItems, maxItems, items } = node
  if (minItems !== undefined && list.length < minItems) {
    const text = `${path} in body should have at least ${minItems} items`
    errors.push(fieldInvalid(path, list.length, text))
  }
  if (maxItems !== undefined && list.length > maxItems) {
    errors.push(fieldTooMany(path, list.length, maxItems))
  }
  if (items !== undefined) {
    const inner = { ...check, depth: check.depth + 1 }
    for (const [i, item] of list.entries()) visit(items, item, `${path}[${i}]`, inner)
  }
  errors.push(...duplicateErrors(node, list, path))
}

function mapErrors(node: SchemaNode, map: Json, path: string, check: Check): void {
  const { errors } = check
  const keys = Object.keys(map)
  const { minProperties, maxProperties, properties, additionalProperties } = node
  if (maxProperties !== undefined && keys.length > maxProperties) {
    errors.push(fieldTooMany(path, keys.length, maxProperties))
  }
  if (minProperties !== undefined && keys.length < minProperties) {
    const text = `${path} in body should have at least ${minProperties} properties`
    errors.push(fieldInvalid(path, keys.length, text))
  }
  for (const name of node.required ?? []) {
    if (missing(node, map, name, path, check)) errors.push(fieldRequired(fieldPath(path, name)))
  }
  const inner = { ...check, depth: check.depth + 1 }
  for (const key of keys) {
    const child =
      properties !== undefined && Object.hasOwn(properties, key)
        ? properties[key]
        : typeof additionalProperties === 'object'
          ? additionalProperties
          : undefined
    if (child !== undefined) visit(child, map[key], fieldPath(path, key), inner)
  }
}

/**
 * Built-in kinds are decoded into Go structs upstream: numbers and lists that aren't there become
 * zero and empty, and statuses are written by programs only.
 */
function missing(node: SchemaNode, map: Json, name: string, path: string, check: Check): boolean {
  if (!check.builtin) return !Object.hasOwn(map, name)
  if (path === 'status' || path.startsWith('status.') || path.startsWith('metadata')) return false
  const child = node.properties?.[name]
  const needed = child?.type === 'string' || child?.type === 'object' || child?.intOrString === true
  return needed && (map[name] === undefined || map[name] === null)
}

function combinations(node: SchemaNode, value: unknown, path: string, check: Check): void {
  const { allOf, anyOf, oneOf, not } = node
  if (allOf === undefined && anyOf === undefined && oneOf === undefined && not === undefined) return
  const complain = (text: string) => {
    check.errors.push(fieldInvalid(path, typeOf(value), `"${path}" must ${text}`))
  }
  const errorsOf = (alternative: SchemaNode): FieldError[] => {
    const errors: FieldError[] = []
    visit(alternative, value, path, { ...check, errors, depth: check.depth + 1 })
    return errors
  }
  if (anyOf !== undefined && !anyOf.some((each) => errorsOf(each).length === 0)) {
    complain('validate at least one schema (anyOf)')
  }
  if (oneOf !== undefined) {
    const valid = oneOf.filter((each) => errorsOf(each).length === 0).length
    if (valid !== 1) {
      const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`
      complain(`validate one and only one schema (oneOf). ${found}`)
    }
  }
  const broken = (allOf ?? []).flatMap(errorsOf)
  if (broken.length > 0) {
    complain('validate all the schemas (allOf)')
    check.errors.push(...broken)
  }
  if (not !== undefined && errorsOf(not).length === 0) complain('not validate the schema (not)')
}
