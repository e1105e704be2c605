/**
 * Values at run time. JavaScript's own types where they fit: bigint for int, number for double,
 * Map for maps and objects, arrays for lists; small classes for the rest.
 */
import { CelErrors } from './errors.ts'
import type { Type } from './types.ts'

export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | Uint8Array
  | CelList
  | ReadonlyMap<Value, Value>
  | CelUint
  | CelDuration
  | CelTimestamp
  | CelType
  | CelOptional
  | CelOpaque

/** Lists of Kubernetes may ignore order: `set` lists by value, `map` lists by their keys. */
export interface ListTraits {
  /** Equal for elements which stand for the same thing. */
  readonly identity: (element: Value) => string
}

export type CelList = readonly Value[] & { readonly traits?: ListTraits }

export class CelUint {
  readonly value: bigint
  constructor(value: bigint) {
    this.value = value
  }
}

export class CelDuration {
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

/** A point in time, in nanoseconds since 1970. */
export class CelTimestamp {
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

/** The result of `type(x)`. */
export class CelType {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

export class CelOptional {
  /** Undefined: there is no value. */
  readonly content: Value | undefined
  constructor(content: Value | undefined) {
    this.content = content
  }
}

export const none = new CelOptional(undefined)

/** A value of a library's own type; subclasses hold what it is. */
export abstract class CelOpaque {
  abstract readonly typeName: string
  abstract equals(other: CelOpaque): boolean
}

/** Whether a value is a list. */
export function isList(value: Value): value is CelList {
  return Array.isArray(value)
}

/** Whether a value is a map or an object. */
export function isMap(value: Value): value is ReadonlyMap<Value, Value> {
  return value instanceof Map
}

/** The name of a value's type, as `type(x)` has it. */
export function typeName(value: Value): string {
  switch (typeof value) {
    case 'bigint':
      return 'int'
    case 'number':
      return 'double'
    case 'boolean':
      return 'bool'
    case 'string':
      return 'string'
    default:
  }
  if (value === null) return 'null_type'
  if (isList(value)) return 'list'
  if (isMap(value)) return 'map'
  if (value instanceof Uint8Array) return 'bytes'
  if (value instanceof CelUint) return 'uint'
  if (value instanceof CelDuration) return 'google.protobuf.Duration'
  if (value instanceof CelTimestamp) return 'google.protobuf.Timestamp'
  if (value instanceof CelType) return 'type'
  if (value instanceof CelOptional) return 'optional_type'
  return value.typeName
}

/** Whether a value fits a declared parameter, looking at the outermost type only. */
export function fits(value: Value, type: Type): boolean {
  switch (type.kind) {
    case 'dyn':
    case 'any':
    case 'param':
      return true
    case 'null':
      return value === null
    case 'string':
      return typeof value === 'string'
    case 'int':
      return typeof value === 'bigint'
    case 'bool':
      return typeof value === 'boolean'
    case 'list':
      return isList(value)
    case 'map':
    case 'object':
      return isMap(value)
    case 'optional':
      return value instanceof CelOptional
    case 'opaque':
      return value instanceof CelOpaque && value.typeName === type.name
    case 'duration':
      return value instanceof CelDuration
    case 'timestamp':
      return value instanceof CelTimestamp
    default:
      return typeName(value) === type.kind
  }
}

/** The number in a numeric value, or undefined. */
function numeric(value: Value): bigint | number | undefined {
  if (typeof value === 'bigint' || typeof value === 'number') return value
  return value instanceof CelUint ? value.value : undefined
}

/** `==` of the language: numbers across types, the rest only within its type. */
export function equals(left: Value, right: Value): boolean {
  if (left === right) return true
  const number = numeric(left)
  if (number !== undefined) {
    const other = numeric(right)
    // These compare a bigint with a number exactly, and are false for NaN.
    return other !== undefined && number <= other && number >= other
  }
  if (typeof left !== 'object' || typeof right !== 'object') return false
  if (left === null || right === null) return false
  if (isList(left)) return isList(right) && listsEqual(left, right)
  if (isMap(left)) return isMap(right) && mapsEqual(left, right)
  if (left instanceof Uint8Array) {
    return right instanceof Uint8Array && Buffer.compare(left, right) === 0
  }
  if (left instanceof CelDuration) return right instanceof CelDuration && left.nanos === right.nanos
  if (left instanceof CelTimestamp) {
    return right instanceof CelTimestamp && left.nanos === right.nanos
  }
  if (left instanceof CelType) return right instanceof CelType && left.name === right.name
  if (left instanceof CelOptional) {
    if (!(right instanceof CelOptional)) return false
    if (left.content === undefined || right.content === undefined) {
      return left.content === right.content
    }
    return equals(left.content, right.content)
  }
  return left instanceof CelOpaque && right instanceof CelOpaque && left.equals(right)
}

function listsEqual(left: CelList, right: CelList): boolean {
  if (left.length !== right.length) return false
  const traits = left.traits ?? right.traits
  if (traits === undefined) {
    return left.every((element, i) => {
      const other = right[i]
      return other !== undefined && equals(element, other)
    })
  }
  const others = new Map(right.map((element) => [traits.identity(element), element]))
  return left.every((element) => {
    const other = others.get(traits.identity(element))
    return other !== undefined && equals(element, other)
  })
}

function mapsEqual(left: ReadonlyMap<Value, Value>, right: ReadonlyMap<Value, Value>): boolean {
  if (left.size !== right.size) return false
  for (const [key, value] of left) {
    const other = lookUp(right, key)
    if (other === undefined || !equals(value, other)) return false
  }
  return true
}

/** The value of a key, or undefined; numeric keys are found whatever their type. */
export function lookUp(map: ReadonlyMap<Value, Value>, key: Value): Value | undefined {
  const found = map.get(key)
  if (found !== undefined) return found
  const number = numeric(key)
  if (number === undefined) return undefined
  if (typeof number === 'number' && !Number.isInteger(number)) return undefined
  const whole = BigInt(number)
  const plain = map.get(whole)
  if (plain !== undefined) return plain
  for (const [each, value] of map) {
    if (each instanceof CelUint && each.value === whole) return value
  }
  return undefined
}

/** -1, 0 or 1; throws when the two have no order. */
export function compare(left: Value, right: Value): number {
  const number = numeric(left)
  const other = numeric(right)
  if (number !== undefined && other !== undefined) {
    return number < other ? -1 : number > other ? 1 : 0
  }
  if (typeof left === 'string' && typeof right === 'string') return compareTexts(left, right)
  if (typeof left === 'boolean' && typeof right === 'boolean') return Number(left) - Number(right)
  if (left instanceof Uint8Array && right instanceof Uint8Array) return Buffer.compare(left, right)
  if (
    (left instanceof CelDuration && right instanceof CelDuration) ||
    (left instanceof CelTimestamp && right instanceof CelTimestamp)
  ) {
    return left.nanos < right.nanos ? -1 : left.nanos > right.nanos ? 1 : 0
  }
  throw CelErrors.noSuchOverload()
}

/** By code points, as Go compares UTF-8, not by UTF-16 units. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0
  const length = Math.min(left.length, right.length)
  for (let i = 0; i < length; i++) {
    const a = left.charCodeAt(i)
    const b = right.charCodeAt(i)
    if (a === b) continue
    const surrogates = a >= 0xd800 && a < 0xe000
    const others = b >= 0xd800 && b < 0xe000
    if (surrogates !== others) return surrogates ? 1 : -1
    return a < b ? -1 : 1
  }
  return left.length < right.length ? -1 : 1
}
