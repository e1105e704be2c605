/** The parts that every listener is put together from, and what is collected on the way. */
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import { parseIp } from '../../../base/index.ts'
import {
  listener as api,
  type listenerComponents as componentsType,
  core,
  httpInspector,
  listenerComponents,
  originalDst,
  proxyProtocolListener,
  tlsInspector,
} from '../../../proto/envoy.ts'
import { type Any, create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import type { TranslatedResource } from '../../types.ts'
import type { ClusterRef } from '../clusters/names.ts'
import type { Problem } from '../policies/problem.ts'
import type { KeySets } from '../policies/request-authentication.ts'
import type { IpFamily, ProxyView } from '../proxy.ts'
import { pack, pipeAddress, socketAddress } from '../values.ts'

export type FilterChain = componentsType.FilterChain
export type NetworkFilter = componentsType.Filter
export type ListenerFilter = componentsType.ListenerFilter

/** What filters name, so that the proxy must get it as well. */
export class Needs {
  /** Clusters that no route leads to: loggers, tracers, authorizers. */
  readonly clusters = new Map<string, ClusterRef>()
  /** Configurations of extensions, which travel by themselves. */
  readonly extensions = new Map<string, TranslatedResource>()
  /** Names of secrets that the control plane serves. */
  readonly secrets = new Set<string>()
  readonly problems: Problem[] = []

  add(found: {
    readonly clusters?: readonly ClusterRef[]
    readonly resources?: readonly TranslatedResource[]
    readonly problems?: readonly Problem[]
  }): void {
    for (const cluster of found.clusters ?? []) this.clusters.set(cluster.name, cluster)
    for (const resource of found.resources ?? []) this.extensions.set(resource.name, resource)
    this.problems.push(...(found.problems ?? []))
  }

  /** Everything another one has. */
  join(other: Needs): void {
    this.add({
      clusters: [...other.clusters.values()],
      resources: [...other.extensions.values()],
      problems: other.problems,
    })
    for (const secret of other.secrets) this.secrets.add(secret)
  }
}

/** Filter chains with what they need, as one part of a listener. */
export interface Chains {
  readonly chains: readonly FilterChain[]
  readonly needs: Needs
}

export interface ListenerContext {
  readonly needs: Needs
  readonly keySets: KeySets
}

export function encodeListener(message: api.Listener): TranslatedResource {
  const { name } = message
  return encodeResource({ name, typeUrl: typeUrl.listener, schema: api.ListenerSchema, message })
}

export function wildcardAddress(family: IpFamily): string {
  return family === 'ipv4' ? '0.0.0.0' : '::'
}

/** The addresses of all interfaces: the first for the listener's name, others beside it. */
export function wildcardAddresses(view: ProxyView): readonly string[] {
  return view.ipFamilies.length === 0 ? ['0.0.0.0'] : view.ipFamilies.map(wildcardAddress)
}

function listenerFilter(name: string, typedConfig: Any): ListenerFilter {
  return create(listenerComponents.ListenerFilterSchema, {
    name,
    configType: { case: 'typedConfig', value: typedConfig },
  })
}

/** Looks up where the connection was meant to go before it was captured or tunnelled. */
export function originalDestinationFilter(): ListenerFilter {
  const message = create(originalDst.OriginalDstSchema)
  return listenerFilter(
    'envoy.filters.listener.original_dst',
    pack(originalDst.OriginalDstSchema, message),
  )
}

export function tlsInspectorFilter(): ListenerFilter {
  const message = create(tlsInspector.TlsInspectorSchema)
  return listenerFilter(
    'envoy.filters.listener.tls_inspector',
    pack(tlsInspector.TlsInspectorSchema, message),
  )
}

export function httpInspectorFilter(): ListenerFilter {
  const message = create(httpInspector.HttpInspectorSchema)
  return listenerFilter(
    'envoy.filters.listener.http_inspector',
    pack(httpInspector.HttpInspectorSchema, message),
  )
}

/** Only where the topology says that the load balancer in front sends the header. */
export function proxyProtocolFilter(): ListenerFilter {
  const message = create(proxyProtocolListener.ProxyProtocolSchema)
  return listenerFilter(
    'envoy.filters.listener.proxy_protocol',
    pack(proxyProtocolListener.ProxyProtocolSchema, message),
  )
}

/** A listener filter that stays away from ports where the server speaks first. */
export function exceptPorts(filter: ListenerFilter, ports: readonly number[]): ListenerFilter {
  if (ports.length === 0) return filter
  return { ...filter, filterDisabled: anyPort(ports) }
}

function anyPort(ports: readonly number[]): componentsType.ListenerFilterChainMatchPredicate {
  const rules = ports.map((port) =>
    create(listenerComponents.ListenerFilterChainMatchPredicateSchema, {
      rule: {
        case: 'destinationPortRange',
        value: { $typeName: 'envoy.type.v3.Int32Range', start: port, end: port + 1 },
      },
    }),
  )
  const [only] = rules
  if (only !== undefined && rules.length === 1) return only
  return create(listenerComponents.ListenerFilterChainMatchPredicateSchema, {
    rule: {
      case: 'orMatch',
      value: create(listenerComponents.ListenerFilterChainMatchPredicate_MatchSetSchema, { rules }),
    },
  })
}

/** `10.0.0.0/8`, or an address as a range of one; undefined for what Envoy would refuse. */
export function cidrRange(text: string): { addressPrefix: string; prefixLen: number } | undefined {
  const slash = text.indexOf('/')
  const addressPrefix = slash < 0 ? text : text.slice(0, slash)
  const bits = (parseIp(addressPrefix)?.length ?? 0) * 8
  const prefixLen = slash < 0 ? bits : Number(text.slice(slash + 1))
  const isUsable = bits > 0 && Number.isInteger(prefixLen) && prefixLen >= 0 && prefixLen <= bits
  return isUsable ? { addressPrefix, prefixLen } : undefined
}

/** Names that a filter chain can be for: whole ones, and those with an asterisk for the first labels. */
export function usableServerNames(names: readonly string[]): string[] {
  return names.filter((name) => !name.includes('*') || name === '*' || /^\*\.[^*]+$/.test(name))
}

/**
 * Whether every place that a rule names, if it names any, is one that Envoy would refuse: without them it
 * would be for all places, which is not what its author meant.
 */
export function isNowhere(rule: {
  readonly sniHosts: readonly string[]
  readonly destinationSubnets: readonly string[]
}): boolean {
  const { sniHosts, destinationSubnets } = rule
  const hasName = sniHosts.length === 0 || usableServerNames(sniHosts).length > 0
  const hasRange =
    destinationSubnets.length === 0 ||
    destinationSubnets.some((text) => cidrRange(text) !== undefined)
  return !hasName || !hasRange
}

export const unixPrefix = 'unix://'

/** What a user may bind a listener to. */
export function isBindable(bind: string): boolean {
  return (
    bind === '' ||
    parseIp(bind) !== undefined ||
    (bind.length > unixPrefix.length && bind.startsWith(unixPrefix))
  )
}

export function bindAddress(bind: string, port: number): ReturnType<typeof socketAddress> {
  return bind.startsWith(unixPrefix)
    ? pipeAddress(bind.slice(unixPrefix.length))
    : socketAddress(bind, port)
}

/** Text as an extension: what matchers yield is the name of a filter chain. */
export function packText(value: string): Any {
  return pack(StringValueSchema, create(StringValueSchema, { value }))
}

export const inbound = core.TrafficDirection.INBOUND
export const outbound = core.TrafficDirection.OUTBOUND

/** ALPN of plain HTTP, as the inspectors tell it. */
export const plainHttpProtocols = ['http/1.0', 'http/1.1', 'h2c']
/** ALPN by which mesh clients say that what is inside their mutual TLS is HTTP. */
export const meshHttpProtocols = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2']
/** What the clients of the mesh offer when they speak anything else, or do not know. */
export const meshStreamProtocols = ['istio-peer-exchange', 'istio']
