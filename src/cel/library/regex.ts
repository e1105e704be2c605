/** Regular expressions in RE2's syntax and linear time, which JavaScript's own engine lacks. */
import { RE2JS } from 're2js'
import { CelError } from '../errors.ts'
import { fn, type Library, method, type Overload } from '../library.ts'
import {
  costPerCharacter,
  costPerMatch,
  matchingCostPerCharacter,
  maxCompiledExpressions,
  maxPatternLength,
} from '../limits.ts'
import { listType, types } from '../types.ts'
import type { CelList } from '../values.ts'

const { bool, int, string } = types

const compiled = new Map<string, RE2JS>()

function compile(pattern: string): RE2JS {
  const ready = compiled.get(pattern)
  if (ready !== undefined) return ready
  if (pattern.length > maxPatternLength) throw new CelError('regular expression is too long')
  let expression: RE2JS
  try {
    expression = RE2JS.compile(pattern)
  } catch (thrown) {
    const detail = thrown instanceof Error ? thrown.message : String(thrown)
    throw new CelError(`error parsing regexp: ${detail.replace(/^error parsing regexp: /, '')}`)
  }
  // Dropping everything is crude, but only expressions made of data get here.
  if (compiled.size >= maxCompiledExpressions) compiled.clear()
  compiled.set(pattern, expression)
  return expression
}

/** Whether a text is a regular expression; undefined if so, else what is wrong. */
export function regexComplaint(pattern: string): string | undefined {
  try {
    compile(pattern)
    return undefined
  } catch (thrown) {
    return thrown instanceof CelError ? thrown.message : String(thrown)
  }
}

function matches(text: string, pattern: string): boolean {
  return compile(pattern).test(text)
}

function find(text: string, pattern: string): string {
  const matcher = compile(pattern).matcher(text)
  return matcher.find() ? (matcher.group() ?? '') : ''
}

function findAll(text: string, pattern: string, limit = -1n): CelList {
  const found: string[] = []
  const matcher = compile(pattern).matcher(text)
  while ((limit < 0n || BigInt(found.length) < limit) && matcher.find()) {
    found.push(matcher.group() ?? '')
  }
  return found
}

/** Time is the product of both lengths at worst. */
function matchingCost(text: string, pattern: string): number {
  return (1 + text.length * matchingCostPerCharacter) * (1 + pattern.length * costPerCharacter)
}

const checkLiterals: Overload['checkLiterals'] = ([, pattern]) =>
  typeof pattern === 'string' && regexComplaint(pattern) !== undefined
    ? 'invalid matches argument'
    : undefined

const searching = { cost: matchingCost, checkLiterals }
const collecting = {
  cost: (text: string, pattern: string) => matchingCost(text, pattern) + text.length * costPerMatch,
  checkLiterals,
}

export const regex: Library = [
  fn('matches', [string, string], bool, matches, searching),
  method('matches', [string, string], bool, matches, searching),
  method('find', [string, string], string, find, searching),
  method('findAll', [string, string], listType(string), findAll, collecting),
  method('findAll', [string, string, int], listType(string), findAll, collecting),
]
