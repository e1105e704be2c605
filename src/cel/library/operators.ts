/** Operators, `size`, and the equality and order that all types share. */
import { CelError, CelErrors } from '../errors.ts'
import {
  deepCost,
  type FunctionDeclaration,
  fn,
  type Library,
  method,
  readingCost,
} from '../library.ts'
import { maxEvaluationCost } from '../limits.ts'
import { listType, mapType, paramA, paramB, type Type, types } from '../types.ts'
import {
  CelDuration,
  type CelList,
  CelUint,
  compare,
  equals,
  isList,
  lookUp,
  type Value,
} from '../values.ts'

const { bool, int, uint, double, string, bytes } = types

/** An int of 64 bits, or the error of the language. */
export function int64(value: bigint): bigint {
  if (BigInt.asIntN(64, value) !== value) throw CelErrors.overflow('integer')
  return value
}

/** A uint of 64 bits, or the error of the language. */
export function uint64(value: bigint): CelUint {
  if (BigInt.asUintN(64, value) !== value) throw CelErrors.overflow('unsigned integer')
  return new CelUint(value)
}

/** A duration that fits into 64 bits of nanoseconds, as in Go. */
export function durationOf(nanos: bigint): CelDuration {
  if (BigInt.asIntN(64, nanos) !== nanos) throw CelErrors.overflow('duration')
  return new CelDuration(nanos)
}

type Integers = (a: bigint, b: bigint) => bigint

function arithmetic(
  name: string,
  integers: Integers,
  doubles: ((a: number, b: number) => number) | undefined,
): FunctionDeclaration[] {
  const declared = [
    fn(name, [int, int], int, (a: bigint, b: bigint) => int64(integers(a, b))),
    fn(name, [uint, uint], uint, (a: CelUint, b: CelUint) => uint64(integers(a.value, b.value))),
  ]
  if (doubles !== undefined) declared.push(fn(name, [double, double], double, doubles))
  return declared
}

function divide(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new CelError('division by zero')
  return a / b
}

function modulo(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new CelError('modulus by zero')
  return a % b
}

const numbers: readonly Type[] = [int, uint, double]
const ordered: readonly (readonly [Type, Type])[] = [
  ...numbers.flatMap((a) => numbers.map((b) => [a, b] as const)),
  ...[string, bool, bytes, types.duration, types.timestamp].map((type) => [type, type] as const),
]

function ordering(name: string, holds: (order: number) => boolean): FunctionDeclaration[] {
  const call = (a: Value, b: Value): boolean => {
    // NaN has no order.
    if (Number.isNaN(a) || Number.isNaN(b)) return false
    return holds(compare(a, b))
  }
  return ordered.map(([left, right]) => fn(name, [left, right], bool, call, { cost: equalityCost }))
}

/** Comparing costs as much as reading the smaller side; plain values cost nothing more. */
function equalityCost(a: Value, b: Value): number {
  if (typeof a === 'string')
    return typeof b === 'string' ? readingCost(a.length < b.length ? a : b) : 0
  if (typeof a !== 'object' || a === null) return 0
  if (isList(a) && isList(b) && a.length !== b.length) return 0
  return deepCost(a, maxEvaluationCost)
}

function membershipCost(element: Value, list: CelList): number {
  if (typeof element === 'object') return deepCost(list, maxEvaluationCost)
  return list.length * (1 + (typeof element === 'string' ? readingCost(element) : 0))
}

/** The elements of both; lists that ignore order take each thing once, the later one. */
function concatenate(left: CelList, right: CelList): CelList {
  const { traits } = left
  if (traits === undefined) return [...left, ...right]
  const merged = new Map<string, Value>()
  for (const element of [...left, ...right]) merged.set(traits.identity(element), element)
  return Object.assign([...merged.values()], { traits })
}

function concatenation(): FunctionDeclaration[] {
  const anyList = listType(paramA)
  return [
    fn('_+_', [string, string], string, (a: string, b: string) => a + b, { cost: readingCost }),
    fn('_+_', [bytes, bytes], bytes, (a: Uint8Array, b: Uint8Array) => Buffer.concat([a, b]), {
      cost: (a: Uint8Array, b: Uint8Array) => a.length + b.length,
    }),
    fn('_+_', [anyList, anyList], anyList, concatenate, {
      cost: (a: CelList, b: CelList) => a.length + b.length,
    }),
  ]
}

/** Characters are code points, not UTF-16 units. */
export function textLength(text: string): number {
  let length = text.length
  for (const pair of text.matchAll(/[\ud800-\udbff][\udc00-\udfff]/g)) length -= pair[0].length - 1
  return length
}

function sizes(): FunctionDeclaration[] {
  const counted: [Type, (value: never) => bigint][] = [
    [string, (text: string) => BigInt(textLength(text))],
    [bytes, (value: Uint8Array) => BigInt(value.length)],
    [listType(paramA), (list: CelList) => BigInt(list.length)],
    [mapType(paramA, paramB), (map: ReadonlyMap<Value, Value>) => BigInt(map.size)],
  ]
  const cost = (value: Value) => (typeof value === 'string' ? readingCost(value) : 0)
  return counted.flatMap(([type, count]) => [
    fn('size', [type], int, count, { cost }),
    method('size', [type], int, count, { cost }),
  ])
}

export const operators: Library = [
  ...arithmetic(
    '_+_',
    (a, b) => a + b,
    (a, b) => a + b,
  ),
  ...arithmetic(
    '_-_',
    (a, b) => a - b,
    (a, b) => a - b,
  ),
  ...arithmetic(
    '_*_',
    (a, b) => a * b,
    (a, b) => a * b,
  ),
  ...arithmetic('_/_', divide, (a, b) => a / b),
  ...arithmetic('_%_', modulo, undefined),
  ...concatenation(),
  fn('-_', [int], int, (a: bigint) => int64(-a)),
  fn('-_', [double], double, (a: number) => -a),
  fn('!_', [bool], bool, (a: boolean) => !a),
  fn('_==_', [paramA, paramA], bool, equals, { cost: equalityCost }),
  fn('_!=_', [paramA, paramA], bool, (a: Value, b: Value) => !equals(a, b), { cost: equalityCost }),
  ...ordering('_<_', (order) => order < 0),
  ...ordering('_<=_', (order) => order <= 0),
  ...ordering('_>_', (order) => order > 0),
  ...ordering('_>=_', (order) => order >= 0),
  fn(
    '@in',
    [paramA, listType(paramA)],
    bool,
    (element: Value, list: CelList) => list.some((each) => equals(element, each)),
    { cost: membershipCost },
  ),
  fn(
    '@in',
    [paramA, mapType(paramA, paramB)],
    bool,
    (key: Value, map: ReadonlyMap<Value, Value>) => lookUp(map, key) !== undefined,
  ),
  ...sizes(),
]
