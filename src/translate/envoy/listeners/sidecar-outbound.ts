/**
 * What a sidecar does with connections that its workload opens. `virtualOutbound` takes what was captured
 * and hands it to the listener of the address it was meant for: one for each virtual IP of a port that is
 * not HTTP by declaration, one for all addresses of a port otherwise.
 */
import type { Service, ServicePort } from '../../../model/index.ts'
import { listener as api, listenerComponents } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { servicePath } from '../../provenance.ts'
import { blackHoleCluster, type ClusterRef, passthroughCluster } from '../clusters/names.ts'
import { endpointsOf } from '../endpoints/collect.ts'
import { covers } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import { sidecarOf } from '../lookup/sidecar-scope.ts'
import { istioMetadata } from '../metadata.ts'
import { destinationRef, type RouteContext } from '../routes/context.ts'
import { mayBeHttp } from '../routes/sidecar.ts'
import {
  type StreamRule,
  serviceStream,
  virtualTcpRules,
  virtualTlsRules,
} from '../routes/streams.ts'
import { listenerAccessLogs } from '../telemetry/access-log.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { type Made, neededUnits, type Unit, type UnitContext } from '../unit.ts'
import { duration, durationMs, socketAddress } from '../values.ts'
import {
  cidrRange,
  encodeListener,
  type FilterChain,
  httpInspectorFilter,
  isNowhere,
  type ListenerContext,
  Needs,
  outbound,
  plainHttpProtocols,
  tlsInspectorFilter,
  usableServerNames,
  wildcardAddress,
} from './build.ts'
import { httpManager } from './http-manager.ts'
import { RecordedKeySets } from './key-sets.ts'
import { isDynamic, sniffs, speaksHttp } from './protocols.ts'
import { clusterProxy, ruleProxy } from './tcp.ts'
import { parentStreams } from './waypoint.ts'

const nothing: Made = { resources: [], units: [], problems: [] }

export interface UnknownPolicy {
  readonly mode: 'allow' | 'block'
  readonly egressProxy: ClusterRef | undefined
}

/** What happens to destinations nobody knows: the Sidecar's word, else the mesh's. */
export function unknownPolicy(scope: Scope): UnknownPolicy {
  const { reader, view } = scope
  const own = sidecarOf(reader, view)?.spec.outboundTrafficPolicy
  // A Sidecar that has the block but no mode in it means the first of the modes.
  const mode = own === undefined ? reader.mesh().outboundTrafficPolicy.mode : own.mode
  if (mode === 'REGISTRY_ONLY' || mode === undefined)
    return { mode: 'block', egressProxy: undefined }
  const proxy = own?.egressProxy
  const context: RouteContext = { scope, port: proxy?.port?.number ?? 0, gateway: 'mesh' }
  const egressProxy =
    proxy === undefined ? undefined : destinationRef(context, proxy, view.namespace)
  return { mode: 'allow', egressProxy }
}

function targetOf({ view }: Scope): TelemetryTarget {
  return { proxy: view, side: 'CLIENT' }
}

export const virtualOutboundUnit: Unit = {
  key: 'listener|virtualOutbound',
  make: (context) => {
    const { scope } = context
    const { reader, view } = scope
    if (view.interception === 'NONE') return nothing
    const port = reader.mesh().proxyListenPort
    return wholeListener(context, (building) => ({
      name: 'virtualOutbound',
      address: socketAddress(anyAddress(scope), port),
      additionalAddresses: view.ipFamilies.slice(1).map((family) =>
        create(api.AdditionalAddressSchema, {
          address: socketAddress(wildcardAddress(family), port),
        }),
      ),
      useOriginalDst: true,
      transparent: view.interception === 'TPROXY',
      filterChains: [ownPort(building, scope, 'virtualOutbound-blackhole', port)],
      defaultFilterChain: unknownChain(building, scope, 'virtualOutbound-catchall-tcp'),
    }))
  },
}

/** Connections to the proxy's own port would come back to it for ever. */
export function ownPort(
  context: ListenerContext,
  scope: Scope,
  name: string,
  port: number,
): FilterChain {
  const options = { scope, target: targetOf(scope), authorizes: false, cluster: blackHoleCluster }
  return create(listenerComponents.FilterChainSchema, {
    name,
    filterChainMatch: create(listenerComponents.FilterChainMatchSchema, { destinationPort: port }),
    filters: clusterProxy(context, options),
  })
}

function anyAddress({ view }: Scope): string {
  return wildcardAddress(view.ipFamilies[0] ?? 'ipv4')
}

function unknownChain(context: ListenerContext, scope: Scope, name: string): FilterChain {
  return create(listenerComponents.FilterChainSchema, { name, filters: openProxy(context, scope) })
}

/** For destinations nobody knows. */
export function openProxy(context: ListenerContext, scope: Scope): FilterChain['filters'] {
  const { mode, egressProxy } = unknownPolicy(scope)
  if (egressProxy !== undefined) context.needs.add({ clusters: [egressProxy] })
  const cluster = mode === 'block' ? blackHoleCluster : (egressProxy?.name ?? passthroughCluster)
  return clusterProxy(context, { scope, target: targetOf(scope), authorizes: false, cluster })
}

type ListenerFields = Omit<Partial<api.Listener>, '$typeName' | '$unknown'>

/** A listener around its chains: access log, direction, and what its filters need. */
function wholeListener(
  { scope, keySets }: UnitContext,
  build: (context: ListenerContext) => ListenerFields,
): Made {
  const { reader } = scope
  const needs = new Needs()
  const fields = build({ needs, keySets: new RecordedKeySets(reader, keySets) })
  const logs = listenerAccessLogs(reader, targetOf(scope))
  needs.add(logs)
  const listener = encodeListener(
    create(api.ListenerSchema, {
      trafficDirection: outbound,
      accessLog: [...logs.logs],
      ...fields,
    }),
  )
  return {
    resources: [listener, ...needs.extensions.values()],
    units: neededUnits(needs),
    problems: needs.problems,
  }
}

/** Addresses of a service that a listener can be for; ranges and headless ports have none. */
function virtualAddresses({ addresses, headless }: Service): readonly string[] {
  return headless ? [] : addresses.filter((address) => !address.includes('/'))
}

export interface OutboundPlan {
  /** By `<address>_<port>`, the service whose it is. */
  readonly byAddress: ReadonlyMap<string, { readonly service: Service; readonly port: ServicePort }>
  readonly wildcardPorts: readonly number[]
  /** Ports with a route table for all services. */
  readonly httpPorts: readonly number[]
}

export function outboundPlan(scope: Scope): OutboundPlan {
  const byAddress = new Map<string, { service: Service; port: ServicePort }>()
  const wildcard = new Set<number>()
  const http = new Set<number>()
  for (const service of scope.services()) {
    for (const port of service.ports) {
      if (port.protocol !== 'TCP') continue
      const addresses = virtualAddresses(service)
      if (speaksHttp(port)) {
        wildcard.add(port.port)
        http.add(port.port)
      } else if (addresses.length === 0) {
        wildcard.add(port.port)
        if (mayBeHttp(port) && sniffs(port)) http.add(port.port)
      }
      if (speaksHttp(port)) continue
      for (const address of addresses) {
        const key = `${address}_${port.port}`
        if (!byAddress.has(key)) byAddress.set(key, { service, port })
      }
    }
  }
  const sorted = (ports: ReadonlySet<number>): number[] => [...ports].toSorted((a, b) => a - b)
  return { byAddress, wildcardPorts: sorted(wildcard), httpPorts: sorted(http) }
}

/** The listener of one virtual IP and port. */
export function addressUnit(name: string, serviceKey: string, port: number): Unit {
  const address = name.slice(0, name.lastIndexOf('_'))
  return {
    key: `listener|${name}|${serviceKey}`,
    make: (context) => {
      const { scope } = context
      const service = scope.reader.service(serviceKey)
      const found = service?.ports.find((one) => one.port === port)
      if (service === undefined || found === undefined) return nothing
      return wholeListener(context, (building) => {
        const chains = streamChains(building, scope, service, found)
        const needsHttp = sniffs(found)
        const routeName = `${service.hostname}:${port}`
        const http = needsHttp ? [httpChain(building, scope, routeName, found, service)] : []
        const needsName = chains.some((one) => (one.filterChainMatch?.serverNames ?? []).length > 0)
        return {
          name,
          address: socketAddress(address, port),
          ...bound(scope),
          ...inspectors(scope, needsHttp || needsName, needsHttp),
          filterChains: [...http, ...chains],
          metadata: istioMetadata(servicePath(service)),
        }
      })
    },
  }
}

/** Captured connections are handed over, so that the listener itself is bound to nothing. */
function bound({ view }: Scope): ListenerFields {
  return view.interception === 'NONE' ? {} : { bindToPort: false }
}

/** The listener for all addresses of a port. */
export function wildcardUnit(port: number): Unit {
  return {
    key: `listener|wildcard|${port}`,
    make: (context) => {
      const { scope } = context
      return wholeListener(context, (building) => {
        const services = scope.servicesWithPort(port)
        const streams: FilterChain[] = []
        let isHttp = false
        for (const service of services) {
          const found = service.ports.find((one) => one.port === port && one.protocol === 'TCP')
          if (found === undefined) continue
          const isOpen = virtualAddresses(service).length === 0
          if (speaksHttp(found) || (sniffs(found) && isOpen)) isHttp = true
          if (speaksHttp(found) || !isOpen) continue
          streams.push(...rangedChains(building, scope, service, found))
        }
        const { matched, open } = divide(streams)
        const http = isHttp ? [httpChain(building, scope, String(port))] : []
        const needsName = matched.some(
          (one) => (one.filterChainMatch?.serverNames ?? []).length > 0,
        )
        return {
          name: `${anyAddress(scope)}_${port}`,
          address: socketAddress(anyAddress(scope), port),
          additionalAddresses: scope.view.ipFamilies.slice(1).map((family) =>
            create(api.AdditionalAddressSchema, {
              address: socketAddress(wildcardAddress(family), port),
            }),
          ),
          ...bound(scope),
          ...inspectors(scope, isHttp || needsName, isHttp),
          filterChains: [...http, ...matched],
          defaultFilterChain: open ?? unknownChain(building, scope, 'PassthroughFilterChain'),
        }
      })
    },
  }
}

/** Inspectors, and how long they wait: then it is no HTTP. A client may be waiting for the server. */
function inspectors({ reader }: Scope, tls: boolean, http: boolean): ListenerFields {
  if (!tls && !http) return {}
  return {
    listenerFilters: [
      ...(tls ? [tlsInspectorFilter()] : []),
      ...(http ? [httpInspectorFilter()] : []),
    ],
    listenerFiltersTimeout: duration(durationMs(reader.mesh().protocolDetectionTimeout) ?? 0),
    continueOnListenerFiltersTimeout: true,
  }
}

function httpChain(
  context: ListenerContext,
  scope: Scope,
  routeName: string,
  port?: ServicePort,
  service?: Service,
): FilterChain {
  const manager = httpManager(context, {
    role: 'outbound',
    scope,
    target: targetOf(scope),
    statPrefix: `outbound_${routeName.replaceAll(':', '_')}`,
    routeName,
    ...(port === undefined ? {} : { declared: port.declared, port: port.port }),
    dynamicDns: service !== undefined && isDynamic(service),
  })
  return create(listenerComponents.FilterChainSchema, {
    name: `http|${routeName}`,
    filterChainMatch: create(listenerComponents.FilterChainMatchSchema, {
      transportProtocol: 'raw_buffer',
      applicationProtocols: [...plainHttpProtocols],
    }),
    filters: [manager],
  })
}

/** By server name where rules ask for it, by destination range, and the rest to the service itself. */
function streamChains(
  context: ListenerContext,
  scope: Scope,
  service: Service,
  port: ServicePort,
): FilterChain[] {
  const routing: RouteContext = { scope, port: port.port, gateway: 'mesh' }
  const virtuals = scope
    .virtualServices('mesh')
    .filter(({ hosts }) => hosts.some((host) => covers(host, service.hostname)))
  const rules = [
    ...virtuals.flatMap((virtual) => virtualTlsRules(routing, virtual)),
    ...parentStreams(routing, service),
    ...virtuals.flatMap((virtual) => virtualTcpRules(routing, virtual)),
    serviceStream(routing, service),
  ]
  const usable = rules.filter((rule) => !isNowhere(rule))
  return unique(usable.map((rule) => ruleChain(context, scope, rule)))
}

interface Range {
  readonly ranges?: readonly string[]
  readonly names?: readonly string[]
}

/** In a listener for all addresses something must tell the services apart. */
function rangedChains(
  context: ListenerContext,
  scope: Scope,
  service: Service,
  port: ServicePort,
): FilterChain[] {
  const { reader } = scope
  const ranges = service.headless
    ? endpointsOf(reader, service, port).map(({ address }) => address)
    : service.addresses
  const usable = ranges.filter((range) => cidrRange(range) !== undefined)
  const isTls = port.appProtocol === 'tls'
  const chains = streamChains(context, scope, service, port)
  if (usable.length === 0 && isTls) {
    // Only the server name says where it goes.
    return chains.map((one) => narrowed(one, { names: [service.hostname] }))
  }
  return chains.map((one) => narrowed(one, { ranges: usable }))
}

function narrowed(made: FilterChain, { ranges = [], names = [] }: Range): FilterChain {
  const match = made.filterChainMatch ?? create(listenerComponents.FilterChainMatchSchema)
  const own = match.prefixRanges.length > 0
  const named = match.serverNames.length > 0
  const prefixRanges = own ? match.prefixRanges : rangesOf(ranges)
  const serverNames = named
    ? match.serverNames
    : usableServerNames(names).filter((name) => name !== '*')
  return { ...made, filterChainMatch: { ...match, prefixRanges, serverNames: [...serverNames] } }
}

export function rangesOf(
  texts: readonly string[],
): NonNullable<FilterChain['filterChainMatch']>['prefixRanges'] {
  return texts.flatMap((text) => {
    const range = cidrRange(text)
    return range === undefined ? [] : [{ $typeName: 'envoy.config.core.v3.CidrRange', ...range }]
  })
}

function ruleChain(context: ListenerContext, scope: Scope, rule: StreamRule): FilterChain {
  const prefixRanges = rangesOf(rule.destinationSubnets)
  const serverNames = usableServerNames(rule.sniHosts).filter((host) => host !== '*')
  const isOpen = prefixRanges.length === 0 && serverNames.length === 0
  return create(listenerComponents.FilterChainSchema, {
    ...(isOpen
      ? {}
      : {
          filterChainMatch: create(listenerComponents.FilterChainMatchSchema, {
            prefixRanges,
            serverNames,
          }),
        }),
    filters: chainOf(context, scope, rule),
    metadata: istioMetadata(rule.config, rule.path),
  })
}

/** The filters of a rule, and the clusters that it leads to. */
export function chainOf(
  context: ListenerContext,
  scope: Scope,
  rule: StreamRule,
): FilterChain['filters'] {
  for (const { cluster } of rule.targets) {
    if (cluster !== undefined) context.needs.add({ clusters: [cluster] })
  }
  const statPrefix = rule.targets[0]?.cluster?.name ?? blackHoleCluster
  const options = { scope, target: targetOf(scope), authorizes: false }
  return ruleProxy(context, { ...options, rule, statPrefix })
}

function placeOf({ filterChainMatch }: FilterChain): string {
  const { prefixRanges = [], serverNames = [] } = filterChainMatch ?? {}
  const ranges = prefixRanges.map(
    ({ addressPrefix, prefixLen = 0 }) => `${addressPrefix}/${prefixLen}`,
  )
  return `${ranges.toSorted().join(',')}|${serverNames.toSorted().join(',')}`
}

/** Envoy refuses two chains with one match; the first counts. */
function unique(chains: readonly FilterChain[]): FilterChain[] {
  const found = new Map<string, FilterChain>()
  for (const one of chains) if (!found.has(placeOf(one))) found.set(placeOf(one), one)
  return [...found.values()]
}

/** Those with a match, each range or name once, and the first that takes everything. */
function divide(chains: readonly FilterChain[]): {
  readonly matched: FilterChain[]
  readonly open: FilterChain | undefined
} {
  const open = chains.find((one) => placeOf(one) === '|')
  const taken = new Set<string>()
  const matched = chains.flatMap((one) => {
    const match = one.filterChainMatch
    if (match === undefined || placeOf(one) === '|') return []
    const names = match.serverNames.length === 0 ? [''] : match.serverNames
    const ranges = match.prefixRanges.filter(({ addressPrefix, prefixLen = 0 }) => {
      const places = names.map((name) => `${addressPrefix}/${prefixLen}|${name}`)
      if (places.some((place) => taken.has(place))) return false
      for (const place of places) taken.add(place)
      return true
    })
    if (match.prefixRanges.length > 0) {
      return ranges.length === 0
        ? []
        : [{ ...one, filterChainMatch: { ...match, prefixRanges: ranges } }]
    }
    const free = match.serverNames.filter((name) => !taken.has(`|${name}`))
    for (const name of free) taken.add(`|${name}`)
    return free.length === 0 ? [] : [{ ...one, filterChainMatch: { ...match, serverNames: free } }]
  })
  return { matched, open: open === undefined ? undefined : { ...open, name: 'open' } }
}
