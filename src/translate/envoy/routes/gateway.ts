/** Route tables of gateways: the rules of all objects for a host, on the servers that admit them. */
import type { ConfigObject, GRPCRouteSpec, HttpRoute } from '../../../model/index.ts'
import type { TranslatedResource } from '../../types.ts'
import type { ClusterRef } from '../clusters/names.ts'
import { compareSpecificity, intersectHosts } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import type { VirtualService } from '../lookup/virtual-services.ts'
import type { RouteContext } from './context.ts'
import { encodeRoutes } from './emit.ts'
import { compareRules, gatewayApiRules, type RankedRule } from './gateway-api.ts'
import { clustersOf, type HttpRule, isCatchAll, type VirtualHost } from './ir.ts'
import { withPeerHeader } from './peer-headers.ts'
import { virtualServiceRules } from './virtual-service.ts'

export interface RouteTable {
  readonly resource: TranslatedResource
  /** Every cluster that some rule sends to. */
  readonly clusters: readonly ClusterRef[]
}

/** One server of an Istio Gateway, as far as routing goes. */
export interface HttpServer {
  /** `<namespace>/<name>` of its Gateway. */
  readonly gateway: string
  /** As written: a host, perhaps with a namespace before it (`ns/`, `./` or any: an asterisk). */
  readonly hosts: readonly string[]
  readonly httpsRedirect: boolean
}

export interface GatewayRouteOptions {
  readonly scope: Scope
  /** Name of the resource. */
  readonly name: string
  readonly port: number
  readonly servers: readonly HttpServer[]
}

/** The table of all HTTP servers that share a port. */
export function gatewayRoutes(options: GatewayRouteOptions): RouteTable {
  const hosts = gatewayHosts(options)
  const told = withPeerHeader(options.scope, hosts)
  return { resource: encodeRoutes(options.name, told), clusters: usedClusters(hosts) }
}

interface HostEntry {
  readonly rules: HttpRule[]
  readonly seen: Set<VirtualService>
  config: string | undefined
  redirects: boolean
}

export function gatewayHosts({ scope, port, servers }: GatewayRouteOptions): VirtualHost[] {
  const entries = new Map<string, HostEntry>()
  const entryOf = (host: string, redirects: boolean): HostEntry => {
    const known = entries.get(host)
    if (known !== undefined) return known
    const entry = { rules: [], seen: new Set<VirtualService>(), config: undefined, redirects }
    entries.set(host, entry)
    return entry
  }
  for (const server of servers) {
    const context: RouteContext = { scope, port, gateway: server.gateway }
    for (const virtual of scope.virtualServices(server.gateway)) {
      const admitted = hostsFor(server, virtual.namespace)
      for (const host of intersectHosts(admitted, virtual.hosts)) {
        const entry = entryOf(host, server.httpsRedirect)
        entry.redirects &&= server.httpsRedirect
        if (entry.seen.has(virtual)) continue
        entry.seen.add(virtual)
        entry.rules.push(...virtualServiceRules(context, virtual))
        entry.config ??= virtual.config
      }
    }
    // The redirect is the server's, so it needs no rules behind it.
    if (!server.httpsRedirect) continue
    for (const host of server.hosts) entryOf(host.slice(host.indexOf('/') + 1), true)
  }
  if (entries.size === 0) return [nowhere(port)]
  return [...entries]
    .toSorted(([left], [right]) => compareSpecificity(left, right))
    .map(([host, { rules, config, redirects }]) => ({
      name: `${host}:${port}`,
      domains: [host],
      rules: catchAllsLast(rules),
      config,
      requireTls: redirects,
    }))
}

/** The hosts of a server that objects of a namespace may serve. */
function hostsFor(server: HttpServer, namespace: string): string[] {
  const own = server.gateway.slice(0, server.gateway.indexOf('/'))
  return server.hosts.flatMap((entry) => {
    const slash = entry.indexOf('/')
    const from = slash < 0 ? '*' : entry.slice(0, slash)
    const admits = from === '*' || from === namespace || (from === '.' && own === namespace)
    return admits ? [entry.slice(slash + 1)] : []
  })
}

/** Rules of several objects are joined, so what takes everything must not hide what is behind it. */
function catchAllsLast(rules: readonly HttpRule[]): HttpRule[] {
  const open = rules.filter(({ match }) => isCatchAll(match))
  return [...rules.filter(({ match }) => !isCatchAll(match)), ...open]
}

/** A port without any route answers 404. */
export function nowhere(port: number): VirtualHost {
  return {
    name: `blackhole:${port}`,
    domains: ['*'],
    rules: [],
    config: undefined,
    requireTls: false,
  }
}

/** A route of Gateway API with the hosts it got on some listener. */
export interface AttachedRules {
  readonly route:
    | { readonly kind: 'HTTPRoute'; readonly object: HttpRoute['config'] }
    | { readonly kind: 'GRPCRoute'; readonly object: ConfigObject<GRPCRouteSpec> }
  /** `*` for all. */
  readonly hostnames: readonly string[]
}

export interface GatewayApiRouteOptions {
  readonly scope: Scope
  readonly name: string
  readonly port: number
  readonly attached: readonly AttachedRules[]
}

export function gatewayApiRoutes(options: GatewayApiRouteOptions): RouteTable {
  const hosts = gatewayApiHosts(options)
  const told = withPeerHeader(options.scope, hosts)
  return { resource: encodeRoutes(options.name, told), clusters: usedClusters(hosts) }
}

export function gatewayApiHosts({
  scope,
  port,
  attached,
}: Omit<GatewayApiRouteOptions, 'name'>): VirtualHost[] {
  const context: RouteContext = { scope, port, gateway: '' }
  const byHost = new Map<string, RankedRule[]>()
  for (const { route, hostnames } of attached) {
    const rules = gatewayApiRules(context, route)
    for (const host of new Set(hostnames)) {
      const list = byHost.get(host)
      if (list === undefined) byHost.set(host, [...rules])
      else list.push(...rules)
    }
  }
  return [...byHost]
    .toSorted(([left], [right]) => compareSpecificity(left, right))
    .map(([host, rules]): VirtualHost => {
      const ordered = rules.toSorted(compareRules)
      // All rules of the host in one virtual host; it carries the provenance of the first.
      const config = ordered[0]?.config
      return { name: `${host}:${port}`, domains: [host], rules: ordered, config, requireTls: false }
    })
}

export function usedClusters(hosts: readonly VirtualHost[]): ClusterRef[] {
  return [...clustersOf(hosts.flatMap(({ rules }) => rules)).values()]
}
