/** Names of clusters: what routes, statistics and people use to speak of them. */

/** A port of a service, perhaps narrowed to a subset, as one of its clusters. */
export interface ClusterRef {
  readonly name: string
  /** `<namespace>/<hostname>` */
  readonly service: string
  readonly port: number
  /** Empty: all endpoints. */
  readonly subset: string
}

export const passthroughCluster = 'PassthroughCluster'
export const blackHoleCluster = 'BlackHoleCluster'
export const inboundPassthroughCluster = 'InboundPassthroughCluster'
/** Backends that do not exist: no cluster has the name, so requests are answered with an error. */
export const unknownService = 'UnknownService'

/** The internal listener that tunnels to ambient workloads; its cluster has the same name. */
export const connectOriginate = 'connect_originate'

export function clusterName(hostname: string, port: number, subset = ''): string {
  return `outbound|${port}|${subset}|${hostname}`
}

export function outboundRef(
  service: { readonly namespace: string; readonly hostname: string },
  port: number,
  subset = '',
): ClusterRef {
  const { namespace, hostname } = service
  return {
    name: clusterName(hostname, port, subset),
    service: `${namespace}/${hostname}`,
    port,
    subset,
  }
}

/** A waypoint's cluster for a service that it serves. */
export function waypointRef(
  service: { readonly namespace: string; readonly hostname: string },
  port: number,
  protocol: 'http' | 'tcp',
  subset = '',
): ClusterRef {
  const { namespace, hostname } = service
  const part = subset === '' ? protocol : `${protocol}/${subset}`
  return {
    name: `inbound-vip|${port}|${part}|${hostname}`,
    service: `${namespace}/${hostname}`,
    port,
    subset,
  }
}

export function inboundClusterName(port: number): string {
  return `inbound|${port}||`
}

/** What AUTO_PASSTHROUGH gateways take from the server name: no character that SNI forbids. */
export function sniOf(hostname: string, port: number, subset = ''): string {
  return `outbound_.${port}_.${subset}_.${hostname}`
}
