/**
 * For tests: the golden cases of traffic. `input.yaml` has the mesh, `asked.yaml` the proxy and what it
 * asks for; the answers are the resources it would get. Also read by the test with a stock Envoy.
 */
import { createRegistry, type DescMessage } from '@bufbuild/protobuf'
import { parse } from 'yaml'
import { modelEvents, objectsFromYaml } from '../../ingest/index.ts'
import { buildSnapshot, defaultMeshSettings } from '../../model/index.ts'
import * as envoy from '../../proto/envoy.ts'
import { fromBinary, toJson, typeUrl } from '../../proto/index.ts'
import { Reader } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import { translateCluster } from './clusters/cluster.ts'
import { type ClusterRef, outboundRef, waypointRef } from './clusters/names.ts'
import {
  connectOriginateCluster,
  inboundCluster,
  inboundPassthrough,
  internalCluster,
  outboundStaticClusters,
} from './clusters/static.ts'
import { translateEndpoints } from './endpoints/assignment.ts'
import { NamespaceScope } from './lookup/scope.ts'
import type { VirtualService } from './lookup/virtual-services.ts'
import { type ProxyView, proxyView } from './proxy.ts'
import type { RouteContext } from './routes/context.ts'
import { gatewayApiRoutes, gatewayRoutes, type HttpServer } from './routes/gateway.ts'
import { sidecarRoutes } from './routes/sidecar.ts'
import {
  type StreamRule,
  serviceStream,
  streamRouteRules,
  tcpProxyOf,
  virtualTcpRules,
  virtualTlsRules,
} from './routes/streams.ts'
import { waypointRoutes } from './routes/waypoint.ts'

export interface Asked {
  readonly proxy: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>
  /** Names, like `outbound|80||host` or `inbound-vip|80|http/v1|host`. */
  readonly clusters?: readonly string[]
  readonly endpoints?: readonly string[]
  /** The clusters that stand for no service. */
  readonly own?: { readonly inbound?: readonly { port: number; defaultEndpoint?: string }[] }
  readonly sidecar?: readonly { readonly port: number; readonly unknown?: 'allow' | 'block' }[]
  readonly gateway?: readonly { readonly port: number; readonly servers: readonly HttpServer[] }[]
  /** All routes of both kinds, with these host names. */
  readonly gatewayApi?: readonly { readonly port: number; readonly hostnames: readonly string[] }[]
  readonly waypoint?: readonly { readonly service: string; readonly port: number }[]
  readonly streams?: readonly {
    readonly port: number
    readonly gateway?: string
    readonly service?: string
  }[]
  /** Fields to look at; all without it. */
  readonly only?: readonly string[]
}

export interface Answers {
  readonly resources: readonly TranslatedResource[]
  readonly streams: readonly { readonly rule: StreamRule; readonly proxy: unknown }[]
  readonly dependencies: ReadonlySet<string>
}

/** @param input the mesh, as YAML */
export function answerCase(input: string, asked: string): Answers {
  const objects = objectsFromYaml(input, 'input.yaml').map(({ object }) => object)
  const events = modelEvents(objects, defaultMeshSettings)
  return answer(new Reader(buildSnapshot(defaultMeshSettings, events)), parseAsked(asked))
}

export function parseAsked(text: string): Asked {
  return parse(text) as Asked
}

export function answer(reader: Reader, asked: Asked): Answers {
  const scope = new NamespaceScope(reader, proxyView(asked.proxy))
  const found: (TranslatedResource | undefined)[] = []
  for (const name of asked.clusters ?? []) {
    found.push(translateCluster(scope, refOf(scope, name)))
  }
  for (const name of asked.endpoints ?? []) {
    found.push(translateEndpoints(scope, refOf(scope, name)))
  }
  if (asked.own !== undefined) found.push(...ownClusters(scope, asked.own))
  for (const { port, unknown = 'allow' } of asked.sidecar ?? []) {
    found.push(sidecarRoutes({ scope, name: String(port), port, unknown }))
  }
  for (const { port, servers } of asked.gateway ?? []) {
    found.push(gatewayRoutes({ scope, name: `http.${port}`, port, servers }).resource)
  }
  for (const { port, hostnames } of asked.gatewayApi ?? []) {
    const routes = [
      ...reader.allHttpRoutes().map((route) => ({
        kind: 'HTTPRoute' as const,
        object: route.config,
      })),
      ...reader.allConfigs('GRPCRoute').map((object) => ({ kind: 'GRPCRoute' as const, object })),
    ]
    const attached = routes.map((route) => ({ route, hostnames }))
    found.push(gatewayApiRoutes({ scope, name: `http.${port}`, port, attached }).resource)
  }
  for (const { service, port } of asked.waypoint ?? []) {
    const target = reader.service(service)
    if (target === undefined) continue
    const serves = (one: { readonly namespace: string }): boolean =>
      one.namespace === target.namespace
    found.push(waypointRoutes({ scope, service: target, port, serves }))
  }
  const streams = (asked.streams ?? []).flatMap((one) => streamsOf(scope, one))
  return {
    resources: found.filter((resource) => resource !== undefined),
    streams,
    dependencies: reader.dependencies,
  }
}

function streamsOf(
  scope: NamespaceScope,
  asked: NonNullable<Asked['streams']>[number],
): Answers['streams'] {
  const { port, gateway = 'mesh', service } = asked
  const context: RouteContext = { scope, port, gateway }
  const virtuals: readonly VirtualService[] = scope.virtualServices(gateway)
  const target = service === undefined ? undefined : scope.reader.service(service)
  const rules = [
    ...virtuals.flatMap((virtual) => virtualTlsRules(context, virtual)),
    ...virtuals.flatMap((virtual) => virtualTcpRules(context, virtual)),
    ...[...scope.reader.allConfigs('TLSRoute')].flatMap((route) =>
      streamRouteRules(context, route, route.spec.hostnames ?? []),
    ),
    ...scope.reader.allConfigs('TCPRoute').flatMap((route) => streamRouteRules(context, route, [])),
    ...(target === undefined ? [] : [serviceStream(context, target)]),
  ]
  return rules.map((rule) => ({
    rule,
    proxy: toJson(envoy.tcpProxy.TcpProxySchema, tcpProxyOf(scope, rule, 'case')),
  }))
}

function ownClusters(scope: NamespaceScope, own: NonNullable<Asked['own']>): TranslatedResource[] {
  const { reader } = scope
  return [
    ...outboundStaticClusters(reader),
    inboundPassthrough(reader, 'ipv4'),
    connectOriginateCluster(scope),
    internalCluster('main_internal'),
    ...(own.inbound ?? []).map(({ port, defaultEndpoint }) =>
      inboundCluster(scope, {
        port,
        servicePort: {
          name: 'http',
          port,
          targetPort: port,
          protocol: 'TCP',
          appProtocol: 'http',
          declared: 'HTTP',
        },
        pool: undefined,
        defaultEndpoint,
        metadata: undefined,
      }),
    ),
  ]
}

function refOf(scope: NamespaceScope, name: string): ClusterRef {
  const [direction, port = '', part = '', hostname = ''] = name.split('|')
  const service = scope.serviceOf(hostname) ?? { namespace: '', hostname }
  if (direction !== 'inbound-vip') return outboundRef(service, Number(port), part)
  const [protocol, subset = ''] = part.split('/')
  return waypointRef(service, Number(port), protocol === 'tcp' ? 'tcp' : 'http', subset)
}

const schemas: Readonly<Record<string, DescMessage>> = {
  [typeUrl.route]: envoy.route.RouteConfigurationSchema,
  [typeUrl.cluster]: envoy.cluster.ClusterSchema,
  [typeUrl.endpoint]: envoy.endpoint.ClusterLoadAssignmentSchema,
}

const registry = createRegistry(
  envoy.tls.UpstreamTlsContextSchema,
  envoy.rawBuffer.RawBufferSchema,
  envoy.internalUpstream.InternalUpstreamTransportSchema,
  envoy.upstreamProxyProtocol.ProxyProtocolUpstreamTransportSchema,
  envoy.httpProtocolOptions.HttpProtocolOptionsSchema,
  envoy.dnsCluster.DnsClusterSchema,
  envoy.dynamicForwardCluster.ClusterConfigSchema,
  envoy.previousHosts.PreviousHostsPredicateSchema,
  envoy.previousPriorities.PreviousPrioritiesConfigSchema,
  envoy.cors.CorsPolicySchema,
  envoy.fault.HTTPFaultSchema,
)

/** A resource as JSON of its message. */
export function messageOf(resource: TranslatedResource): Record<string, unknown> {
  const schema = schemas[resource.typeUrl]
  if (schema === undefined) throw new TypeError(resource.typeUrl)
  const json = toJson(schema, fromBinary(schema, resource.bytes), { registry })
  // A message is an object in JSON.
  return json as Record<string, unknown>
}
