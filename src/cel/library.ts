/** How functions are declared: by name, with one or more signatures. Libraries are plain lists. */
import { costOfParsing, costPerCharacter } from './limits.ts'
import type { Type } from './types.ts'
import { isList, isMap, type Value } from './values.ts'

/** Up to four arguments, the receiver of a method included. */
export type Implementation = (a: never, b: never, c: never, d: never) => Value

export interface Overload {
  /** Types of the arguments; of a method the first is its receiver. */
  readonly params: readonly Type[]
  readonly result: Type
  readonly call: Implementation
  /**
   * Cost beyond the one unit of any call; computed before the call, so that it must bound what the
   * call allocates.
   */
  readonly cost?: (a: never, b: never, c: never, d: never) => number
  /** Looks at arguments that are literals, while compiling; returns what is wrong with them. */
  readonly checkLiterals?: (literals: readonly (Value | undefined)[]) => string | undefined
}

export interface FunctionDeclaration extends Overload {
  /** `size`, `_+_`, or qualified: `optional.of`. */
  readonly name: string
  readonly method: boolean
}

export type Library = readonly FunctionDeclaration[]

type More = Pick<Overload, 'cost' | 'checkLiterals'>

/** Declares `name(args)`. */
export function fn(
  name: string,
  params: readonly Type[],
  result: Type,
  call: Implementation,
  more: More = {},
): FunctionDeclaration {
  return { name, method: false, params, result, call, ...more }
}

/** Declares `receiver.name(args)`; `params` starts with the receiver. */
export function method(
  name: string,
  params: readonly Type[],
  result: Type,
  call: Implementation,
  more: More = {},
): FunctionDeclaration {
  return { name, method: true, params, result, call, ...more }
}

/** Cost of reading a text. */
export function readingCost(...texts: readonly string[]): number {
  let length = 0
  for (const text of texts) length += text.length
  return length * costPerCharacter
}

/**
 * Cost of looking for a text in another: the product of both lengths, which the engine's search
 * needs with unlucky ones (15 s for half a million characters in a million).
 */
export function searchingCost(text: string, wanted: string): number {
  return (1 + text.length * costPerCharacter) * (1 + wanted.length * costPerCharacter)
}

/** Cost of making a value out of a text. */
export function parsingCost(text: string): number {
  return costOfParsing + readingCost(text)
}

/** Cost of reading a whole value: each of its parts, each character. Stops beyond `limit`. */
export function deepCost(value: Value, limit: number): number {
  if (typeof value === 'string') return 1 + value.length * costPerCharacter
  let cost = 1
  if (isList(value)) {
    for (const element of value) {
      cost += deepCost(element, limit - cost)
      if (cost > limit) return cost
    }
  } else if (isMap(value)) {
    for (const [key, each] of value) {
      cost += deepCost(key, limit - cost) + deepCost(each, limit - cost)
      if (cost > limit) return cost
    }
  } else if (value instanceof Uint8Array) cost += value.length * costPerCharacter
  return cost
}
