/**
 * `pattern` as schemas write it, in RE2 syntax. Run by an RE2 engine: CRDs come from users, and a backtracking
 * one can be kept busy for seconds by a short text.
 */
import { RE2JS } from 're2js'
import { maxCompiledPatterns } from './limits.ts'

export interface Pattern {
  /** Whether the expression matches anywhere in the text. */
  test(text: string): boolean
}

const compiled = new Map<string, Pattern | undefined>()

/** The expression of a pattern, or undefined when it isn't one. */
export function compilePattern(pattern: string): Pattern | undefined {
  if (compiled.has(pattern)) return compiled.get(pattern)
  // Dropping everything is crude, but only a flood of CRDs gets here.
  if (compiled.size >= maxCompiledPatterns) compiled.clear()
  const expression = compile(pattern)
  compiled.set(pattern, expression)
  return expression
}

function compile(pattern: string): Pattern | undefined {
  try {
    const expression = RE2JS.compile(pattern)
    return { test: (text) => expression.matcher(text).find() }
  } catch {
    return undefined
  }
}
