/** Load-balancing policies of clusters, in both of Envoy's spellings (fields and extensions). */
import {
  cluster as api,
  lbClusterProvided,
  lbLeastRequest,
  lbMaglev,
  lbRandom,
  lbRingHash,
  lbRoundRobin,
} from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { limits } from '../limits.ts'
import { durationMs, typeOf, unpack } from '../values.ts'
import type { RingOptions } from './tables.ts'

export interface SlowStart {
  readonly windowMs: number
  readonly aggression: number
  readonly leastShare: number
}

export interface RoundRobin {
  readonly kind: 'round-robin'
  readonly slowStart: SlowStart | undefined
}

export interface LeastRequest {
  readonly kind: 'least-request'
  readonly choices: number
  readonly bias: number
  readonly fullScan: boolean
  readonly slowStart: SlowStart | undefined
}

export type BalancingPolicy =
  | RoundRobin
  | LeastRequest
  | { readonly kind: 'random' }
  | ({ readonly kind: 'ring-hash' } & RingOptions)
  | { readonly kind: 'maglev'; readonly size: number; readonly useHostname: boolean }
  /** Where the client wanted to go; or where a header says, when it may. */
  | {
      readonly kind: 'original-destination'
      readonly header: string | undefined
      readonly metadata: { readonly key: string; readonly path: readonly string[] } | undefined
      readonly port: number | undefined
    }
  /** The cluster itself finds its hosts. */
  | { readonly kind: 'provided' }

export interface Balancing {
  readonly policy: BalancingPolicy
  readonly localityWeighted: boolean
}

const defaults = { choices: 2, bias: 1, ringMinimum: 1024, maglevSize: 65_537, leastPercent: 10 }

export function compileBalancing(cluster: api.Cluster, place: Place): Balancing {
  const { loadBalancingPolicy } = cluster
  if (loadBalancingPolicy !== undefined) {
    return compileExtension(loadBalancingPolicy, place.at('load_balancing_policy'))
  }
  const { localityConfigSpecifier } = cluster.commonLbConfig ?? {}
  const localityWeighted = localityConfigSpecifier?.case === 'localityWeightedLbConfig'
  return { policy: compileFields(cluster, place), localityWeighted }
}

function compileFields(cluster: api.Cluster, place: Place): BalancingPolicy {
  const { lbConfig, lbPolicy, commonLbConfig } = cluster
  const hashing = commonLbConfig?.consistentHashingLbConfig
  refuseBounded(hashing?.hashBalanceFactor, place.at('common_lb_config'))
  const useHostname = hashing?.useHostnameForHashing === true
  const kinds = api.Cluster_LbPolicy
  switch (lbPolicy) {
    case kinds.ROUND_ROBIN: {
      const config = lbConfig.case === 'roundRobinLbConfig' ? lbConfig.value : undefined
      return { kind: 'round-robin', slowStart: slowStartOf(config?.slowStartConfig) }
    }
    case kinds.LEAST_REQUEST:
      return leastRequestOf(lbConfig.case === 'leastRequestLbConfig' ? lbConfig.value : {}, false)
    case kinds.RANDOM:
      return { kind: 'random' }
    case kinds.RING_HASH: {
      const config = lbConfig.case === 'ringHashLbConfig' ? lbConfig.value : {}
      return ringOf({ ...config, useHostname }, place.at('ring_hash_lb_config'))
    }
    case kinds.MAGLEV: {
      const config = lbConfig.case === 'maglevLbConfig' ? lbConfig.value : {}
      return maglevOf({ ...config, useHostname }, place.at('maglev_lb_config'))
    }
    case kinds.CLUSTER_PROVIDED:
      return providedOf(cluster)
    default:
      place.at('lb_policy').refuse(`policy ${lbPolicy} is not supported`)
      return { kind: 'random' }
  }
}

function providedOf(cluster: api.Cluster): BalancingPolicy {
  const { clusterDiscoveryType: type, lbConfig } = cluster
  const isOriginal = type.case === 'type' && type.value === api.Cluster_DiscoveryType.ORIGINAL_DST
  if (!isOriginal) return { kind: 'provided' }
  const config = lbConfig.case === 'originalDstLbConfig' ? lbConfig.value : undefined
  const header = config?.httpHeaderName === '' ? undefined : config?.httpHeaderName.toLowerCase()
  return {
    kind: 'original-destination',
    header: config?.useHttpHeader === true ? (header ?? 'x-envoy-original-dst-host') : undefined,
    metadata:
      config?.metadataKey === undefined
        ? undefined
        : {
            key: config.metadataKey.key,
            path: config.metadataKey.path.map(({ segment }) => segment.value ?? ''),
          },
    port: config?.upstreamPortOverride,
  }
}

function refuseBounded(factor: number | undefined, place: Place): void {
  if (factor !== undefined && factor > 0) place.at('hash_balance_factor').refuse('is not supported')
}

interface SlowStartFields {
  readonly slowStartWindow?: { readonly seconds: bigint; readonly nanos: number } | undefined
  readonly aggression?: { readonly defaultValue: number } | undefined
  readonly minWeightPercent?: { readonly value: number } | undefined
}

function slowStartOf(config: SlowStartFields | undefined): SlowStart | undefined {
  const windowMs = durationMs(config?.slowStartWindow) ?? 0
  if (config === undefined || windowMs === 0) return undefined
  return {
    windowMs,
    aggression: config.aggression?.defaultValue ?? 1,
    leastShare: (config.minWeightPercent?.value ?? defaults.leastPercent) / 100,
  }
}

interface LeastRequestFields {
  readonly choiceCount?: number | undefined
  readonly activeRequestBias?: { readonly defaultValue: number } | undefined
  readonly slowStartConfig?: SlowStartFields | undefined
}

function leastRequestOf(config: LeastRequestFields, fullScan: boolean): LeastRequest {
  return {
    kind: 'least-request',
    choices: config.choiceCount ?? defaults.choices,
    bias: config.activeRequestBias?.defaultValue ?? defaults.bias,
    fullScan,
    slowStart: slowStartOf(config.slowStartConfig),
  }
}

interface RingFields {
  readonly hashFunction?: number
  readonly minimumRingSize?: bigint | undefined
  readonly maximumRingSize?: bigint | undefined
  readonly useHostname: boolean
}

/** XX_HASH is 0 in the field's enum, 1 in the extension's, where 0 stands for it too. */
function ringOf(
  config: RingFields,
  place: Place,
  xxHash: readonly number[] = [0],
): BalancingPolicy {
  const minimum = Number(config.minimumRingSize ?? defaults.ringMinimum)
  const maximum = Number(config.maximumRingSize ?? limits.ringEntries)
  if (!xxHash.includes(config.hashFunction ?? 0)) {
    place.at('hash_function').refuse('only XX_HASH is supported')
  }
  if (minimum > maximum || maximum > limits.ringEntries) {
    place.refuse(`a ring of ${minimum} to ${maximum} entries; at most ${limits.ringEntries}`)
  }
  return { kind: 'ring-hash', minimum, maximum, useHostname: config.useHostname }
}

function maglevOf(
  config: { readonly tableSize?: bigint | undefined; readonly useHostname: boolean },
  place: Place,
): BalancingPolicy {
  const size = Number(config.tableSize ?? defaults.maglevSize)
  if (size > limits.maglevEntries || !isPrime(size)) {
    place.at('table_size').refuse(`${size} is no prime number up to ${limits.maglevEntries}`)
  }
  return { kind: 'maglev', size, useHostname: config.useHostname }
}

function isPrime(value: number): boolean {
  if (value < 2) return false
  for (let factor = 2; factor * factor <= value; factor++) if (value % factor === 0) return false
  return true
}

/** The first policy of the list that is known, as in Envoy. */
function compileExtension(message: api.LoadBalancingPolicy, place: Place): Balancing {
  for (const { typedExtensionConfig } of message.policies) {
    const config = typedExtensionConfig?.typedConfig
    const round = unpack(config, lbRoundRobin.RoundRobinSchema, place)
    if (round !== undefined) {
      const policy = { kind: 'round-robin', slowStart: slowStartOf(round.slowStartConfig) } as const
      return { policy, localityWeighted: isWeighted(round.localityLbConfig) }
    }
    const least = unpack(config, lbLeastRequest.LeastRequestSchema, place)
    if (least !== undefined) {
      const full = least.selectionMethod === lbLeastRequest.LeastRequest_SelectionMethod.FULL_SCAN
      const policy = leastRequestOf(least, full || least.enableFullScan === true)
      return { policy, localityWeighted: isWeighted(least.localityLbConfig) }
    }
    const random = unpack(config, lbRandom.RandomSchema, place)
    if (random !== undefined) {
      return { policy: { kind: 'random' }, localityWeighted: isWeighted(random.localityLbConfig) }
    }
    const ring = unpack(config, lbRingHash.RingHashSchema, place)
    if (ring !== undefined) {
      const hashing = ring.consistentHashingLbConfig
      refuseBounded(hashing?.hashBalanceFactor ?? ring.hashBalanceFactor, place)
      const useHostname = hashing?.useHostnameForHashing ?? ring.useHostnameForHashing
      const policy = ringOf({ ...ring, useHostname }, place, [0, 1])
      return { policy, localityWeighted: ring.localityWeightedLbConfig !== undefined }
    }
    const maglev = unpack(config, lbMaglev.MaglevSchema, place)
    if (maglev !== undefined) {
      const hashing = maglev.consistentHashingLbConfig
      refuseBounded(hashing?.hashBalanceFactor, place)
      const useHostname = hashing?.useHostnameForHashing === true
      const policy = maglevOf({ ...maglev, useHostname }, place)
      return { policy, localityWeighted: maglev.localityWeightedLbConfig !== undefined }
    }
    if (typeOf(config) === lbClusterProvided.ClusterProvidedSchema.typeName) {
      return { policy: { kind: 'provided' }, localityWeighted: false }
    }
  }
  place.refuse('none of its policies is supported')
  return { policy: { kind: 'random' }, localityWeighted: false }
}

function isWeighted(
  config: { readonly localityConfigSpecifier: { readonly case?: string | undefined } } | undefined,
): boolean {
  return config?.localityConfigSpecifier.case === 'localityWeightedLbConfig'
}
