/**
 * Rules for connections that are not HTTP, in one form: from VirtualService (`tls`, `tcp`), TLSRoute,
 * TCPRoute, or from nothing but the service. Listeners make filter chains of them.
 */
import {
  type ConfigObject,
  type Labels,
  type Service,
  type StreamRouteRuleSpec,
  selects,
  type TunnelSettings,
  type VirtualStreamDestination,
} from '../../../model/index.ts'
import { tcpProxy } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { configPath, servicePath } from '../../provenance.ts'
import { type ClusterRef, unknownService } from '../clusters/names.ts'
import { planCluster } from '../clusters/policy.ts'
import { expandHost } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import { gatewaysOf, type VirtualService } from '../lookup/virtual-services.ts'
import { durationField } from '../values.ts'
import { resolveBackend } from './backends.ts'
import { concrete, destinationRef, type RouteContext, serviceRef } from './context.ts'

export interface StreamTarget {
  /** Undefined: a backend that can't be used; its share of connections is closed. */
  readonly cluster: ClusterRef | undefined
  readonly weight: number
}

export interface StreamRule {
  readonly name: string
  readonly config: string
  readonly path: string
  /** Server names, exact or with a leading wildcard; none: any, also without TLS. */
  readonly sniHosts: readonly string[]
  /** Empty: whatever address the connection is for. */
  readonly destinationSubnets: readonly string[]
  readonly targets: readonly StreamTarget[]
}

interface Conditions {
  readonly port?: number
  readonly sourceLabels?: Labels
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

/** The `tls` rules of a VirtualService: chosen by server name, passed on as they are. */
export function virtualTlsRules(context: RouteContext, virtual: VirtualService): StreamRule[] {
  const { domain } = context.scope.reader.settings
  return virtual.tls.flatMap(({ route, config, path, namespace }) =>
    (route.match ?? [])
      .filter((match) => appliesHere(context, match, namespace))
      .map((match) => ({
        name: '',
        config,
        path,
        sniHosts: (match.sniHosts ?? []).map((host) => expandHost(host, namespace, domain)),
        destinationSubnets: match.destinationSubnets ?? [],
        targets: targetsOf(context, route.route, namespace),
      })),
  )
}

/** The `tcp` rules of a VirtualService; of several that apply the first counts. */
export function virtualTcpRules(context: RouteContext, virtual: VirtualService): StreamRule[] {
  return virtual.tcp.flatMap(({ route, config, path, namespace }) => {
    const targets = targetsOf(context, route.route, namespace)
    const rule = { name: '', config, path, sniHosts: [], targets }
    const matches = route.match ?? []
    if (matches.length === 0) return [{ ...rule, destinationSubnets: [] }]
    return matches
      .filter((match) => appliesHere(context, match, namespace))
      .map((match) => ({ ...rule, destinationSubnets: match.destinationSubnets ?? [] }))
  })
}

function appliesHere(context: RouteContext, match: Conditions, namespace: string): boolean {
  const { scope, port, gateway } = context
  if (match.port !== undefined && match.port !== 0 && match.port !== port) return false
  if (scope.view.kind === 'waypoint') return true
  if (!selects(match.sourceLabels ?? {}, scope.view.labels)) return false
  const { sourceNamespace = '', gateways = [] } = match
  if (sourceNamespace !== '' && sourceNamespace !== scope.view.namespace) return false
  return gateways.length === 0 || gatewaysOf(gateways, namespace).includes(gateway)
}

function targetsOf(
  context: RouteContext,
  routes: readonly VirtualStreamDestination[] = [],
  namespace: string,
): StreamTarget[] {
  return routes
    .filter(({ weight }) => routes.length === 1 || (weight ?? 0) > 0)
    .map(({ destination, weight }) => ({
      cluster: destinationRef(context, destination, namespace),
      weight: weight ?? 0,
    }))
}

/** To the service itself. */
export function serviceStream(context: RouteContext, service: Service): StreamRule {
  const target = concrete(context.scope, service) ?? service
  const index = service.ports.findIndex(({ port }) => port === context.port)
  return {
    name: '',
    config: servicePath(service),
    path: `/spec/ports/${index}`,
    sniHosts: [],
    destinationSubnets: [],
    targets: [{ cluster: serviceRef(context, target, context.port), weight: 0 }],
  }
}

/**
 * The rules of a TLSRoute or TCPRoute.
 * @param hostnames server names after intersection with the listener's; none for TCPRoute
 */
export function streamRouteRules(
  context: RouteContext,
  object: ConfigObject<{ readonly rules?: readonly StreamRouteRuleSpec[] }>,
  hostnames: readonly string[],
): StreamRule[] {
  const from = { kind: object.kind, namespace: object.namespace }
  return (object.spec.rules ?? []).map((rule, index) => ({
    name: rule.name || `${object.namespace}.${object.name}.${index}`,
    config: configPath(object),
    path: `/spec/rules/${index}`,
    sniHosts: hostnames.filter((host) => host !== '*'),
    destinationSubnets: [],
    targets: (rule.backendRefs ?? [])
      .filter(({ weight = 1 }) => weight > 0)
      .map((backend) => {
        const resolved = resolveBackend(context.scope.reader, from, backend)
        const { weight = 1 } = backend
        if (resolved.problem !== undefined) return { cluster: undefined, weight }
        return { cluster: serviceRef(context, resolved.service, resolved.port.port), weight }
      }),
  }))
}

/** The TCP proxy of a rule, with the limits that its first destination's DestinationRule sets. */
export function tcpProxyOf(
  scope: Scope,
  rule: Pick<StreamRule, 'targets'>,
  statPrefix: string,
): tcpProxy.TcpProxy {
  const [first] = rule.targets
  const policy =
    first?.cluster === undefined ? undefined : planCluster(scope, first.cluster)?.policy
  const { idleTimeout, maxConnectionDuration } = policy?.connectionPool?.tcp ?? {}
  const hashesSource = policy?.loadBalancer?.consistentHash?.useSourceIp === true
  return create(tcpProxy.TcpProxySchema, {
    statPrefix,
    clusterSpecifier: clusterSpecifier(rule.targets),
    ...durationField('idleTimeout', idleTimeout),
    ...durationField('maxDownstreamConnectionDuration', maxConnectionDuration),
    ...(hashesSource
      ? {
          hashPolicy: [
            {
              $typeName: 'envoy.type.v3.HashPolicy',
              policySpecifier: {
                case: 'sourceIp',
                value: { $typeName: 'envoy.type.v3.HashPolicy.SourceIp' },
              },
            },
          ],
        }
      : {}),
    ...(policy?.tunnel === undefined ? {} : { tunnelingConfig: tunneling(policy.tunnel) }),
  })
}

function clusterSpecifier(targets: readonly StreamTarget[]): tcpProxy.TcpProxy['clusterSpecifier'] {
  const [only] = targets
  if (targets.length <= 1) return { case: 'cluster', value: only?.cluster?.name ?? unknownService }
  return {
    case: 'weightedClusters',
    value: create(tcpProxy.TcpProxy_WeightedClusterSchema, {
      clusters: targets.map(({ cluster, weight }) =>
        create(tcpProxy.TcpProxy_WeightedCluster_ClusterWeightSchema, {
          name: cluster?.name ?? unknownService,
          weight,
        }),
      ),
    }),
  }
}

/** Through an HTTP proxy: CONNECT, or POST for proxies that only know that. */
function tunneling(tunnel: TunnelSettings): tcpProxy.TcpProxy_TunnelingConfig {
  const { targetHost = '', targetPort = 0, protocol } = tunnel
  return create(tcpProxy.TcpProxy_TunnelingConfigSchema, {
    hostname: `${targetHost}:${targetPort}`,
    usePost: protocol?.toUpperCase() === 'POST',
  })
}
