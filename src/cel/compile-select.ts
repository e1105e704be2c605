/** `a.b`, `a[b]`, `has(a.b)`, and their optional forms `a.?b`, `a[?b]`. */
import type { Expression } from './ast.ts'
import type { Compiled, Compiler } from './compiler.ts'
import { CelError, CelErrors, IssueError } from './errors.ts'
import { charge, type Run } from './frame.ts'
import { keyText } from './names.ts'
import { assignable, optionalType, type Type, types, typeText } from './types.ts'
import {
  CelOptional,
  CelUint,
  isList,
  isMap,
  lookUp,
  none,
  typeName,
  type Value,
} from './values.ts'

type ExpressionOf<Is> = Expression & { readonly is: Is }

export function compileSelect(compiler: Compiler, expression: ExpressionOf<'select'>): Compiled {
  const { field, offset } = expression
  const operand = compiler.compile(expression.operand)
  const chained = operand.type.kind === 'optional'
  const within = operand.type.kind === 'optional' ? operand.type.value : operand.type
  const type = fieldType(within, field, offset)
  const from = operand.run
  if (chained || expression.optional) {
    const run: Run = (frame) => {
      charge(frame, 1)
      return optionally(from(frame), (value) => fieldOf(value, field))
    }
    return { type: optionalType(unwrapped(type)), run }
  }
  const run: Run = (frame) => {
    charge(frame, 1)
    const value = from(frame)
    if (value instanceof CelOptional) return optionally(value, (inner) => fieldOf(inner, field))
    const found = fieldOf(value, field)
    if (found === undefined) throw CelErrors.noSuchKey(field)
    return found
  }
  return { type, run }
}

export function compileHas(compiler: Compiler, expression: ExpressionOf<'has'>): Compiled {
  const { field, offset } = expression
  const operand = compiler.compile(expression.operand)
  const { type } = operand
  fieldType(type.kind === 'optional' ? type.value : type, field, offset)
  const from = operand.run
  const run: Run = (frame) => {
    charge(frame, 1)
    let value = from(frame)
    if (value instanceof CelOptional) {
      if (value.content === undefined) return false
      value = value.content
    }
    return fieldOf(value, field) !== undefined
  }
  return { type: types.bool, run }
}

export function compileIndex(compiler: Compiler, expression: ExpressionOf<'index'>): Compiled {
  const { offset } = expression
  const operand = compiler.compile(expression.operand)
  const index = compiler.compile(expression.index)
  const chained = operand.type.kind === 'optional'
  const within = operand.type.kind === 'optional' ? operand.type.value : operand.type
  const type = elementType(within, index.type)
  if (type === undefined) {
    const applied = `(${typeText(operand.type)}, ${typeText(index.type)})`
    throw new IssueError(offset, `found no matching overload for '_[_]' applied to '${applied}'`)
  }
  const from = operand.run
  const at = index.run
  if (chained || expression.optional) {
    const run: Run = (frame) => {
      charge(frame, 1)
      const value = from(frame)
      const key = at(frame)
      return optionally(value, (inner) => elementOf(inner, key))
    }
    return { type: optionalType(unwrapped(type)), run }
  }
  const run: Run = (frame) => {
    charge(frame, 1)
    const value = from(frame)
    const key = at(frame)
    if (value instanceof CelOptional) return optionally(value, (inner) => elementOf(inner, key))
    const found = elementOf(value, key)
    if (found !== undefined) return found
    if (isMap(value)) throw CelErrors.noSuchKey(keyText(key))
    throw CelErrors.indexOutOfBounds(key instanceof CelUint ? key.value : Number(key))
  }
  return { type, run }
}

/** The type of a field; the checker's complaint when there can be none. */
function fieldType(type: Type, field: string, offset: number): Type {
  switch (type.kind) {
    case 'dyn':
    case 'any':
      return types.dyn
    case 'map':
      return type.value.kind === 'any' ? types.dyn : type.value
    case 'object': {
      const found = type.fields.get(field)
      if (found === undefined) throw new IssueError(offset, `undefined field '${field}'`)
      return found
    }
    default:
      throw new IssueError(offset, `type '${typeText(type)}' does not support field selection`)
  }
}

function elementType(type: Type, index: Type): Type | undefined {
  switch (type.kind) {
    case 'dyn':
    case 'any':
      return types.dyn
    case 'list':
      return assignable(types.int, index, new Map()) ? loosened(type.element) : undefined
    case 'map':
      return assignable(type.key, index, new Map()) ? loosened(type.value) : undefined
    default:
      return undefined
  }
}

function loosened(type: Type): Type {
  return type.kind === 'any' ? types.dyn : type
}

/** An optional of an optional is the same optional. */
function unwrapped(type: Type): Type {
  return type.kind === 'optional' ? type.value : type
}

function optionally(value: Value, get: (inner: Value) => Value | undefined): Value {
  let inner: Value = value
  if (value instanceof CelOptional) {
    if (value.content === undefined) return none
    inner = value.content
  }
  const found = get(inner)
  if (found === undefined) return none
  return found instanceof CelOptional ? found : new CelOptional(found)
}

function fieldOf(value: Value, field: string): Value | undefined {
  if (!isMap(value)) throw CelErrors.noSuchOverload()
  return value.get(field)
}

function elementOf(value: Value, key: Value): Value | undefined {
  if (isMap(value)) return lookUp(value, key)
  if (!isList(value)) throw CelErrors.noSuchOverload()
  const index = key instanceof CelUint ? key.value : key
  if (typeof index === 'number' && !Number.isInteger(index)) {
    throw new CelError(`unsupported index value ${index} in list`)
  }
  if (typeof index !== 'bigint' && typeof index !== 'number') {
    throw new CelError(`unsupported index type '${typeName(key)}' in list`)
  }
  return value[Number(index)]
}
