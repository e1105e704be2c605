/** Generic matchers (`xds.type.matcher.v3.Matcher`) over connections: the name of a filter chain. */
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import { type Cidr, cidrContains, parseIp } from '../../../base/index.ts'
import { type xdsMatcher as api, networkInputs, xdsIpMatcher } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { limits } from '../limits.ts'
import { compileRange } from '../match/address.ts'
import { compileRegex, never, plainTest, type TextTest } from '../match/text.ts'
import type { ConnectionFacts } from '../types.ts'
import { typeOf, unpack } from '../values.ts'

/** Undefined: nothing matched. */
export type MatcherTree = (facts: ConnectionFacts) => string | undefined
type Input = (facts: ConnectionFacts) => string | undefined

const nothing: MatcherTree = () => undefined

export function compileMatcher(message: api.Matcher | undefined, place: Place): MatcherTree {
  if (message === undefined) return nothing
  if (place.path.split('.').length > limits.nesting) {
    place.refuse('nested too deeply')
    return nothing
  }
  const otherwise = compileOnMatch(message.onNoMatch, place.at('on_no_match'))
  const { matcherType: type } = message
  if (type.case === 'matcherList') {
    const entries = type.value.matchers.map(({ predicate, onMatch }, index) => {
      const at = place.at('matcher_list.matchers', index)
      return {
        holds: compilePredicate(predicate, at.at('predicate')),
        then: compileOnMatch(onMatch, at.at('on_match')),
      }
    })
    return (facts) => {
      for (const { holds, then } of entries) {
        const found = holds(facts) ? then(facts) : undefined
        if (found !== undefined) return found
      }
      return otherwise(facts)
    }
  }
  if (type.case === 'matcherTree') {
    const tree = compileTree(type.value, place.at('matcher_tree'))
    return (facts) => tree(facts) ?? otherwise(facts)
  }
  place.refuse('a matcher without entries')
  return nothing
}

function compileOnMatch(message: api.Matcher_OnMatch | undefined, place: Place): MatcherTree {
  if (message === undefined) return nothing
  if (message.keepMatching) place.at('keep_matching').refuse('is not supported')
  const { onMatch } = message
  if (onMatch.case === 'matcher') return compileMatcher(onMatch.value, place.at('matcher'))
  if (onMatch.case !== 'action') {
    place.refuse('neither a matcher nor an action')
    return nothing
  }
  const name = unpack(onMatch.value.typedConfig, StringValueSchema, place)
  if (name === undefined) {
    place
      .at('action')
      .refuse(`${typeOf(onMatch.value.typedConfig)} is not the name of a filter chain`)
    return nothing
  }
  return () => name.value
}

function compileTree(message: api.Matcher_MatcherTree, place: Place): MatcherTree {
  const input = compileInput(message.input, place.at('input'))
  const { treeType: type } = message
  if (type.case === 'customMatch')
    return ipTree(type.value, { input, place: place.at('custom_match') })
  if (type.case === undefined) {
    place.refuse('a tree without a map')
    return nothing
  }
  const at = place.at(type.case === 'exactMatchMap' ? 'exact_match_map' : 'prefix_match_map')
  const map = new Map(
    Object.entries(type.value.map).map(([key, then]) => [
      key,
      compileOnMatch(then, at.at('map', key)),
    ]),
  )
  if (type.case === 'exactMatchMap') {
    return (facts) => {
      const value = input(facts)
      return value === undefined ? undefined : map.get(value)?.(facts)
    }
  }
  const prefixes = [...map.keys()].toSorted((left, right) => right.length - left.length)
  return (facts) => {
    const value = input(facts)
    if (value === undefined) return undefined
    for (const prefix of prefixes) {
      const found = value.startsWith(prefix) ? map.get(prefix)?.(facts) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }
}

type Extension = NonNullable<api.Matcher_MatcherTree['input']>

interface IpEntry {
  readonly cidr: Cidr
  readonly exclusive: boolean
  readonly then: MatcherTree
}

/** The longest range first; a shorter one only when it does not insist on being the best. */
function ipTree(
  extension: Extension,
  { input, place }: { input: Input; place: Place },
): MatcherTree {
  const message = unpack(extension.typedConfig, xdsIpMatcher.IPMatcherSchema, place)
  if (message === undefined) {
    place.refuse(`${typeOf(extension.typedConfig)} is not supported`)
    return nothing
  }
  const entries = message.rangeMatchers.flatMap(
    ({ ranges, onMatch, exclusive }, index): IpEntry[] => {
      const at = place.at('range_matchers', index)
      const then = compileOnMatch(onMatch, at.at('on_match'))
      return ranges.flatMap((range, number) => {
        const cidr = compileRange(range, at.at('ranges', number))
        return cidr === undefined ? [] : [{ cidr, exclusive, then }]
      })
    },
  )
  entries.sort((left, right) => right.cidr.length - left.cidr.length)
  return (facts) => {
    const address = parseIp(input(facts) ?? '')
    if (address === undefined) return undefined
    let isFirst = true
    for (const { cidr, exclusive, then } of entries) {
      if (!cidrContains(cidr, address)) continue
      const found = isFirst || !exclusive ? then(facts) : undefined
      if (found !== undefined) return found
      isFirst = false
    }
    return undefined
  }
}

function compilePredicate(
  message: api.Matcher_MatcherList_Predicate | undefined,
  place: Place,
): (facts: ConnectionFacts) => boolean {
  const type = message?.matchType
  switch (type?.case) {
    case 'singlePredicate': {
      const input = compileInput(type.value.input, place.at('input'))
      const { matcher } = type.value
      if (matcher.case !== 'valueMatch') {
        place.refuse(`${matcher.case ?? 'a predicate without a matcher'} is not supported`)
        return never
      }
      const test = compileText(matcher.value, place.at('value_match'))
      return (facts) => {
        const value = input(facts)
        return value !== undefined && test(value)
      }
    }
    case 'orMatcher':
    case 'andMatcher': {
      const at = place.at(
        type.case === 'orMatcher' ? 'or_matcher.predicate' : 'and_matcher.predicate',
      )
      const parts = type.value.predicate.map((part, index) =>
        compilePredicate(part, at.at('', index)),
      )
      return type.case === 'orMatcher'
        ? (facts) => parts.some((holds) => holds(facts))
        : (facts) => parts.every((holds) => holds(facts))
    }
    case 'notMatcher': {
      const part = compilePredicate(type.value, place.at('not_matcher'))
      return (facts) => !part(facts)
    }
    default:
      place.refuse('a predicate without a kind')
      return never
  }
}

type TextMessage = Extract<
  api.Matcher_MatcherList_Predicate_SinglePredicate['matcher'],
  { case: 'valueMatch' }
>['value']

function compileText(message: TextMessage, place: Place): TextTest {
  const { matchPattern: pattern, ignoreCase } = message
  switch (pattern.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
    case 'contains':
      return plainTest(pattern.case, pattern.value, ignoreCase)
    case 'safeRegex': {
      const { regex } = pattern.value
      const engine = { case: undefined }
      const matcher = {
        $typeName: 'envoy.type.matcher.v3.RegexMatcher',
        regex,
        engineType: engine,
      } as const
      return compileRegex(matcher, place)
    }
    default:
      place.refuse('a string matcher without a pattern')
      return never
  }
}

function compileInput(extension: Extension | undefined, place: Place): Input {
  const config = extension?.typedConfig
  const type = typeOf(config)
  const plain = inputs.get(type)
  if (plain !== undefined) return plain
  const state = unpack(config, networkInputs.FilterStateInputSchema, place)
  if (state !== undefined) return (facts) => facts.filterState?.get(state.key)
  place.refuse(`the input ${type} is not supported`)
  return () => undefined
}

function isLocal({ sourceIp, destinationIp }: ConnectionFacts): boolean {
  return sourceIp === destinationIp || sourceIp === '::1' || sourceIp.startsWith('127.')
}

const inputs: ReadonlyMap<string, Input> = new Map<string, Input>([
  [networkInputs.DestinationIPInputSchema.typeName, (facts) => facts.destinationIp],
  [networkInputs.DestinationPortInputSchema.typeName, (facts) => String(facts.destinationPort)],
  [networkInputs.SourceIPInputSchema.typeName, (facts) => facts.sourceIp],
  [networkInputs.DirectSourceIPInputSchema.typeName, (facts) => facts.sourceIp],
  [networkInputs.SourcePortInputSchema.typeName, (facts) => String(facts.sourcePort)],
  [networkInputs.SourceTypeInputSchema.typeName, (facts) => (isLocal(facts) ? 'local' : undefined)],
  [networkInputs.ServerNameInputSchema.typeName, ({ sni }) => (sni === '' ? undefined : sni)],
  [networkInputs.TransportProtocolInputSchema.typeName, (facts) => facts.transportProtocol],
  [
    networkInputs.ApplicationProtocolInputSchema.typeName,
    ({ alpn = [] }) => (alpn.length === 0 ? undefined : alpn.map((each) => `'${each}'`).join(',')),
  ],
])
