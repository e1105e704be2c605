/** Patches of clusters. */
import type { EnvoyContext } from '../../../model/index.ts'
import type { cluster as clusterApi } from '../../../proto/envoy.ts'
import type { ProxyView } from '../proxy.ts'
import { clusterParts } from './names.ts'
import { isContext, merge, type Patcher, valueOf } from './patcher.ts'
import type { Patch } from './select.ts'

type Cluster = clusterApi.Cluster

export function clusterContext(name: string, { kind }: ProxyView): EnvoyContext {
  if (kind === 'gateway') return 'GATEWAY'
  if (kind === 'waypoint') return 'WAYPOINT'
  const isInbound = clusterParts(name)?.direction === 'inbound' || name.startsWith('Inbound')
  return isInbound ? 'SIDECAR_INBOUND' : 'SIDECAR_OUTBOUND'
}

/** Undefined when it is removed. */
export function patchCluster(patcher: Patcher, given: Cluster): Cluster | undefined {
  const context = clusterContext(given.name, patcher.view)
  let cluster = given
  for (const patch of patcher.patches) {
    if (patch.target !== 'CLUSTER' || patch.operation === 'ADD') continue
    if (!isContext(patch, context) || !isCluster(patch, cluster.name, context)) continue
    if (patch.operation === 'REMOVE') return undefined
    cluster = mergeCluster(patcher, cluster, patch)
  }
  return cluster
}

function isCluster({ match }: Patch, given: string, context: EnvoyContext): boolean {
  const { name = '', service = '', subset = '', portNumber = 0 } = match.cluster ?? {}
  const port = portNumber || (match.waypoint?.portNumber ?? 0)
  if (name !== '') return name === given
  if (service === '' && subset === '' && port === 0) return true
  const parts = clusterParts(given)
  if (parts === undefined) return false
  if (port !== 0 && port !== parts.port) return false
  // The proxy's own ports have no service in their names.
  if (context === 'SIDECAR_INBOUND') return true
  return (service === '' || service === parts.host) && (subset === '' || subset === parts.subset)
}

const clusterType = 'envoy.config.cluster.v3.Cluster'
const socketType = 'envoy.config.core.v3.TransportSocket'

/**
 * Clusters of the mesh choose among transport sockets by endpoint: a patch of the transport socket is for
 * the one of its name, and would change nothing anywhere else.
 */
function mergeCluster(patcher: Patcher, cluster: Cluster, patch: Patch): Cluster {
  const value = valueOf<Cluster>(patch)
  const socket = value?.transportSocket
  const isMatched = cluster.transportSocketMatches.some(
    ({ transportSocket }) => socket !== undefined && transportSocket?.name === socket.name,
  )
  if (value === undefined || socket === undefined || !isMatched) {
    return merge(patcher, clusterType, cluster, patch)
  }
  const { transportSocket: _, ...rest } = value
  const { operation } = patch
  const merged = merge(patcher, clusterType, cluster, { operation, value: rest })
  for (const one of merged.transportSocketMatches) {
    if (one.transportSocket?.name !== socket.name) continue
    const part = { operation, value: socket }
    one.transportSocket = merge(patcher, socketType, one.transportSocket, part)
  }
  return merged
}
