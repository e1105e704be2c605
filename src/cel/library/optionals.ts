/** Optional values; their macros and `.?` are part of the grammar. */
import { CelError } from '../errors.ts'
import { fn, type Library, method } from '../library.ts'
import { optionalType, paramA, types } from '../types.ts'
import { CelDuration, CelOptional, CelUint, isList, isMap, none, type Value } from '../values.ts'

const optional = optionalType(paramA)

function isZero(value: Value): boolean {
  if (value === null || value === false || value === '' || value === 0n || value === 0) return true
  if (typeof value !== 'object') return false
  if (isList(value) || value instanceof Uint8Array) return value.length === 0
  if (isMap(value)) return value.size === 0
  if (value instanceof CelUint) return value.value === 0n
  return value instanceof CelDuration && value.nanos === 0n
}

function valueOf({ content }: CelOptional): Value {
  if (content === undefined) throw new CelError('optional.none() dereference')
  return content
}

export const optionals: Library = [
  fn('optional.of', [paramA], optional, (value: Value) => new CelOptional(value)),
  fn('optional.none', [], optional, () => none),
  fn('optional.ofNonZeroValue', [paramA], optional, (value: Value) =>
    isZero(value) ? none : new CelOptional(value),
  ),
  method('hasValue', [optional], types.bool, ({ content }: CelOptional) => content !== undefined),
  method('value', [optional], paramA, valueOf),
  method('or', [optional, optional], optional, (a: CelOptional, b: CelOptional) =>
    a.content === undefined ? b : a,
  ),
  method('orValue', [optional, paramA], paramA, ({ content }: CelOptional, other: Value) =>
    content === undefined ? other : content,
  ),
]
