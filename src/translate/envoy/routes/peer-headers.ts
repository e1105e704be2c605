/**
 * What a proxy says about itself goes along with requests to the mesh, so that the other end can name its
 * peer in metrics and logs. Requests that may leave the mesh don't carry it.
 */
import type { ClusterRef } from '../clusters/names.ts'
import type { Scope } from '../lookup/scope.ts'
import { peerHeader } from '../telemetry/peer.ts'
import { clustersOf, type VirtualHost } from './ir.ts'

export function withPeerHeader(scope: Scope, hosts: readonly VirtualHost[]): VirtualHost[] {
  const requestHeaders = [peerHeader(scope.view)]
  return hosts.map((host) => (staysInMesh(scope, host) ? { ...host, requestHeaders } : host))
}

export function staysInMesh(scope: Scope, { rules }: VirtualHost): boolean {
  const clusters = [...clustersOf(rules).values()]
  return clusters.length > 0 && clusters.every((cluster) => isInMesh(scope, cluster))
}

function isInMesh({ reader }: Scope, { service }: ClusterRef): boolean {
  return service !== '' && reader.service(service)?.location === 'internal'
}
