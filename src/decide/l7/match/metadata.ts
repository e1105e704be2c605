/** Matchers of dynamic metadata and of filter state. */
import type { filterStateMatcher, metadataMatcher, valueMatcher } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileRanges, hostOf } from './address.ts'
import type { Condition, Test } from './headers.ts'
import { compileString, never } from './text.ts'

type ValueTest = (value: unknown) => boolean

export function compileValue(
  matcher: valueMatcher.ValueMatcher | undefined,
  place: Place,
): ValueTest {
  const pattern = matcher?.matchPattern
  switch (pattern?.case) {
    case 'nullMatch':
      return (value) => value === null
    case 'stringMatch': {
      const test = compileString(pattern.value, place.at('string_match'))
      return (value) => typeof value === 'string' && test(value)
    }
    case 'boolMatch':
      return (value) => value === pattern.value
    case 'presentMatch':
      // Null is a value that is there.
      return pattern.value ? (value) => value !== undefined : never
    case 'doubleMatch': {
      const { matchPattern } = pattern.value
      if (matchPattern.case === 'exact') return (value) => value === matchPattern.value
      if (matchPattern.case === 'range') {
        const { start, end } = matchPattern.value
        return (value) => typeof value === 'number' && value >= start && value < end
      }
      break
    }
    case 'listMatch': {
      if (pattern.value.matchPattern.case !== 'oneOf') break
      const test = compileValue(pattern.value.matchPattern.value, place.at('list_match.one_of'))
      return (value) => Array.isArray(value) && value.some(test)
    }
    case 'orMatch': {
      const tests = pattern.value.valueMatchers.map((each, index) =>
        compileValue(each, place.at('or_match.value_matchers', index)),
      )
      return (value) => tests.some((test) => test(value))
    }
    default:
  }
  place.refuse('a value matcher without a pattern')
  return never
}

/** @param read where the namespace's metadata comes from: the request's own unless said otherwise */
export function compileMetadata(
  matcher: metadataMatcher.MetadataMatcher | undefined,
  place: Place,
  read?: (exchange: Exchange, namespace: string) => unknown,
): Condition {
  if (matcher === undefined || matcher.path.length === 0) {
    place.at('path').refuse('metadata without a path')
    return { what: 'metadata', holds: never }
  }
  const { filter, invert } = matcher
  const keys = matcher.path.map(({ segment }) => segment.value ?? '')
  const test = compileValue(matcher.value, place.at('value'))
  const holds: Test = (exchange) => {
    let value: unknown = read === undefined ? exchange.metadata(filter) : read(exchange, filter)
    for (const key of keys) {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        return test(undefined) !== invert
      value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
    }
    return test(value) !== invert
  }
  return { what: `metadata ${filter} ${keys.join('.')}`, holds }
}

export function compileFilterState(
  matcher: filterStateMatcher.FilterStateMatcher,
  place: Place,
): Condition {
  const { key } = matcher
  const what = `filter state ${key}`
  if (matcher.matcher.case === 'stringMatch') {
    const test = compileString(matcher.matcher.value, place.at('string_match'))
    return {
      what,
      holds: (exchange) => {
        const value = exchange.filterState(key)
        return value !== undefined && test(value)
      },
    }
  }
  if (matcher.matcher.case === 'addressMatch') {
    const test = compileRanges(matcher.matcher.value.ranges, place.at('address_match'))
    return {
      what,
      holds: (exchange) => {
        const value = exchange.filterState(key)
        return value !== undefined && test(hostOf(value))
      },
    }
  }
  place.refuse('a filter state matcher without a kind')
  return { what, holds: never }
}
