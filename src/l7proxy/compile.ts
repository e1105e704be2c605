/**
 * Envoy resources → what requests are served from. Anything in them that this proxy does not do
 * throws, which rejects the resource (NACK) with the reason: never half a configuration.
 */
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt'
import { MeshError } from '../base/index.ts'
import {
  cluster as clusterApi,
  endpoint as endpointApi,
  hcm,
  listener as listenerApi,
} from '../proto/envoy.ts'
import { fromBinary } from '../proto/index.ts'
import { limits } from './limits.ts'
import type { ClusterConfig, Endpoint, ListenerConfig } from './types.ts'

/** Why a resource is refused: names the resource and the field. */
export function unsupported(resource: string, field: string, found: string): MeshError {
  return new MeshError('L7PROXY_UNSUPPORTED', `${resource}: ${field}: ${found} is not supported`, {
    hint: 'The last configuration that worked stays. Use the Envoy engine for this feature.',
  })
}

/** Fault and CORS do nothing unless a route says so, and such a route is refused. */
const httpFilters: ReadonlySet<string> = new Set([
  'envoy.filters.http.fault',
  'envoy.filters.http.cors',
  'envoy.filters.http.router',
])

/** Loggers that write a line; the metrics of the others are this proxy's own. */
const lineLogs: ReadonlySet<string> = new Set([
  'envoy.access_loggers.file',
  'envoy.access_loggers.stdout',
])

export function compileListener(bytes: Uint8Array): ListenerConfig {
  const listener = fromBinary(listenerApi.ListenerSchema, bytes)
  const what = `listener ${listener.name}`
  const socket = listener.address?.address
  if (socket?.case !== 'socketAddress' || socket.value.portSpecifier.case !== 'portValue') {
    throw unsupported(what, 'address', socket?.case ?? 'none')
  }
  const [chain, ...others] = listener.filterChains
  if (chain === undefined || others.length > 0 || chain.filterChainMatch !== undefined) {
    throw unsupported(what, 'filter_chains', `${listener.filterChains.length} chains or a match`)
  }
  if (chain.transportSocket !== undefined) throw unsupported(what, 'transport_socket', 'TLS')
  const [filter, ...more] = chain.filters
  if (filter?.configType.case !== 'typedConfig' || more.length > 0) {
    throw unsupported(what, 'filters', `${chain.filters.length} network filters`)
  }
  const manager = unpackManager(filter.configType.value, what)
  if (manager.routeSpecifier.case !== 'rds') {
    throw unsupported(what, 'route_specifier', manager.routeSpecifier.case ?? 'none')
  }
  for (const { name } of manager.httpFilters) {
    if (!httpFilters.has(name)) throw unsupported(what, 'http_filters', name)
  }
  return {
    name: listener.name,
    address: socket.value.address,
    port: socket.value.portSpecifier.value,
    routeName: manager.routeSpecifier.value.routeConfigName,
    serverName: manager.serverName === '' ? 'envoy' : manager.serverName,
    normalizePath: manager.normalizePath === true,
    useRemoteAddress: manager.useRemoteAddress === true,
    websocket: manager.upgradeConfigs.some(
      ({ upgradeType, enabled }) => upgradeType === 'websocket' && enabled !== false,
    ),
    accessLog: manager.accessLog.some(({ name }) => lineLogs.has(name)),
    streamIdleMs: durationMs(manager.streamIdleTimeout) ?? 300_000,
  }
}

function unpackManager(any: Any, what: string): hcm.HttpConnectionManager {
  const manager = anyUnpack(any, hcm.HttpConnectionManagerSchema)
  if (manager === undefined) throw unsupported(what, 'filters', any.typeUrl)
  return manager
}

export function durationMs(
  duration: { readonly seconds: bigint; readonly nanos: number } | undefined,
): number | undefined {
  if (duration === undefined) return undefined
  return Number(duration.seconds) * 1000 + Math.round(duration.nanos / 1e6)
}

export function compileCluster(bytes: Uint8Array): ClusterConfig {
  const cluster = fromBinary(clusterApi.ClusterSchema, bytes)
  const what = `cluster ${cluster.name}`
  const { clusterDiscoveryType: discovery, lbPolicy } = cluster
  if (inertClusters.has(cluster.name)) return nowhere(cluster.name)
  const isEds =
    discovery.case === 'type' && discovery.value === clusterApi.Cluster_DiscoveryType.EDS
  if (!isEds) throw unsupported(what, 'type', discovery.case ?? 'STATIC')
  if (cluster.transportSocket !== undefined) throw unsupported(what, 'transport_socket', 'TLS')
  const policy = policies[lbPolicy]
  if (policy === undefined) throw unsupported(what, 'lb_policy', String(lbPolicy))
  const serviceName = cluster.edsClusterConfig?.serviceName ?? ''
  return {
    name: cluster.name,
    endpointsName: serviceName === '' ? cluster.name : serviceName,
    connectTimeoutMs: durationMs(cluster.connectTimeout) ?? limits.connectTimeoutMs,
    policy,
  }
}

/** What every proxy of the mesh has, and no route of a gateway leads to. */
const inertClusters: ReadonlySet<string> = new Set(['BlackHoleCluster', 'PassthroughCluster'])

function nowhere(name: string): ClusterConfig {
  const { connectTimeoutMs } = limits
  return { name, endpointsName: '', connectTimeoutMs, policy: 'random' }
}

const policies: Readonly<Record<number, ClusterConfig['policy']>> = {
  [clusterApi.Cluster_LbPolicy.ROUND_ROBIN]: 'round-robin',
  [clusterApi.Cluster_LbPolicy.LEAST_REQUEST]: 'least-request',
  [clusterApi.Cluster_LbPolicy.RANDOM]: 'random',
}

/** HealthStatus values that take traffic: UNKNOWN and HEALTHY. */
const usableHealth: readonly number[] = [0, 1]

export function compileEndpoints(bytes: Uint8Array): Endpoint[] {
  const assignment = fromBinary(endpointApi.ClusterLoadAssignmentSchema, bytes)
  const endpoints: Endpoint[] = []
  for (const locality of assignment.endpoints) {
    for (const item of locality.lbEndpoints) {
      if (!usableHealth.includes(item.healthStatus)) continue
      const host = item.hostIdentifier.case === 'endpoint' ? item.hostIdentifier.value : undefined
      const socket = host?.address?.address
      if (socket?.case !== 'socketAddress' || socket.value.portSpecifier.case !== 'portValue') {
        throw unsupported(
          `endpoints of ${assignment.clusterName}`,
          'address',
          socket?.case ?? 'none',
        )
      }
      // The node proxy encrypts what leaves a gateway, but does not speak the TLS of sidecars.
      const socketMatch = item.metadata?.filterMetadata['envoy.transport_socket_match']
      if (socketMatch?.tlsMode !== undefined || socketMatch?.tunnel !== undefined) {
        throw unsupported(`endpoints of ${assignment.clusterName}`, 'metadata', 'mutual TLS')
      }
      endpoints.push({
        address: socket.value.address,
        port: socket.value.portSpecifier.value,
        weight: item.loadBalancingWeight ?? 1,
      })
    }
  }
  return endpoints
}
