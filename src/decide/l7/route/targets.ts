/** Which cluster of a route gets the request. */
import type { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileMutation, type Mutation } from '../headers/mutate.ts'
import { subsetCriteria } from '../values.ts'
import type { HashFunction } from './hash.ts'
import { compileOverrides, type FilterOverrides, noOverrides } from './per-filter.ts'

export interface Target {
  /** Empty: a header of the request names it. */
  readonly cluster: string
  readonly clusterHeader: string
  readonly weight: number
  readonly requestHeaders: Mutation | undefined
  readonly responseHeaders: Mutation | undefined
  readonly hostLiteral: string
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined
  readonly overrides: FilterOverrides
}

export type TargetChoice = (exchange: Exchange) => Target

interface Targets {
  readonly targets: readonly Target[]
  readonly choose: TargetChoice
}

interface Context {
  readonly hash: HashFunction | undefined
  readonly place: Place
}

function single(cluster: string, clusterHeader = ''): Target {
  return {
    cluster,
    clusterHeader,
    weight: 1,
    requestHeaders: undefined,
    responseHeaders: undefined,
    hostLiteral: '',
    metadataMatch: undefined,
    overrides: noOverrides,
  }
}

export function compileTargets(
  specifier: api.RouteAction['clusterSpecifier'],
  { hash, place }: Context,
): Targets {
  if (specifier.case === 'cluster') return always(single(specifier.value))
  if (specifier.case === 'clusterHeader') return always(single('', specifier.value.toLowerCase()))
  if (specifier.case === 'weightedClusters') {
    return weighted(specifier.value, { hash, place: place.at('weighted_clusters') })
  }
  place.refuse(`${specifier.case ?? 'a route without a cluster'} is not supported`)
  return always(single(''))
}

function always(target: Target): Targets {
  return { targets: [target], choose: () => target }
}

const mostWeight = 4_294_967_295

function weighted(message: api.WeightedCluster, { hash, place }: Context): Targets {
  const targets = message.clusters.map((entry, index) => {
    const at = place.at('clusters', index)
    if ((entry.name === '') === (entry.clusterHeader === '')) {
      at.refuse('either name or cluster_header has to be set')
    }
    return compileTarget(entry, at)
  })
  const ends: number[] = []
  let total = 0
  for (const { weight } of targets) ends.push((total += weight))
  const [first] = targets
  if (total === 0 || total > mostWeight || first === undefined) {
    place.refuse(`the sum of the weights is ${total}; it has to be from 1 to ${mostWeight}`)
    return always(first ?? single(''))
  }
  const draw = drawOf(message.randomValueSpecifier, hash)
  return {
    targets,
    choose: (exchange) => {
      const value = draw(exchange, total)
      return targets[ends.findIndex((end) => value < end)] ?? first
    },
  }
}

/** A number below the total. Values of 64 bits are divided before they become doubles. */
function drawOf(
  specifier: api.WeightedCluster['randomValueSpecifier'],
  hash: HashFunction | undefined,
): (exchange: Exchange, total: number) => number {
  if (specifier.case === 'headerName') {
    const name = specifier.value.toLowerCase()
    return (exchange, total) => {
      const value = exchange.header(name)
      const given = value !== undefined && /^\d{1,19}$/.test(value)
      return given ? Number(BigInt(value) % BigInt(total)) : exchange.draw % total
    }
  }
  if (specifier.case === 'useHashPolicy' && specifier.value.value && hash !== undefined) {
    return (exchange, total) => {
      const { hash: value } = hash(exchange)
      return value === undefined ? exchange.draw % total : Number(value % BigInt(total))
    }
  }
  return (exchange, total) => exchange.draw % total
}

function compileTarget(entry: api.WeightedCluster_ClusterWeight, place: Place): Target {
  const { hostRewriteSpecifier: rewrite } = entry
  return {
    cluster: entry.name,
    clusterHeader: entry.clusterHeader.toLowerCase(),
    weight: entry.weight ?? 0,
    requestHeaders: compileMutation(entry.requestHeadersToAdd, entry.requestHeadersToRemove, {
      add: place.at('request_headers_to_add'),
      remove: place.at('request_headers_to_remove'),
    }),
    responseHeaders: compileMutation(entry.responseHeadersToAdd, entry.responseHeadersToRemove, {
      add: place.at('response_headers_to_add'),
      remove: place.at('response_headers_to_remove'),
    }),
    hostLiteral: rewrite.case === 'hostRewriteLiteral' ? rewrite.value : '',
    metadataMatch: subsetCriteria(entry.metadataMatch),
    overrides: compileOverrides(entry.typedPerFilterConfig, place),
  }
}
