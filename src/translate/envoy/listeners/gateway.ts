/** The listeners of gateways, and their route tables. */
import { listener as api, listenerComponents, sniCluster, tcpProxy } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { blackHoleCluster } from '../clusters/names.ts'
import { compareSpecificity, covers, intersectHosts } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import { istioMetadata } from '../metadata.ts'
import { networkFilter } from '../policies/filters.ts'
import { viewKey } from '../proxy.ts'
import { encodeRoutes } from '../routes/emit.ts'
import { gatewayApiHosts, gatewayHosts, nowhere, usedClusters } from '../routes/gateway.ts'
import type { VirtualHost } from '../routes/ir.ts'
import { withPeerHeader } from '../routes/peer-headers.ts'
import {
  type StreamRule,
  streamRouteRules,
  virtualTcpRules,
  virtualTlsRules,
} from '../routes/streams.ts'
import { listenerAccessLogs } from '../telemetry/access-log.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { clusterUnit, type Made, neededUnits, type Unit, type UnitContext } from '../unit.ts'
import { duration, socketAddress } from '../values.ts'
import { apiServers } from './api-gateway.ts'
import {
  bindAddress,
  cidrRange,
  encodeListener,
  type FilterChain,
  isNowhere,
  type ListenerContext,
  Needs,
  outbound,
  proxyProtocolFilter,
  tlsInspectorFilter,
  usableServerNames,
  wildcardAddress,
} from './build.ts'
import { downstreamSocket } from './downstream-tls.ts'
import {
  type GatewayServer,
  type JoinedServers,
  joinServers,
  listenerName,
  type PortServers,
  plainRouteName,
} from './gateway-server.ts'
import { httpManager } from './http-manager.ts'
import { istioServers } from './istio-gateway.ts'
import { RecordedKeySets } from './key-sets.ts'
import { passthroughUnits } from './sni-clusters.ts'
import { ruleProxy } from './tcp.ts'

/** How long a client may take for its TLS handshake. */
const handshakeTimeoutMs = 15_000

export function gatewayServers({ reader, view }: Scope): JoinedServers {
  return reader.memo(`gateway-servers/${viewKey(view)}`, (inner) => {
    const istio = istioServers(inner, view)
    const written = apiServers(inner, view)
    const joined = joinServers([...written.servers, ...istio.servers])
    return {
      ports: joined.ports,
      problems: [...istio.problems, ...written.problems, ...joined.problems],
    }
  })
}

/** All listeners and route tables; which there are depends on the servers alone. */
export function gatewayUnits(scope: Scope): Unit[] {
  return gatewayServers(scope).ports.flatMap((group) => {
    const key = `${group.bind}|${group.port}`
    return [listenerUnit(key), ...routeNames(group).map((name) => routeUnit(key, name))]
  })
}

function routeNames(group: PortServers): string[] {
  if (group.kind === 'http') return [plainRouteName(group)]
  return group.servers.filter(({ isHttp }) => isHttp).map(({ routeName }) => routeName)
}

const nothing: Made = { resources: [], units: [], problems: [] }

/** Whose servers a route table is for. */
export function routeOwners(scope: Scope, name: string): { gateway: string; portName: string }[] {
  return gatewayServers(scope)
    .ports.filter((group) => routeNames(group).includes(name))
    .flatMap(({ kind, servers }) =>
      servers.filter(({ routeName }) => kind === 'http' || routeName === name),
    )
    .map(({ owner: gateway, portName }) => ({ gateway, portName }))
}

function groupOf(scope: Scope, key: string): PortServers | undefined {
  return gatewayServers(scope).ports.find(({ bind, port }) => `${bind}|${port}` === key)
}

function listenerUnit(key: string): Unit {
  return {
    key: `listener|${key}`,
    make: (context) => {
      const group = groupOf(context.scope, key)
      return group === undefined ? nothing : listenerOf(context, group)
    },
  }
}

function listenerOf({ scope, keySets }: UnitContext, group: PortServers): Made {
  const { reader, view } = scope
  const needs = new Needs()
  const context = { needs, keySets: new RecordedKeySets(reader, keySets) }
  const chains = chainsOf(context, scope, group)
  const units = neededUnits(needs)
  if (group.servers.some(({ security }) => security.kind === 'auto-passthrough')) {
    units.push(...passthroughUnits(scope))
  }
  // Envoy refuses a listener without chains, and a port without any route refuses its clients.
  if (chains.length === 0) return { resources: [], units, problems: needs.problems }
  const [family = 'ipv4', second] = view.ipFamilies
  const any = wildcardAddress(family)
  const name = listenerName(group, any)
  const logs = listenerAccessLogs(reader, targetOf(scope))
  needs.add(logs)
  const [first] = group.servers
  const listener = encodeListener(
    create(api.ListenerSchema, {
      name,
      address: bindAddress(group.bind === '' ? any : group.bind, group.port),
      additionalAddresses:
        second === undefined || group.bind !== ''
          ? []
          : [
              create(api.AdditionalAddressSchema, {
                address: socketAddress(wildcardAddress(second), group.port),
              }),
            ],
      trafficDirection: outbound,
      listenerFilters: [
        ...(reader.mesh().defaultConfig.gatewayTopology?.proxyProtocol === undefined
          ? []
          : [proxyProtocolFilter()]),
        ...(group.kind === 'tls' ? [tlsInspectorFilter()] : []),
      ],
      accessLog: [...logs.logs],
      filterChains: chains,
      ...(first === undefined ? {} : { metadata: istioMetadata(first.config, first.path) }),
    }),
  )
  return { resources: [listener, ...needs.extensions.values()], units, problems: needs.problems }
}

function targetOf({ view }: Scope): TelemetryTarget {
  return { proxy: view, side: 'CLIENT' }
}

function chainsOf(context: ListenerContext, scope: Scope, group: PortServers): FilterChain[] {
  const [first] = group.servers
  if (first === undefined) return []
  if (group.kind === 'http') {
    return [chain('', {}, first, [manager(context, scope, first, plainRouteName(group))])]
  }
  if (group.kind === 'tcp') {
    const rules = group.servers.flatMap((server) => streamRules(scope, server))
    return streamChains(context, scope, first, rules)
  }
  return unique(group.servers.flatMap((server) => tlsChains(context, scope, server)))
}

function manager(
  context: ListenerContext,
  scope: Scope,
  server: GatewayServer,
  routeName: string,
): FilterChain['filters'][number] {
  const any = wildcardAddress(scope.view.ipFamilies[0] ?? 'ipv4')
  return httpManager(context, {
    role: 'gateway',
    scope,
    target: targetOf(scope),
    port: server.port,
    statPrefix: `outbound_${listenerName(server, any)}`,
    routeName,
    declared: server.declared,
  })
}

function tlsChains(context: ListenerContext, scope: Scope, server: GatewayServer): FilterChain[] {
  const { security, isHttp } = server
  if (security.kind === 'passthrough') {
    const rules = streamRules(scope, server)
    return rules.flatMap((rule) => {
      const names = namesOf(server, rule)
      return names.length === 0 ? [] : [ruleChain(context, scope, server, { rule, names })]
    })
  }
  if (security.kind === 'auto-passthrough') return [autoPassthrough(server)]
  if (security.kind === 'none') return []
  const socket = downstreamSocket(context.needs, security.tls, {
    alpn: isHttp ? ['h2', 'http/1.1'] : [],
    defaults: scope.reader.mesh().tlsDefaults,
  })
  const secured = (made: FilterChain): FilterChain => ({
    ...made,
    transportSocket: socket,
    transportSocketConnectTimeout: duration(handshakeTimeoutMs),
  })
  if (isHttp) {
    return [
      secured(
        chain(server.routeName, serverNames(server.hosts), server, [
          manager(context, scope, server, server.routeName),
        ]),
      ),
    ]
  }
  // Inside TLS that ended here there is no server name any more: a route for any name does.
  const rules = streamRules(scope, server).map((rule) => ({
    rule,
    names: namesOf(server, rule),
  }))
  return rules
    .filter(({ names }) => names.length > 0)
    .map((one) => secured(ruleChain(context, scope, server, one)))
}

function namesOf({ hosts }: GatewayServer, { sniHosts }: StreamRule): string[] {
  const names = sniHosts.length === 0 ? hosts : intersectHosts(hosts, sniHosts)
  return usableServerNames(names)
}

function serverNames(hosts: readonly string[]): { serverNames?: string[] } {
  const named = hosts.includes('*') ? [] : usableServerNames(hosts)
  return named.length === 0 ? {} : { serverNames: named }
}

function chain(
  name: string,
  match: { readonly serverNames?: string[]; readonly prefixRanges?: FilterChainRanges },
  from: { readonly config: string; readonly path: string },
  filters: FilterChain['filters'],
): FilterChain {
  const hasMatch = Object.keys(match).length > 0
  return create(listenerComponents.FilterChainSchema, {
    name,
    ...(hasMatch
      ? { filterChainMatch: create(listenerComponents.FilterChainMatchSchema, match) }
      : {}),
    filters,
    metadata: istioMetadata(from.config, from.path),
  })
}

type FilterChainRanges = NonNullable<FilterChain['filterChainMatch']>['prefixRanges']

/** What VirtualServices, or the attached routes, say about connections. */
function streamRules(scope: Scope, server: GatewayServer): StreamRule[] {
  return writtenRules(scope, server).filter((rule) => !isNowhere(rule))
}

function writtenRules(scope: Scope, server: GatewayServer): StreamRule[] {
  const { routing, servicePort: port, security } = server
  if (routing.api === 'gateway') {
    const context = { scope, port, gateway: '' }
    return routing.streams.flatMap(({ object, hostnames }) =>
      streamRouteRules(context, object, hostnames),
    )
  }
  const context = { scope, port, gateway: routing.server.gateway }
  return scope.virtualServices(routing.server.gateway).flatMap((virtual) => {
    const admitted = hostsAdmitted(routing.server, virtual.namespace)
    if (intersectHosts(admitted, virtual.hosts).length === 0) return []
    return security.kind === 'passthrough'
      ? virtualTlsRules(context, virtual)
      : virtualTcpRules(context, virtual)
  })
}

function hostsAdmitted(
  { gateway, hosts }: { readonly gateway: string; readonly hosts: readonly string[] },
  namespace: string,
): string[] {
  const own = gateway.slice(0, gateway.indexOf('/'))
  return hosts.flatMap((entry) => {
    const slash = entry.indexOf('/')
    const from = slash < 0 ? '*' : entry.slice(0, slash)
    const admits = from === '*' || from === namespace || (from === '.' && own === namespace)
    return admits ? [entry.slice(slash + 1)] : []
  })
}

function streamChains(
  context: ListenerContext,
  scope: Scope,
  server: GatewayServer,
  rules: readonly StreamRule[],
): FilterChain[] {
  return unique(rules.map((rule) => ruleChain(context, scope, server, { rule, names: ['*'] })))
}

function ruleChain(
  context: ListenerContext,
  scope: Scope,
  server: GatewayServer,
  { rule, names }: { readonly rule: StreamRule; readonly names: readonly string[] },
): FilterChain {
  for (const { cluster } of rule.targets) {
    if (cluster !== undefined) context.needs.add({ clusters: [cluster] })
  }
  const prefixRanges = rule.destinationSubnets.flatMap((text) => {
    const range = cidrRange(text)
    return range === undefined
      ? []
      : [{ $typeName: 'envoy.config.core.v3.CidrRange' as const, ...range }]
  })
  const statPrefix = rule.targets[0]?.cluster?.name ?? blackHoleCluster
  const options = { scope, target: targetOf(scope), port: server.port, authorizes: true }
  return chain(
    '',
    { ...serverNames(names), ...(prefixRanges.length === 0 ? {} : { prefixRanges }) },
    rule,
    ruleProxy(context, { ...options, rule, statPrefix }),
  )
}

/** East-west traffic of the mesh: the server name is a cluster's, what is inside stays closed. */
function autoPassthrough(server: GatewayServer): FilterChain {
  const proxy = create(tcpProxy.TcpProxySchema, {
    statPrefix: blackHoleCluster,
    clusterSpecifier: { case: 'cluster', value: blackHoleCluster },
  })
  return chain('', serverNames(server.hosts), server, [
    networkFilter(
      'envoy.filters.network.sni_cluster',
      sniCluster.SniClusterSchema,
      create(sniCluster.SniClusterSchema),
    ),
    networkFilter('envoy.filters.network.tcp_proxy', tcpProxy.TcpProxySchema, proxy),
  ])
}

/** Envoy refuses two chains with one match: of server names that are taken the rest stays. */
function unique(chains: readonly FilterChain[]): FilterChain[] {
  const taken = new Set<string>()
  return chains.flatMap((made) => {
    const { serverNames: names = [], prefixRanges = [] } = made.filterChainMatch ?? {}
    const ranges = prefixRanges.map(
      ({ addressPrefix, prefixLen = 0 }) => `${addressPrefix}/${prefixLen}`,
    )
    const place = ranges.toSorted().join(',')
    const free = (names.length === 0 ? ['*'] : names).filter(
      (name) => !taken.has(`${name}|${place}`),
    )
    for (const name of free) taken.add(`${name}|${place}`)
    if (free.length === 0) return []
    if (made.filterChainMatch === undefined || names.length === free.length) return [made]
    return [
      {
        ...made,
        filterChainMatch: {
          ...made.filterChainMatch,
          serverNames: serverNames(free).serverNames ?? [],
        },
      },
    ]
  })
}

function routeUnit(key: string, name: string): Unit {
  return {
    key: `route|${name}`,
    make: ({ scope }) => {
      const group = groupOf(scope, key)
      if (group === undefined) return nothing
      const servers =
        group.kind === 'http'
          ? group.servers
          : group.servers.filter((one) => one.routeName === name)
      const hosts = hostsOf(scope, servers)
      return {
        resources: [encodeRoutes(name, withPeerHeader(scope, hosts))],
        units: usedClusters(hosts).map(clusterUnit),
        problems: [],
      }
    },
  }
}

/** Of both APIs; a host that both have belongs to Gateway API. */
function hostsOf(scope: Scope, servers: readonly GatewayServer[]): VirtualHost[] {
  const [first] = servers
  const port = first?.servicePort ?? 0
  const attached = servers.flatMap(({ routing }) => (routing.api === 'gateway' ? routing.http : []))
  const istio = servers.flatMap(({ routing }) => (routing.api === 'istio' ? [routing.server] : []))
  const found = attached.length === 0 ? [] : gatewayApiHosts({ scope, port, attached })
  const known = new Set(found.flatMap(({ domains }) => domains))
  if (istio.length > 0) {
    for (const host of gatewayHosts({ scope, name: '', port, servers: istio })) {
      const isFree = host.domains.every((domain) => !known.has(domain))
      if (isFree && (host.rules.length > 0 || host.requireTls)) found.push(host)
      for (const domain of host.domains) known.add(domain)
    }
  }
  // A listener without routes keeps its name to itself: a wider one does not answer for it.
  for (const { routing, hosts } of servers) {
    if (routing.api !== 'gateway') continue
    for (const host of hosts) {
      const wider = [...known].some((other) => other !== host && covers(other, host))
      if (known.has(host) || !wider) continue
      known.add(host)
      found.push({ ...nowhere(port), name: `${host}:${port}`, domains: [host] })
    }
  }
  if (found.length === 0) return [nowhere(port)]
  return found.toSorted((left, right) =>
    compareSpecificity(left.domains[0] ?? '*', right.domains[0] ?? '*'),
  )
}
