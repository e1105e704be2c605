/**
 * Types which expressions are checked against. The checker is lenient where Google's is strict and
 * nothing can go wrong: null compares with anything, objects of different schemas with each other.
 */

export type PlainKind =
  | 'dyn'
  | 'null'
  | 'bool'
  | 'int'
  | 'uint'
  | 'double'
  | 'string'
  | 'bytes'
  | 'duration'
  | 'timestamp'
  | 'type'

export type Type =
  | { readonly kind: PlainKind }
  | { readonly kind: 'list'; readonly element: Type }
  | { readonly kind: 'map'; readonly key: Type; readonly value: Type }
  | { readonly kind: 'optional'; readonly value: Type }
  | { readonly kind: 'object'; readonly name: string; readonly fields: ReadonlyMap<string, Type> }
  /** A type of a library, such as an IP address: only its functions look inside. */
  | { readonly kind: 'opaque'; readonly name: string }
  /** A type parameter of a function. */
  | { readonly kind: 'param'; readonly name: string }
  /** The element type of an empty literal: whatever is needed. */
  | { readonly kind: 'any' }

export const types = {
  dyn: { kind: 'dyn' },
  null: { kind: 'null' },
  bool: { kind: 'bool' },
  int: { kind: 'int' },
  uint: { kind: 'uint' },
  double: { kind: 'double' },
  string: { kind: 'string' },
  bytes: { kind: 'bytes' },
  duration: { kind: 'duration' },
  timestamp: { kind: 'timestamp' },
  type: { kind: 'type' },
  any: { kind: 'any' },
} as const satisfies Record<string, Type>

/** Type parameters for declarations. */
export const paramA: Type = { kind: 'param', name: 'A' }
export const paramB: Type = { kind: 'param', name: 'B' }

export function listType(element: Type): Type {
  return { kind: 'list', element }
}

export function mapType(key: Type, value: Type): Type {
  return { kind: 'map', key, value }
}

export function optionalType(value: Type): Type {
  return { kind: 'optional', value }
}

export function opaqueType(name: string): Type {
  return { kind: 'opaque', name }
}

/** The type of an object whose fields a schema names. */
export function objectType(name: string, fields: ReadonlyMap<string, Type>): Type {
  return { kind: 'object', name, fields }
}

const shownNames: Partial<Record<Type['kind'], string>> = {
  null: 'null',
  duration: 'google.protobuf.Duration',
  timestamp: 'google.protobuf.Timestamp',
  any: 'dyn',
}

/** A type as messages show it: `list(string)`. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case 'list':
      return `list(${typeText(type.element)})`
    case 'map':
      return `map(${typeText(type.key)}, ${typeText(type.value)})`
    case 'optional':
      return `optional_type(${typeText(type.value)})`
    case 'object':
    case 'opaque':
    case 'param':
      return type.name
    default:
      return shownNames[type.kind] ?? type.kind
  }
}

/** What type parameters were found to be, in one call. */
export type Bindings = Map<string, Type>

/** Whether a value of `source` may stand where `target` is wanted; binds type parameters of `target`. */
export function assignable(target: Type, source: Type, bindings: Bindings): boolean {
  if (target.kind === 'param') {
    const bound = bindings.get(target.name)
    if (bound === undefined || isLoose(bound)) {
      bindings.set(target.name, bound?.kind === 'dyn' ? bound : source)
      return true
    }
    if (!assignable(bound, source, bindings)) return false
    bindings.set(target.name, join(bound, source))
    return true
  }
  if (isLoose(target) || isLoose(source)) {
    // What comes out of a dyn may be anything.
    if (source.kind === 'dyn') loosen(target, bindings)
    return true
  }
  if (target.kind === 'null' || source.kind === 'null') return true
  switch (target.kind) {
    case 'list':
      return source.kind === 'list' && assignable(target.element, source.element, bindings)
    case 'map':
      return (
        source.kind === 'map' &&
        assignable(target.key, source.key, bindings) &&
        assignable(target.value, source.value, bindings)
      )
    case 'optional':
      return source.kind === 'optional' && assignable(target.value, source.value, bindings)
    case 'opaque':
      return source.kind === 'opaque' && source.name === target.name
    default:
      return source.kind === target.kind
  }
}

function loosen(target: Type, bindings: Bindings): void {
  if (target.kind === 'param') bindings.set(target.name, types.dyn)
  else if (target.kind === 'list') loosen(target.element, bindings)
  else if (target.kind === 'optional') loosen(target.value, bindings)
  else if (target.kind === 'map') {
    loosen(target.key, bindings)
    loosen(target.value, bindings)
  }
}

function isLoose(type: Type): boolean {
  return type.kind === 'dyn' || type.kind === 'any'
}

/** The result type of a call, with its type parameters replaced. */
export function substitute(type: Type, bindings: Bindings): Type {
  switch (type.kind) {
    case 'param':
      return bindings.get(type.name) ?? types.dyn
    case 'list':
      return listType(substitute(type.element, bindings))
    case 'map':
      return mapType(substitute(type.key, bindings), substitute(type.value, bindings))
    case 'optional':
      return optionalType(substitute(type.value, bindings))
    default:
      return type
  }
}

/** The type of something that has one type or the other; dyn when they have nothing in common. */
export function join(left: Type, right: Type): Type {
  if (left.kind === 'any' || left.kind === 'null') return right
  if (right.kind === 'any' || right.kind === 'null') return left
  if (left.kind === 'list' && right.kind === 'list') {
    return listType(join(left.element, right.element))
  }
  if (left.kind === 'map' && right.kind === 'map') {
    return mapType(join(left.key, right.key), join(left.value, right.value))
  }
  if (left.kind === 'optional' && right.kind === 'optional') {
    return optionalType(join(left.value, right.value))
  }
  const same = typeText(left) === typeText(right)
  return same && left.kind === right.kind ? left : types.dyn
}
