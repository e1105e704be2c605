/** TCP proxies: which cluster a connection goes to, and how. */
import type { tcpProxy as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileFormat, type Format } from '../headers/format.ts'
import { compileMutation, type Mutation } from '../headers/mutate.ts'
import { compileStreamHash } from '../route/hash.ts'
import { durationMs, subsetCriteria } from '../values.ts'

/** Another filter may have chosen the cluster for this connection. */
export const chosenClusterKey = 'envoy.tcp_proxy.cluster'

export interface Tunnel {
  /** The authority of the CONNECT. */
  readonly hostname: Format
  readonly method: 'CONNECT' | 'POST'
  readonly path: string
  readonly headers: Mutation | undefined
  readonly propagateResponseHeaders: boolean
  readonly propagateResponseTrailers: boolean
}

export interface StreamTarget {
  readonly cluster: string
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined
}

export interface TcpProxy {
  readonly statPrefix: string
  readonly targets: readonly StreamTarget[]
  choose(exchange: Exchange): StreamTarget
  hash(exchange: Exchange): bigint | undefined
  /** Zero: none. */
  readonly idleTimeoutMs: number
  readonly maxDurationMs: number | undefined
  readonly connectAttempts: number
  readonly tunnel: Tunnel | undefined
  readonly message: api.TcpProxy
}

const defaultIdleMs = 3_600_000

export function compileTcpProxy(message: api.TcpProxy, place: Place): TcpProxy {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['on_demand', message.onDemand !== undefined],
    ['proxy_protocol_tlvs', message.proxyProtocolTlvs.length > 0],
    ['upstream_connect_mode', message.upstreamConnectMode !== 0],
    ['max_early_data_bytes', message.maxEarlyDataBytes !== undefined],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
  const hash = compileStreamHash(message.hashPolicy, place)
  const chosen = compileChoice(message, place)
  return {
    statPrefix: message.statPrefix,
    targets: chosen.targets,
    choose: (exchange) => {
      const cluster = exchange.filterState(chosenClusterKey)
      if (cluster !== undefined) return { cluster, metadataMatch: undefined }
      return chosen.choose(exchange)
    },
    hash: (exchange) =>
      hash?.({
        ip: exchange.request.connection.sourceIp,
        state: (key) => exchange.filterState(key),
      }),
    idleTimeoutMs: durationMs(message.idleTimeout) ?? defaultIdleMs,
    maxDurationMs: durationMs(message.maxDownstreamConnectionDuration),
    connectAttempts: message.maxConnectAttempts ?? 1,
    tunnel: compileTunnel(message.tunnelingConfig, place.at('tunneling_config')),
    message,
  }
}

interface Choice {
  readonly targets: readonly StreamTarget[]
  choose(exchange: Exchange): StreamTarget
}

function compileChoice({ clusterSpecifier, metadataMatch }: api.TcpProxy, place: Place): Choice {
  const shared = subsetCriteria(metadataMatch)
  if (clusterSpecifier.case === 'cluster') {
    const only = { cluster: clusterSpecifier.value, metadataMatch: shared }
    return { targets: [only], choose: () => only }
  }
  const clusters = clusterSpecifier.value?.clusters ?? []
  const targets = clusters.map(({ name, metadataMatch: own }) => {
    const criteria = subsetCriteria(own)
    return {
      cluster: name,
      metadataMatch: criteria === undefined ? shared : { ...shared, ...criteria },
    }
  })
  const ends: number[] = []
  let total = 0
  for (const { weight } of clusters) ends.push((total += weight))
  const none: StreamTarget = { cluster: '', metadataMatch: undefined }
  if (total === 0) place.refuse('a TCP proxy without a cluster')
  return {
    targets,
    choose: (exchange) => {
      const value = exchange.draw % total
      return targets[ends.findIndex((end) => value < end)] ?? none
    },
  }
}

function compileTunnel(
  message: api.TcpProxy_TunnelingConfig | undefined,
  place: Place,
): Tunnel | undefined {
  if (message === undefined) return undefined
  const { hostname, usePost, postPath, headersToAdd } = message
  if (message.requestIdExtension !== undefined) {
    place.at('request_id_extension').refuse('is not supported')
  }
  if (postPath !== '' && !usePost) place.at('post_path').refuse('needs use_post')
  return {
    hostname: compileFormat(hostname, '-', place.at('hostname')),
    method: usePost ? 'POST' : 'CONNECT',
    path: usePost && postPath === '' ? '/' : postPath,
    headers: compileMutation(headersToAdd, [], { add: place.at('headers_to_add'), remove: place }),
    propagateResponseHeaders: message.propagateResponseHeaders,
    propagateResponseTrailers: message.propagateResponseTrailers,
  }
}
