/**
 * Checks an expression's types and turns it into closures, in one pass. What the types leave open
 * (dyn) is looked at again when it runs.
 */
import type { Expression } from './ast.ts'
import { compileCall, type FunctionTable } from './compile-call.ts'
import { compileMacro } from './compile-macro.ts'
import { compileHas, compileIndex, compileSelect } from './compile-select.ts'
import { CelError, IssueError } from './errors.ts'
import { charge, type Run } from './frame.ts'
import { keyText, qualifiedName } from './names.ts'
import { assignable, join, listType, mapType, type Type, types, typeText } from './types.ts'
import {
  type CelList,
  CelOptional,
  CelType,
  CelUint,
  isMap,
  typeName,
  type Value,
} from './values.ts'

/** A compiled part of an expression. */
export interface Compiled {
  readonly type: Type
  readonly run: Run
  /** Its value when it is a literal. */
  readonly literal?: Value
}

export interface Variable {
  readonly name: string
  readonly type: Type
}

const typeNames: Record<string, string> = {
  int: 'int',
  uint: 'uint',
  double: 'double',
  bool: 'bool',
  string: 'string',
  bytes: 'bytes',
  list: 'list',
  map: 'map',
  null_type: 'null_type',
  type: 'type',
  optional_type: 'optional_type',
  'google.protobuf.Duration': 'google.protobuf.Duration',
  'google.protobuf.Timestamp': 'google.protobuf.Timestamp',
}

export class Compiler {
  readonly functions: FunctionTable
  /** Names of variables that are used. */
  readonly used = new Set<string>()
  readonly #scope = new Map<string, { readonly slot: number; readonly type: Type }>()
  readonly #declared: number
  #slots: number
  #mixed = false

  constructor(functions: FunctionTable, variables: readonly Variable[]) {
    this.functions = functions
    for (const [slot, { name, type }] of variables.entries()) this.#scope.set(name, { slot, type })
    this.#declared = variables.length
    this.#slots = variables.length
  }

  compile(expression: Expression): Compiled {
    switch (expression.is) {
      case 'constant':
        return constant(expression.value)
      case 'name':
        return this.#name(expression.name, expression.offset)
      case 'select': {
        const qualified = qualifiedName(expression)
        if (qualified !== undefined && Object.hasOwn(typeNames, qualified)) {
          return this.#name(qualified, expression.offset)
        }
        return compileSelect(this, expression)
      }
      case 'has':
        return compileHas(this, expression)
      case 'index':
        return compileIndex(this, expression)
      case 'call':
        return compileCall(this, expression)
      case 'list':
        return this.#list(expression)
      case 'map':
        return this.#map(expression)
      default:
        return compileMacro(this, expression)
    }
  }

  /** Whether a name is a variable here. */
  hasVariable(name: string): boolean {
    return this.#scope.has(name)
  }

  /** Compiles something in which one more variable is known; gives it the variable's slot. */
  withVariable<T>(name: string, type: Type, compile: (slot: number) => T): T {
    const before = this.#scope.get(name)
    const slot = this.#slots++
    this.#scope.set(name, { slot, type })
    const result = compile(slot)
    if (before === undefined) this.#scope.delete(name)
    else this.#scope.set(name, before)
    return result
  }

  #common(before: Type, next: Type, offset: number): Type {
    return this.#mixed ? types.dyn : sameType(before, next, offset)
  }

  #name(name: string, offset: number): Compiled {
    const variable = this.#scope.get(name)
    if (variable !== undefined) {
      const { slot, type } = variable
      if (slot < this.#declared) this.used.add(name)
      const run: Run = ({ slots }) => {
        const value = slots[slot]
        if (value === undefined) throw new CelError(`no such attribute(s): ${name}`)
        return value
      }
      return { type, run }
    }
    const typeOf = Object.hasOwn(typeNames, name) ? typeNames[name] : undefined
    if (typeOf !== undefined) {
      const value = new CelType(typeOf)
      return { type: types.type, run: () => value }
    }
    throw new IssueError(offset, `undeclared reference to '${name}' (in container '')`)
  }

  /** Compiles something whose literals may mix types, as the arguments of `format` may. */
  withMixedTypes<T>(compile: () => T): T {
    const before = this.#mixed
    this.#mixed = true
    const result = compile()
    this.#mixed = before
    return result
  }

  #list(expression: Expression & { is: 'list' }): Compiled {
    let element: Type = types.any
    const parts = expression.elements.map(({ value, optional }) => {
      const part = this.compile(value)
      const found = optional ? optionalContent(part.type, value.offset) : part.type
      element = this.#common(element, found, value.offset)
      return { run: part.run, optional }
    })
    const plain = parts.every(({ optional }) => !optional)
    const run: Run = (frame) => {
      charge(frame, 1 + parts.length)
      if (plain) return parts.map((part) => part.run(frame))
      const list: Value[] = []
      for (const part of parts) {
        const value = part.run(frame)
        const content = part.optional ? contentOf(value) : value
        if (content !== undefined) list.push(content)
      }
      return list as CelList
    }
    return { type: listType(element), run }
  }

  #map(expression: Expression & { is: 'map' }): Compiled {
    let keys: Type = types.any
    let values: Type = types.any
    const parts = expression.entries.map(({ key, value, optional }) => {
      const name = this.compile(key)
      const part = this.compile(value)
      const found = optional ? optionalContent(part.type, value.offset) : part.type
      keys = this.#common(keys, name.type, key.offset)
      values = this.#common(values, found, value.offset)
      return { key: name.run, run: part.run, optional }
    })
    const run: Run = (frame) => {
      charge(frame, 1 + 2 * parts.length)
      const map = new Map<Value, Value>()
      for (const part of parts) {
        const key = part.key(frame)
        const value = part.run(frame)
        const content = part.optional ? contentOf(value) : value
        if (!isKey(key)) throw new CelError(`unsupported key type: ${typeName(key)}`)
        if (map.has(key)) throw new CelError(`insert failed: duplicate key ${keyText(key)}`)
        if (content !== undefined) map.set(key, content)
      }
      return map
    }
    return { type: mapType(keys, values), run }
  }
}

function isKey(value: Value): boolean {
  return (
    typeof value === 'string' ||
    typeof value === 'bigint' ||
    typeof value === 'boolean' ||
    value instanceof CelUint
  )
}

function contentOf(value: Value): Value | undefined {
  if (!(value instanceof CelOptional)) {
    throw new CelError(`cannot initialize optional entry from non-optional ${typeName(value)}`)
  }
  return value.content
}

function optionalContent(type: Type, offset: number): Type {
  if (type.kind === 'optional') return type.value
  if (type.kind === 'dyn') return type
  throw new IssueError(offset, `expected type 'optional_type(dyn)' but found '${typeText(type)}'`)
}

/** The common type of literals' elements; Kubernetes allows only one. */
function sameType(before: Type, next: Type, offset: number): Type {
  if (!assignable(before, next, new Map())) {
    const text = `expected type '${typeText(before)}' but found '${typeText(next)}'`
    throw new IssueError(offset, text)
  }
  return before.kind === 'dyn' ? before : join(before, next)
}

function constant(value: Exclude<Value, CelList>): Compiled {
  return { type: constantType(value), run: () => value, literal: value }
}

function constantType(value: Value): Type {
  switch (typeof value) {
    case 'string':
      return types.string
    case 'bigint':
      return types.int
    case 'number':
      return types.double
    case 'boolean':
      return types.bool
    default:
  }
  if (value instanceof Uint8Array) return types.bytes
  if (value instanceof CelUint) return types.uint
  return isMap(value) ? types.dyn : types.null
}
