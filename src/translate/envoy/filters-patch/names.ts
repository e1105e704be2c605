/** Names by which patches mean filters, and what is behind a resource's name. */

/** Names from before Envoy's filters had full ones; old patches still use them. */
const formerNames: Readonly<Record<string, string>> = {
  'envoy.buffer': 'envoy.filters.http.buffer',
  'envoy.client_ssl_auth': 'envoy.filters.network.client_ssl_auth',
  'envoy.cors': 'envoy.filters.http.cors',
  'envoy.echo': 'envoy.filters.network.echo',
  'envoy.ext_authz': 'envoy.filters.http.ext_authz',
  'envoy.fault': 'envoy.filters.http.fault',
  'envoy.grpc_http1_bridge': 'envoy.filters.http.grpc_http1_bridge',
  'envoy.grpc_json_transcoder': 'envoy.filters.http.grpc_json_transcoder',
  'envoy.grpc_web': 'envoy.filters.http.grpc_web',
  'envoy.gzip': 'envoy.filters.http.gzip',
  'envoy.health_check': 'envoy.filters.http.health_check',
  'envoy.http_connection_manager': 'envoy.filters.network.http_connection_manager',
  'envoy.ip_tagging': 'envoy.filters.http.ip_tagging',
  'envoy.listener.http_inspector': 'envoy.filters.listener.http_inspector',
  'envoy.listener.original_dst': 'envoy.filters.listener.original_dst',
  'envoy.listener.original_src': 'envoy.filters.listener.original_src',
  'envoy.listener.proxy_protocol': 'envoy.filters.listener.proxy_protocol',
  'envoy.listener.tls_inspector': 'envoy.filters.listener.tls_inspector',
  'envoy.lua': 'envoy.filters.http.lua',
  'envoy.mongo_proxy': 'envoy.filters.network.mongo_proxy',
  'envoy.rate_limit': 'envoy.filters.http.ratelimit',
  'envoy.ratelimit': 'envoy.filters.network.ratelimit',
  'envoy.redis_proxy': 'envoy.filters.network.redis_proxy',
  'envoy.router': 'envoy.filters.http.router',
  'envoy.squash': 'envoy.filters.http.squash',
  'envoy.tcp_proxy': 'envoy.filters.network.tcp_proxy',
}

export const managerName = 'envoy.filters.network.http_connection_manager'

/** Undefined: none is named. */
export function namedFilter<T extends { readonly name: string }>(
  name: string | undefined,
): ((filter: T) => boolean) | undefined {
  if (name === undefined || name === '') return undefined
  const full = Object.hasOwn(formerNames, name) ? formerNames[name] : name
  return (filter) => filter.name === full
}

export interface ClusterParts {
  readonly direction: 'inbound' | 'outbound'
  readonly port: number
  readonly subset: string
  readonly host: string
}

/** Undefined for clusters that stand for no service. */
export function clusterParts(name: string): ClusterParts | undefined {
  const [kind, port = '', subset = '', host = ''] = name.split('|')
  if (kind === 'inbound' || kind === 'outbound') {
    return { direction: kind, port: Number(port), subset, host }
  }
  if (kind !== 'inbound-vip') return undefined
  return { direction: 'inbound', port: Number(port), subset: subset.split('/')[1] ?? '', host }
}

/** The port in the name of a route configuration; 0 for those without. */
export function routePort(name: string): number {
  if (name.includes('|')) return clusterParts(name)?.port ?? 0
  if (/^https?\./.test(name)) return Number(name.split('.')[1]) || 0
  return Number(name.slice(name.lastIndexOf(':') + 1)) || 0
}
