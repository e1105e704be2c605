/** Matchers of headers and of parameters of the query. */
import type { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileRegex, compileString, never, plainTest, type TextTest } from './text.ts'

export type Test = (exchange: Exchange) => boolean

/** A test with the name under which an explanation reports that it failed. */
export interface Condition {
  readonly what: string
  readonly holds: Test
}

export function compileHeader(matcher: api.HeaderMatcher, place: Place): Condition {
  const name = matcher.name.toLowerCase()
  if (name === '') place.at('name').refuse('a header without a name')
  const what = `header ${name}`
  const { headerMatchSpecifier: specifier, invertMatch: invert } = matcher
  if (specifier.case === 'presentMatch' || specifier.case === undefined) {
    // Inversion and an expected absence cancel each other out.
    const wanted = (specifier.value ?? true) !== invert
    // Missing headers that count as empty are there.
    if (matcher.treatMissingHeaderAsEmpty) return { what, holds: () => wanted }
    return { what, holds: (exchange) => (exchange.header(name) !== undefined) === wanted }
  }
  const test = valueTest(specifier, place)
  if (matcher.treatMissingHeaderAsEmpty) {
    return { what, holds: (exchange) => test(exchange.header(name) ?? '') !== invert }
  }
  return {
    what,
    // An absent header never matches, not even inverted.
    holds: (exchange) => {
      const value = exchange.header(name)
      return value !== undefined && test(value) !== invert
    },
  }
}

type Specifier = Exclude<
  api.HeaderMatcher['headerMatchSpecifier'],
  { case: undefined } | { case: 'presentMatch' }
>

function valueTest(specifier: Specifier, place: Place): TextTest {
  switch (specifier.case) {
    case 'stringMatch':
      return compileString(specifier.value, place.at('string_match'))
    case 'rangeMatch': {
      const start = specifier.value.start
      const end = specifier.value.end
      return (text) => {
        if (!/^\s*[+-]?\d{1,19}\s*$/.test(text)) return false
        const value = BigInt(text.trim().replace('+', ''))
        return value >= start && value < end
      }
    }
    case 'safeRegexMatch':
      return compileRegex(specifier.value, place.at('safe_regex_match'))
    // Deprecated spellings, which older control planes send.
    case 'exactMatch':
      return specifier.value === '' ? () => true : plainTest('exact', specifier.value, false)
    case 'prefixMatch':
      return plainTest('prefix', specifier.value, false)
    case 'suffixMatch':
      return plainTest('suffix', specifier.value, false)
    case 'containsMatch':
      return plainTest('contains', specifier.value, false)
    default:
      place.refuse('an unknown kind of match')
      return never
  }
}

export function compileParameter(matcher: api.QueryParameterMatcher, place: Place): Condition {
  const { name, queryParameterMatchSpecifier: specifier } = matcher
  const what = `query parameter ${name}`
  if (specifier.case === 'stringMatch') {
    const test = compileString(specifier.value, place.at('string_match'))
    return {
      what,
      holds: (exchange) => {
        const value = exchange.parameter(name)
        return value !== undefined && test(value)
      },
    }
  }
  const wanted = specifier.case === 'presentMatch' ? specifier.value : true
  return { what, holds: (exchange) => (exchange.parameter(name) !== undefined) === wanted }
}

/** AND, without a loop for the usual few. */
export function allOf(tests: readonly Test[]): Test {
  const [one, two] = tests
  if (one === undefined) return () => true
  if (two === undefined) return one
  if (tests.length === 2) return (exchange) => one(exchange) && two(exchange)
  return (exchange) => {
    for (const test of tests) if (!test(exchange)) return false
    return true
  }
}

/** OR; nothing is never. */
export function anyOf(tests: readonly Test[]): Test {
  const [one, two] = tests
  if (one === undefined) return () => false
  if (two === undefined) return one
  if (tests.length === 2) return (exchange) => one(exchange) || two(exchange)
  return (exchange) => {
    for (const test of tests) if (test(exchange)) return true
    return false
  }
}
