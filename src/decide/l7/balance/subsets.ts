/** Subsets of hosts by their metadata (`envoy.lb`): each has a balancer of its own. */
import { cluster as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { type Balancer, type BalancerState, createPlainBalancer } from './balancer.ts'
import type { CompiledCluster } from './cluster.ts'
import type { CompiledEndpoints, Host } from './endpoints.ts'

type Fallback = 'none' | 'any' | 'default'

export interface SubsetConfig {
  readonly fallback: Fallback
  readonly defaultSubset: Readonly<Record<string, unknown>>
  /** Each with its keys in order. */
  readonly selectors: readonly {
    readonly keys: readonly string[]
    readonly fallback: Fallback | undefined
  }[]
  readonly listAsAny: boolean
  readonly panicModeAny: boolean
}

const fallbacks: readonly Fallback[] = ['none', 'any', 'default']

export function compileSubsets(
  message: api.Cluster_LbSubsetConfig | undefined,
  place: Place,
): SubsetConfig | undefined {
  if (message === undefined || message.subsetSelectors.length === 0) return undefined
  const modes = api.Cluster_LbSubsetConfig_LbSubsetMetadataFallbackPolicy
  if (message.metadataFallbackPolicy === modes.FALLBACK_LIST) {
    place.at('metadata_fallback_policy').refuse('is not supported')
  }
  return {
    fallback: fallbacks[message.fallbackPolicy] ?? 'none',
    defaultSubset: message.defaultSubset ?? {},
    selectors: message.subsetSelectors.map((selector, index) => {
      const at = place.at('subset_selectors', index)
      if (selector.singleHostPerSubset) at.at('single_host_per_subset').refuse('is not supported')
      if (selector.fallbackPolicy > 3) at.at('fallback_policy').refuse('is not supported')
      return {
        keys: selector.keys.toSorted(),
        fallback:
          selector.fallbackPolicy === 0 ? undefined : fallbacks[selector.fallbackPolicy - 1],
      }
    }),
    listAsAny: message.listAsAny,
    panicModeAny: message.panicModeAny,
  }
}

/** The balancer of a cluster: by subset where it has subsets. */
export function createBalancer(
  cluster: CompiledCluster,
  endpoints: CompiledEndpoints,
  state: BalancerState,
): Balancer {
  const all = createPlainBalancer(cluster, endpoints, state)
  const { subsets } = cluster
  if (subsets === undefined) return all
  const made = new Map<string, Balancer | undefined>()
  const subsetOf = (criteria: Readonly<Record<string, unknown>>): Balancer | undefined => {
    const key = JSON.stringify(
      Object.entries(criteria).toSorted(([left], [right]) => (left < right ? -1 : 1)),
    )
    if (made.has(key)) return made.get(key)
    const chosen = filtered(endpoints, (host) => matches(host, criteria, subsets.listAsAny))
    if (chosen.hosts.length === 0) return undefined
    const balancer = createPlainBalancer(cluster, chosen, state)
    made.set(key, balancer)
    return balancer
  }
  const fallBack = (fallback: Fallback): Balancer | undefined => {
    if (fallback === 'none') return subsets.panicModeAny ? all : undefined
    if (fallback === 'any') return all
    return subsetOf(subsets.defaultSubset) ?? (subsets.panicModeAny ? all : undefined)
  }
  return {
    load: all.load,
    choose: (pick) => {
      const { metadataMatch: criteria } = pick
      if (criteria === undefined) return fallBack(subsets.fallback)?.choose(pick)
      const keys = Object.keys(criteria).toSorted()
      const selector = subsets.selectors.find((each) => sameKeys(each.keys, keys))
      const own = selector === undefined ? undefined : subsetOf(criteria)
      const found = own?.choose(pick)
      return found ?? fallBack(selector?.fallback ?? subsets.fallback)?.choose(pick)
    },
  }
}

function sameKeys(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((key, index) => key === right[index])
}

function matches(
  host: Host,
  criteria: Readonly<Record<string, unknown>>,
  listAsAny: boolean,
): boolean {
  const own = host.metadata['envoy.lb'] ?? {}
  return Object.entries(criteria).every(([key, wanted]) => {
    const value = own[key]
    if (listAsAny && Array.isArray(value)) return value.some((item) => equal(item, wanted))
    return value !== undefined && equal(value, wanted)
  })
}

function equal(left: unknown, right: unknown): boolean {
  return left === right || JSON.stringify(left) === JSON.stringify(right)
}

function filtered(endpoints: CompiledEndpoints, keep: (host: Host) => boolean): CompiledEndpoints {
  const priorities = endpoints.priorities.map((groups) =>
    groups
      .map((group) => ({ ...group, hosts: group.hosts.filter(keep) }))
      .filter(({ hosts }) => hosts.length > 0),
  )
  return { ...endpoints, priorities, hosts: endpoints.hosts.filter(keep) }
}
