/** Clusters: how hosts are found and chosen, and the limits that protect them. */
import {
  cluster as api,
  type circuitBreaker,
  dnsCluster,
  type outlierDetection,
} from '../../../proto/envoy.ts'
import { type Compiled, Place } from '../errors.ts'
import type { Origin } from '../types.ts'
import { durationMs, originOf, typeOf, unpack } from '../values.ts'
import { type CompiledEndpoints, compileAssignment } from './endpoints.ts'
import { type Balancing, compileBalancing } from './policy.ts'
import { compileSubsets, type SubsetConfig } from './subsets.ts'

export type Discovery =
  | { readonly kind: 'static' }
  | { readonly kind: 'eds'; readonly serviceName: string }
  | { readonly kind: 'dns'; readonly single: boolean }
  | { readonly kind: 'original-destination' }
  | { readonly kind: 'dynamic-forward-proxy' }

/** Limits of one routing priority. */
export interface Thresholds {
  readonly maxConnections: number
  readonly maxPendingRequests: number
  readonly maxRequests: number
  readonly maxRetries: number
  readonly retryBudget: { readonly percent: number; readonly minConcurrency: number } | undefined
}

export interface Outlier {
  readonly intervalMs: number
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  readonly maxEjectionPercent: number
  /** Zero: not enforced. Per cent of detections that eject. */
  readonly consecutive5xx: Rule
  readonly consecutiveGatewayFailure: Rule
  readonly consecutiveLocalOrigin: Rule
  readonly splitLocalOrigin: boolean
  readonly message: outlierDetection.OutlierDetection
}

export interface Rule {
  readonly count: number
  readonly enforcedPercent: number
}

export interface CompiledCluster {
  readonly name: string
  readonly discovery: Discovery
  /** Hosts inside the cluster. */
  readonly endpoints: CompiledEndpoints | undefined
  readonly connectTimeoutMs: number
  readonly balancing: Balancing
  readonly subsets: SubsetConfig | undefined
  /** Below it, health is not believed. */
  readonly panicPercent: number
  readonly thresholds: { readonly default: Thresholds; readonly high: Thresholds }
  readonly outlier: Outlier | undefined
  readonly origin: Origin | undefined
  /** The rest, which is about the wire: transport sockets, protocols, health checks. */
  readonly message: api.Cluster
}

const transportSockets = new Set([
  '',
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
  'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer',
  'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
  'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport',
])

const defaultConnectTimeoutMs = 5000
const defaultPanicPercent = 50

/** Compiles a Cluster, or says what is wrong with it. */
export function compileCluster(message: api.Cluster): Compiled<CompiledCluster> {
  const place = Place.of(`cluster ${message.name}`)
  refuseUnsupported(message, place)
  const breakers = message.circuitBreakers?.thresholds ?? []
  const { loadAssignment } = message
  return place.finish({
    name: message.name,
    discovery: compileDiscovery(message, place),
    endpoints:
      loadAssignment === undefined
        ? undefined
        : compileAssignment(loadAssignment, place.at('load_assignment')),
    connectTimeoutMs: durationMs(message.connectTimeout) ?? defaultConnectTimeoutMs,
    balancing: compileBalancing(message, place),
    subsets: compileSubsets(message.lbSubsetConfig, place.at('lb_subset_config')),
    panicPercent: message.commonLbConfig?.healthyPanicThreshold?.value ?? defaultPanicPercent,
    thresholds: {
      default: thresholdsOf(breakers.find(({ priority }) => priority === 0)),
      high: thresholdsOf(breakers.find(({ priority }) => priority === 1)),
    },
    outlier: compileOutlier(message.outlierDetection),
    origin: originOf(message.metadata),
    message,
  })
}

function refuseUnsupported(message: api.Cluster, place: Place): void {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['filters', message.filters.length > 0],
    ['upstream_config', message.upstreamConfig !== undefined],
    ['transport_socket_matcher', message.transportSocketMatcher !== undefined],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
  const sockets = [
    { socket: message.transportSocket, at: place.at('transport_socket') },
    ...message.transportSocketMatches.map(({ transportSocket: socket }, index) => ({
      socket,
      at: place.at('transport_socket_matches', index),
    })),
  ]
  for (const { socket, at } of sockets) {
    const type = typeOf(socket?.configType.value)
    if (!transportSockets.has(type)) at.refuse(`${socket?.name ?? ''}: ${type} is not supported`)
  }
}

function compileDiscovery(message: api.Cluster, place: Place): Discovery {
  const { clusterDiscoveryType: type } = message
  if (type.case === 'clusterType') {
    const { typedConfig } = type.value
    const dns = unpack(typedConfig, dnsCluster.DnsClusterSchema, place.at('cluster_type'))
    if (dns !== undefined) return { kind: 'dns', single: dns.allAddressesInSingleEndpoint }
    const config = typeOf(typedConfig)
    if (config === 'envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig') {
      return { kind: 'dynamic-forward-proxy' }
    }
    place.at('cluster_type').refuse(`${type.value.name} is not supported`)
    return { kind: 'static' }
  }
  const kinds = api.Cluster_DiscoveryType
  switch (type.value ?? kinds.STATIC) {
    case kinds.STATIC:
      return { kind: 'static' }
    case kinds.STRICT_DNS:
      return { kind: 'dns', single: false }
    case kinds.LOGICAL_DNS:
      return { kind: 'dns', single: true }
    case kinds.EDS: {
      const name = message.edsClusterConfig?.serviceName ?? ''
      return { kind: 'eds', serviceName: name === '' ? message.name : name }
    }
    case kinds.ORIGINAL_DST:
      return { kind: 'original-destination' }
    default:
      place.at('type').refuse(`discovery ${type.value} is not supported`)
      return { kind: 'static' }
  }
}

const breakerDefaults = { requests: 1024, retries: 3, budgetPercent: 20, budgetConcurrency: 3 }

function thresholdsOf(message: circuitBreaker.CircuitBreakers_Thresholds | undefined): Thresholds {
  const { requests, retries, budgetPercent, budgetConcurrency } = breakerDefaults
  const budget = message?.retryBudget
  return {
    maxConnections: message?.maxConnections ?? requests,
    maxPendingRequests: message?.maxPendingRequests ?? requests,
    maxRequests: message?.maxRequests ?? requests,
    maxRetries: message?.maxRetries ?? retries,
    retryBudget:
      budget === undefined
        ? undefined
        : {
            percent: budget.budgetPercent?.value ?? budgetPercent,
            minConcurrency: budget.minRetryConcurrency ?? budgetConcurrency,
          },
  }
}

const outlierDefaults = {
  intervalMs: 10_000,
  baseMs: 30_000,
  maxMs: 300_000,
  percent: 10,
  count: 5,
  enforced: 100,
}

function compileOutlier(
  message: outlierDetection.OutlierDetection | undefined,
): Outlier | undefined {
  if (message === undefined) return undefined
  const { intervalMs, baseMs, maxMs, percent, count, enforced } = outlierDefaults
  const base = durationMs(message.baseEjectionTime) ?? baseMs
  return {
    intervalMs: durationMs(message.interval) ?? intervalMs,
    baseEjectionMs: base,
    maxEjectionMs: durationMs(message.maxEjectionTime) ?? Math.max(base, maxMs),
    maxEjectionPercent: message.maxEjectionPercent ?? percent,
    consecutive5xx: {
      count: message.consecutive5xx ?? count,
      enforcedPercent: message.enforcingConsecutive5xx ?? enforced,
    },
    consecutiveGatewayFailure: {
      count: message.consecutiveGatewayFailure ?? count,
      // Envoy counts gateway failures, but ejects for them only when told to.
      enforcedPercent: message.enforcingConsecutiveGatewayFailure ?? 0,
    },
    consecutiveLocalOrigin: {
      count: message.consecutiveLocalOriginFailure ?? count,
      enforcedPercent: message.enforcingConsecutiveLocalOriginFailure ?? enforced,
    },
    splitLocalOrigin: message.splitExternalLocalOriginErrors,
    message,
  }
}
