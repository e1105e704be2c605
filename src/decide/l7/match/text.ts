/** Matchers of texts. Regular expressions run on an RE2 engine: linear time, and Envoy's syntax. */
import { RE2JS } from 're2js'
import type { regexMatcher, stringMatcher } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'

export type TextTest = (text: string) => boolean

/** Stands for what was refused: the resource is not used. */
export const never = (): boolean => false

export function compilePattern(source: string, place: Place): RE2JS | undefined {
  try {
    return RE2JS.compile(source)
  } catch (error) {
    place.refuse(`'${source}' is no RE2 expression: ${String(error)}`)
    return undefined
  }
}

/** The expression has to match the whole text. */
export function compileRegex(
  matcher: regexMatcher.RegexMatcher | undefined,
  place: Place,
): TextTest {
  const source = matcher?.regex ?? ''
  if (source === '') {
    place.refuse('an empty expression')
    return never
  }
  if (source === '.*') return (text) => !text.includes('\n')
  if (source === '.+') return (text) => text !== '' && !text.includes('\n')
  const pattern = compilePattern(source, place)
  return pattern === undefined ? never : (text) => pattern.testExact(text)
}

export function compileString(
  matcher: stringMatcher.StringMatcher | undefined,
  place: Place,
): TextTest {
  const pattern = matcher?.matchPattern
  if (matcher === undefined || pattern?.case === undefined) {
    place.refuse('a string matcher without a pattern')
    return never
  }
  if (pattern.case === 'safeRegex') {
    if (matcher.ignoreCase) place.at('ignore_case').refuse('has no meaning for safe_regex')
    return compileRegex(pattern.value, place.at('safe_regex'))
  }
  if (pattern.case === 'custom') {
    place.at('custom').refuse(`the matcher ${pattern.value.name} is not supported`)
    return never
  }
  if (pattern.case !== 'exact' && pattern.value === '') {
    place.at(pattern.case).refuse('an empty text')
  }
  return plainTest(pattern.case, pattern.value, matcher.ignoreCase)
}

/** A comparison that may not care about case (ASCII letters, as in Envoy). */
export function plainTest(
  kind: 'exact' | 'prefix' | 'suffix' | 'contains',
  value: string,
  ignoreCase: boolean,
): TextTest {
  if (ignoreCase) {
    const lower = plainTest(kind, asciiLower(value), false)
    return (text) => lower(asciiLower(text))
  }
  if (kind === 'exact') return (text) => text === value
  if (kind === 'prefix') return (text) => text.startsWith(value)
  if (kind === 'suffix') return (text) => text.endsWith(value)
  return (text) => text.includes(value)
}

/** Only A to Z: other letters may change their length. */
export function asciiLower(text: string): string {
  return /[A-Z]/.test(text) ? text.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase()) : text
}

/**
 * Exchanges every match of a pattern, with `\1` for groups. Undefined when it was refused.
 */
export function compileReplacement(
  rule: regexMatcher.RegexMatchAndSubstitute | undefined,
  place: Place,
): ((text: string) => string) | undefined {
  const source = rule?.pattern?.regex ?? ''
  if (rule === undefined || source === '') {
    place.at('pattern').refuse('an empty expression')
    return undefined
  }
  const pattern = compilePattern(source, place.at('pattern'))
  if (pattern === undefined) return undefined
  const parts = parseSubstitution(rule.substitution, pattern.groupCount(), place)
  return (text) => {
    const matcher = pattern.matcher(text)
    let result = ''
    let end = 0
    while (matcher.find()) {
      result += text.slice(end, matcher.start())
      for (const part of parts) {
        result += typeof part === 'string' ? part : (matcher.group(part) ?? '')
      }
      end = matcher.end()
    }
    return result + text.slice(end)
  }
}

function parseSubstitution(text: string, groups: number, place: Place): (string | number)[] {
  const parts: (string | number)[] = []
  for (let index = 0; index < text.length; index++) {
    const letter = text.charAt(index)
    const next = text.charAt(index + 1)
    if (letter !== '\\') parts.push(letter)
    else if (next === '\\') parts.push('\\')
    else if (/\d/.test(next) && Number(next) <= groups) parts.push(Number(next))
    else place.at('substitution').refuse(`'\\${next}' refers to no group`)
    if (letter === '\\') index++
  }
  return parts
}
