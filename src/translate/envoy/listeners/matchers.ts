/** Matchers that choose a filter chain by name: destination address, then port, then what was sniffed. */
import { networkInputs, xdsCidr, xdsIpMatcher, xdsMatcher } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { pack } from '../values.ts'
import { cidrRange, packText, plainHttpProtocols } from './build.ts'

export type OnMatch = xdsMatcher.Matcher_OnMatch

type Extension = NonNullable<xdsMatcher.Matcher_MatcherTree['input']>

const inputs = {
  ip: typedInput('destination_ip', networkInputs.DestinationIPInputSchema),
  port: typedInput('destination_port', networkInputs.DestinationPortInputSchema),
  server: typedInput('server_name', networkInputs.ServerNameInputSchema),
  protocol: typedInput('application_protocol', networkInputs.ApplicationProtocolInputSchema),
}

function typedInput(
  name: string,
  schema:
    | typeof networkInputs.DestinationIPInputSchema
    | typeof networkInputs.DestinationPortInputSchema
    | typeof networkInputs.ServerNameInputSchema
    | typeof networkInputs.ApplicationProtocolInputSchema,
): () => Extension {
  // xDS has the same message under a second name.
  return () => ({
    $typeName: 'xds.core.v3.TypedExtensionConfig',
    name,
    typedConfig: pack(schema, create(schema)),
  })
}

export function toChain(name: string): OnMatch {
  return create(xdsMatcher.Matcher_OnMatchSchema, {
    onMatch: {
      case: 'action',
      value: { $typeName: 'xds.core.v3.TypedExtensionConfig', name, typedConfig: packText(name) },
    },
  })
}

export function toMatcher(matcher: xdsMatcher.Matcher): OnMatch {
  return create(xdsMatcher.Matcher_OnMatchSchema, { onMatch: { case: 'matcher', value: matcher } })
}

/** HTTP by its first bytes goes to one chain, all else to the other. */
export function bySniffing(http: string, otherwise: OnMatch): xdsMatcher.Matcher {
  return exactMatcher(
    inputs.protocol(),
    // The input quotes each protocol.
    plainHttpProtocols.map((protocol) => [`'${protocol}'`, toChain(http)]),
    otherwise,
  )
}

export function byPort(ports: ReadonlyMap<number, OnMatch>): xdsMatcher.Matcher {
  return exactMatcher(
    inputs.port(),
    [...ports].toSorted(([left], [right]) => left - right).map(([port, on]) => [String(port), on]),
  )
}

function exactMatcher(
  input: Extension,
  entries: readonly (readonly [string, OnMatch])[],
  otherwise?: OnMatch,
): xdsMatcher.Matcher {
  const map = Object.fromEntries(entries)
  return create(xdsMatcher.MatcherSchema, {
    matcherType: {
      case: 'matcherTree',
      value: create(xdsMatcher.Matcher_MatcherTreeSchema, {
        input,
        treeType: {
          case: 'exactMatchMap',
          value: create(xdsMatcher.Matcher_MatcherTree_MatchMapSchema, { map }),
        },
      }),
    },
    ...(otherwise === undefined ? {} : { onNoMatch: otherwise }),
  })
}

/** The most specific range decides. Ranges that are none are left out; Envoy refuses an empty tree. */
export function byAddress(
  ranges: ReadonlyMap<string, OnMatch>,
  otherwise?: OnMatch,
): xdsMatcher.Matcher | undefined {
  const rangeMatchers = [...ranges].flatMap(([text, onMatch]) => {
    const range = cidrRange(text)
    if (range === undefined) return []
    const ranges = [
      create(xdsCidr.CidrRangeSchema, {
        addressPrefix: range.addressPrefix,
        prefixLen: range.prefixLen,
      }),
    ]
    return [create(xdsIpMatcher.IPMatcher_IPRangeMatcherSchema, { ranges, onMatch })]
  })
  if (rangeMatchers.length === 0) return undefined
  const ip = create(xdsIpMatcher.IPMatcherSchema, { rangeMatchers })
  return create(xdsMatcher.MatcherSchema, {
    matcherType: {
      case: 'matcherTree',
      value: create(xdsMatcher.Matcher_MatcherTreeSchema, {
        input: inputs.ip(),
        treeType: {
          case: 'customMatch',
          value: {
            $typeName: 'xds.core.v3.TypedExtensionConfig',
            name: 'ip',
            typedConfig: pack(xdsIpMatcher.IPMatcherSchema, ip),
          },
        },
      }),
    },
    ...(otherwise === undefined ? {} : { onNoMatch: otherwise }),
  })
}

/** Server names, exact or with a leading wildcard; the first that fits decides. */
export function byServerName(
  names: readonly (readonly [host: string, chain: string])[],
  otherwise: OnMatch,
): xdsMatcher.Matcher {
  const matchers = names.map(([host, chain]) =>
    create(xdsMatcher.Matcher_MatcherList_FieldMatcherSchema, {
      predicate: create(xdsMatcher.Matcher_MatcherList_PredicateSchema, {
        matchType: {
          case: 'singlePredicate',
          value: create(xdsMatcher.Matcher_MatcherList_Predicate_SinglePredicateSchema, {
            input: inputs.server(),
            matcher: {
              case: 'valueMatch',
              value: {
                $typeName: 'xds.type.matcher.v3.StringMatcher',
                ignoreCase: false,
                matchPattern: host.startsWith('*')
                  ? { case: 'suffix', value: host.slice(1) }
                  : { case: 'exact', value: host },
              },
            },
          }),
        },
      }),
      onMatch: toChain(chain),
    }),
  )
  return create(xdsMatcher.MatcherSchema, {
    matcherType: {
      case: 'matcherList',
      value: create(xdsMatcher.Matcher_MatcherListSchema, { matchers }),
    },
    onNoMatch: otherwise,
  })
}
