/**
 * The internal listener of a waypoint: every service that it serves is a filter chain for each of its ports,
 * chosen by the address and port the client meant. Policies, faults and telemetry are those of the service.
 */
import type { Service, ServicePort } from '../../../model/index.ts'
import { listener as api, listenerComponents, networkSetFilterState } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { servicePath } from '../../provenance.ts'
import { waypointRef } from '../clusters/names.ts'
import type { Scope } from '../lookup/scope.ts'
import { scopeOf } from '../lookup/sidecar-scope.ts'
import { istioMetadata } from '../metadata.ts'
import { networkFilter } from '../policies/filters.ts'
import { originalDestinationKey, shared } from '../policies/identity.ts'
import { viewKey } from '../proxy.ts'
import type { RouteContext } from '../routes/context.ts'
import { encodeRoutes } from '../routes/emit.ts'
import { clustersOf } from '../routes/ir.ts'
import {
  type StreamRule,
  serviceStream,
  streamRouteRules,
  virtualTcpRules,
  virtualTlsRules,
} from '../routes/streams.ts'
import { waypointHost, waypointVirtuals } from '../routes/waypoint.ts'
import { listenerAccessLogs } from '../telemetry/access-log.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { clusterUnit, neededUnits, type Unit, type UnitContext } from '../unit.ts'
import {
  encodeListener,
  type FilterChain,
  httpInspectorFilter,
  inbound,
  isNowhere,
  type ListenerContext,
  Needs,
  originalDestinationFilter,
  tlsInspectorFilter,
} from './build.ts'
import { mainInternal } from './hbone.ts'
import { httpManager } from './http-manager.ts'
import { RecordedKeySets } from './key-sets.ts'
import {
  byAddress,
  byPort,
  byServerName,
  bySniffing,
  type OnMatch,
  toChain,
  toMatcher,
} from './matchers.ts'
import { passHost } from './pass-host.ts'
import { isDynamic, sniffs, speaksHttp } from './protocols.ts'
import { clusterProxy, ruleProxy } from './tcp.ts'
import { servedKeys, waypointTraffic } from './waypoint-services.ts'

/** The cluster for connections to workloads that were addressed by their own address. */
export const encapCluster = 'encap'
const directHttp = 'direct-http'
const directTcp = 'direct-tcp'

/** A port of a service with the chains for it. */
interface PortChains {
  readonly chains: readonly FilterChain[]
  readonly onMatch: OnMatch
  readonly needsServerName: boolean
  readonly needs: Needs
}

export function servedServices(scope: Scope): readonly Service[] {
  const found = new Map<string, Service>()
  // Chains are named by host, so of two services with one host name the first is served.
  for (const service of waypointTraffic(scope.reader, scope.view).services) {
    if (!found.has(service.hostname)) found.set(service.hostname, service)
  }
  return [...found.values()]
}

function tcpPorts(service: Service): readonly ServicePort[] {
  return service.ports.filter(({ protocol }) => protocol === 'TCP')
}

export const mainInternalUnit: Unit = {
  key: `listener|${mainInternal}`,
  make: ({ scope, keySets }) => {
    const { reader, view } = scope
    const needs = new Needs()
    const chains: FilterChain[] = []
    const byRange = new Map<string, Map<number, OnMatch>>()
    let needsServerName = false
    for (const service of servedServices(scope)) {
      for (const port of tcpPorts(service)) {
        // One port's chains outlive changes to all others: only what was touched is made again.
        const key = `waypoint-chains/${viewKey(view)}/${service.namespace}/${service.hostname}/${port.port}`
        const made = reader.memo(key, (inner) => {
          const own = scopeOf(inner, view)
          return portChains(own, service, port, new RecordedKeySets(inner, keySets))
        })
        chains.push(...made.chains)
        needs.join(made.needs)
        needsServerName ||= made.needsServerName
        for (const address of service.addresses) {
          const ports = byRange.get(address) ?? new Map<number, OnMatch>()
          byRange.set(address, ports)
          if (!ports.has(port.port)) ports.set(port.port, made.onMatch)
        }
      }
    }
    const direct = waypointTraffic(reader, view).workloads
    if (direct)
      chains.push(...directChains(scope, { needs, keySets: new RecordedKeySets(reader, keySets) }))
    const target: TelemetryTarget = { proxy: view, side: 'SERVER' }
    const logs = listenerAccessLogs(reader, target)
    needs.add(logs)
    const ranges = new Map([...byRange].map(([range, ports]) => [range, toMatcher(byPort(ports))]))
    const otherwise = direct ? toMatcher(bySniffing(directHttp, toChain(directTcp))) : undefined
    const matcher =
      byAddress(ranges, otherwise) ??
      (direct ? bySniffing(directHttp, toChain(directTcp)) : undefined)
    // Without anything to serve the listener still exists: the tunnel's end leads to it.
    const filterChains = matcher === undefined ? [closed(scope, needs)] : chains
    const listener = encodeListener(
      create(api.ListenerSchema, {
        name: mainInternal,
        listenerSpecifier: {
          case: 'internalListener',
          value: create(api.Listener_InternalListenerConfigSchema),
        },
        trafficDirection: inbound,
        listenerFilters: [
          originalDestinationFilter(),
          ...(needsServerName ? [tlsInspectorFilter()] : []),
          httpInspectorFilter(),
        ],
        accessLog: [...logs.logs],
        filterChains,
        ...(matcher === undefined ? {} : { filterChainMatcher: matcher }),
      }),
    )
    return {
      resources: [listener, ...needs.extensions.values()],
      units: neededUnits(needs),
      problems: needs.problems,
    }
  },
}

function portChains(
  scope: Scope,
  service: Service,
  port: ServicePort,
  keySets: RecordedKeySets,
): PortChains {
  const needs = new Needs()
  const context: ListenerContext = { needs, keySets }
  const target: TelemetryTarget = { proxy: scope.view, service, side: 'SERVER' }
  const metadata = istioMetadata(servicePath(service), `/spec/ports/${service.ports.indexOf(port)}`)
  const chains: FilterChain[] = []
  const add = (name: string, filters: FilterChain['filters'], from = metadata): void => {
    chains.push(create(listenerComponents.FilterChainSchema, { name, filters, metadata: from }))
  }
  const httpName = waypointRef(service, port.port, 'http').name
  if (speaksHttp(port) || sniffs(port)) {
    const manager = httpManager(context, {
      role: 'waypoint',
      scope,
      target,
      port: port.port,
      statPrefix: httpName,
      routeName: httpName,
      declared: port.declared,
      dynamicDns: isDynamic(service),
    })
    add(httpName, [manager])
  }
  if (speaksHttp(port)) return { chains, needs, onMatch: toChain(httpName), needsServerName: false }
  const stream = streamChains(context, { scope, service, port, target, add })
  return {
    chains,
    needs,
    needsServerName: stream.needsServerName,
    onMatch: sniffs(port) ? toMatcher(bySniffing(httpName, stream.onMatch)) : stream.onMatch,
  }
}

interface StreamOptions {
  readonly scope: Scope
  readonly service: Service
  readonly port: ServicePort
  readonly target: TelemetryTarget
  add(
    name: string,
    filters: FilterChain['filters'],
    metadata?: ReturnType<typeof istioMetadata>,
  ): void
}

/** What is not HTTP: TLS by its server name where rules ask for it, the rest by the first TCP rule. */
function streamChains(
  context: ListenerContext,
  { scope, service, port, target, add }: StreamOptions,
): { readonly onMatch: OnMatch; readonly needsServerName: boolean } {
  const { name } = waypointRef(service, port.port, 'tcp')
  const routing = streamContext(scope, port.port)
  const rules = streamRules(routing, service)
  const filters = (rule: StreamRule): FilterChain['filters'] => {
    for (const { cluster } of rule.targets)
      if (cluster !== undefined) context.needs.add({ clusters: [cluster] })
    const options = { scope, target, port: port.port, authorizes: true }
    return ruleProxy(context, { ...options, rule, statPrefix: name })
  }
  const plain =
    rules.find(({ sniHosts }) => sniHosts.length === 0) ?? serviceStream(routing, service)
  add(name, filters(plain), istioMetadata(plain.config, plain.path))
  const named: (readonly [string, string])[] = []
  for (const rule of rules) {
    for (const host of rule.sniHosts) {
      if (named.some(([known]) => known === host)) continue
      const chain = `${name}/${host}`
      named.push([host, chain])
      add(chain, filters(rule), istioMetadata(rule.config, rule.path))
    }
  }
  return {
    needsServerName: named.length > 0,
    onMatch: named.length === 0 ? toChain(name) : toMatcher(byServerName(named, toChain(name))),
  }
}

function streamContext(scope: Scope, port: number): RouteContext {
  const served = servedKeys(scope.reader, scope.view)
  return {
    scope,
    port,
    gateway: 'mesh',
    refOf: (target, number, subset) =>
      served.has(`${target.namespace}/${target.hostname}`)
        ? waypointRef(target, number, 'tcp', subset)
        : undefined,
  }
}

function streamRules(context: RouteContext, service: Service): StreamRule[] {
  const { scope } = context
  const virtuals = waypointVirtuals(scope, service)
  return [
    ...virtuals.flatMap((virtual) => virtualTlsRules(context, virtual)),
    ...parentStreams(context, service),
    ...virtuals.flatMap((virtual) => virtualTcpRules(context, virtual)),
  ].filter((rule) => !isNowhere(rule))
}

/** TLSRoutes and TCPRoutes of the service's namespace whose parent it is. */
export function parentStreams(context: RouteContext, service: Service): StreamRule[] {
  const { reader } = context.scope
  const { source, namespace, name } = service
  const names = reader.routesOfParent(`${source}|${namespace}/${name}`)
  return names.flatMap((route): StreamRule[] => {
    const [kind, routeNamespace = '', routeName = ''] = route.split('/')
    if (routeNamespace !== namespace) return []
    if (kind === 'TLSRoute') {
      const object = reader.config('TLSRoute', routeNamespace, routeName)
      return object === undefined
        ? []
        : streamRouteRules(context, object, object.spec.hostnames ?? [])
    }
    if (kind !== 'TCPRoute') return []
    const object = reader.config('TCPRoute', routeNamespace, routeName)
    return object === undefined ? [] : streamRouteRules(context, object, [])
  })
}

/** For addresses of workloads: whatever it is goes on to the address the client meant. */
function directChains(scope: Scope, context: ListenerContext): FilterChain[] {
  const target: TelemetryTarget = { proxy: scope.view, side: 'SERVER' }
  const restore = networkFilter(
    'connect_authority',
    networkSetFilterState.ConfigSchema,
    create(networkSetFilterState.ConfigSchema, {
      onNewConnection: [shared(originalDestinationKey, '%DOWNSTREAM_LOCAL_ADDRESS%', '')],
    }),
  )
  const options = { scope, target, authorizes: true }
  const manager = httpManager(context, {
    role: 'waypoint',
    scope,
    target,
    statPrefix: directHttp,
    routeName: encapCluster,
  })
  const chain = (name: string, filters: FilterChain['filters']): FilterChain =>
    create(listenerComponents.FilterChainSchema, { name, filters })
  return [
    chain(directTcp, [restore, ...clusterProxy(context, { ...options, cluster: encapCluster })]),
    chain(directHttp, [restore, manager]),
  ]
}

function closed(scope: Scope, needs: Needs): FilterChain {
  const context = { needs, keySets: new Map<string, string>() }
  const target: TelemetryTarget = { proxy: scope.view, side: 'SERVER' }
  return create(listenerComponents.FilterChainSchema, {
    name: 'BlackHoleCluster',
    filters: clusterProxy(context, {
      scope,
      target,
      authorizes: false,
      cluster: 'BlackHoleCluster',
    }),
  })
}

/** Route tables, and the clusters that they lead to. */
export function waypointRouteUnits(scope: Scope): Unit[] {
  return servedServices(scope).flatMap((service) =>
    tcpPorts(service)
      .filter((port) => speaksHttp(port) || sniffs(port))
      .map(({ port }) => routeUnit(service, port)),
  )
}

function routeUnit({ namespace, hostname }: Service, port: number): Unit {
  const key = `${namespace}/${hostname}`
  return {
    key: `route|${port}|${key}`,
    make: ({ scope }: UnitContext) => {
      const { reader, view } = scope
      const service = reader.service(key)
      if (service === undefined) return { resources: [], units: [], problems: [] }
      const served = servedKeys(reader, view)
      const host = waypointHost({
        scope,
        service,
        port,
        serves: (other) => served.has(`${other.namespace}/${other.hostname}`),
      })
      const { name } = waypointRef(service, port, 'http')
      return {
        resources: [encodeRoutes(name, [host])],
        units: [...clustersOf(host.rules).values()].map(clusterUnit),
        problems: [],
      }
    },
  }
}

/** The route table of `direct-http`. */
export function directRoutes(): ReturnType<typeof encodeRoutes> {
  return encodeRoutes(encapCluster, [passHost('inbound|http|0', encapCluster)])
}
