/** The list functions of Kubernetes, and Google's `sets` extension. */
import { CelError, CelErrors } from '../errors.ts'
import { type FunctionDeclaration, fn, type Library, method } from '../library.ts'
import { listType, paramA, type Type, types } from '../types.ts'
import { CelDuration, type CelList, CelUint, compare, equals, type Value } from '../values.ts'
import { durationOf, int64, uint64 } from './operators.ts'

const { bool, int, uint, double, string, bytes, duration, timestamp } = types

/** Each function reads every element once. */
const perElement = { cost: (list: CelList) => list.length }
const perPair = { cost: (left: CelList, right: CelList) => left.length * right.length }

function isSorted(list: CelList): boolean {
  return list.every((element, i) => {
    const before = list[i - 1]
    return i === 0 || before === undefined || compare(before, element) <= 0
  })
}

function extreme(name: string, wanted: number): (list: CelList) => Value {
  return (list) => {
    const [first, ...rest] = list
    if (first === undefined) throw new CelError(`${name} called on empty list`)
    let found = first
    for (const element of rest) if (compare(element, found) * wanted > 0) found = element
    return found
  }
}

function add(left: Value, right: Value): Value {
  if (typeof left === 'bigint' && typeof right === 'bigint') return int64(left + right)
  if (typeof left === 'number' && typeof right === 'number') return left + right
  if (left instanceof CelUint && right instanceof CelUint) return uint64(left.value + right.value)
  if (left instanceof CelDuration && right instanceof CelDuration) {
    return durationOf(left.nanos + right.nanos)
  }
  throw CelErrors.noSuchOverload()
}

function sums(): FunctionDeclaration[] {
  const zeros: [Type, Value][] = [
    [int, 0n],
    [uint, new CelUint(0n)],
    [double, 0],
    [duration, new CelDuration(0n)],
  ]
  return zeros.map(([type, zero]) => {
    // Where the type is open, an empty list's sum is an int; otherwise the first element decides.
    const sum = (list: CelList): Value => (list.length === 0 ? zero : list.reduce(add))
    return method('sum', [listType(type)], type, sum, perElement)
  })
}

function ordered(name: string, result: Type | undefined, call: (list: CelList) => Value): Library {
  return [int, uint, double, string, bytes, bool, duration, timestamp].map((type) =>
    method(name, [listType(type)], result ?? type, call, perElement),
  )
}

function containsAll(left: CelList, right: CelList): boolean {
  return right.every((wanted) => left.some((element) => equals(element, wanted)))
}

const list = listType(paramA)

export const lists: Library = [
  ...ordered('isSorted', bool, isSorted),
  ...ordered('min', undefined, extreme('min', -1)),
  ...ordered('max', undefined, extreme('max', 1)),
  ...sums(),
  method(
    'indexOf',
    [list, paramA],
    int,
    (all: CelList, wanted: Value) => BigInt(all.findIndex((each) => equals(each, wanted))),
    perElement,
  ),
  method(
    'lastIndexOf',
    [list, paramA],
    int,
    (all: CelList, wanted: Value) => BigInt(all.findLastIndex((each) => equals(each, wanted))),
    perElement,
  ),
  fn('sets.contains', [list, list], bool, containsAll, perPair),
  fn(
    'sets.equivalent',
    [list, list],
    bool,
    (a: CelList, b: CelList) => containsAll(a, b) && containsAll(b, a),
    perPair,
  ),
  fn(
    'sets.intersects',
    [list, list],
    bool,
    (a: CelList, b: CelList) => a.some((each) => b.some((other) => equals(each, other))),
    perPair,
  ),
]
