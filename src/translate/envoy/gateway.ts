/** A Gateway as what its proxies get: listeners, route configurations, and the clusters they use. */
import { anyPack } from '@bufbuild/protobuf/wkt'
import type { Gateway, Snapshot } from '../../model/index.ts'
import {
  accesslog,
  listener as api,
  hcm,
  listenerComponents,
  router,
  streamLog,
} from '../../proto/envoy.ts'
import { create, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import { configPath } from '../provenance.ts'
import { Reader } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import type { ClusterRef } from './clusters/names.ts'
import { NamespaceScope } from './lookup/scope.ts'
import { istioMetadata } from './metadata.ts'
import { gatewayView } from './proxy.ts'
import {
  type AttachedRoute,
  attachRoutes,
  type GatewayAttachment,
  isServed,
} from './routes/attach.ts'
import { gatewayApiRoutes } from './routes/gateway.ts'
import { adsSource, duration, socketAddress } from './values.ts'

export interface GatewayTranslation {
  readonly listeners: readonly TranslatedResource[]
  readonly routes: readonly TranslatedResource[]
  readonly clusters: readonly ClusterRef[]
  readonly attachment: GatewayAttachment
}

/**
 * Undefined for a Gateway that is not there or not ours.
 * @param key `<namespace>/<name>`
 * @param reader notes what the routes rest on, besides the Gateway itself
 */
export function translateGateway(
  snapshot: Snapshot,
  key: string,
  reader = new Reader(snapshot),
): GatewayTranslation | undefined {
  const gateway = snapshot.objects.Gateway.get(key)
  if (gateway === undefined || !isServed(reader, gateway)) return undefined
  const attachment = attachRoutes(reader, gateway)
  const byPort = new Map<number, AttachedRoute[]>()
  for (const { spec, fault, routes } of attachment.listeners) {
    const { port = 0, protocol } = spec
    if (fault !== undefined || protocol !== 'HTTP') continue
    byPort.set(port, [...(byPort.get(port) ?? []), ...routes])
  }
  const clusters = new Map<string, ClusterRef>()
  const routes: TranslatedResource[] = []
  const listeners: TranslatedResource[] = []
  for (const [port, attached] of byPort) {
    const scope = new NamespaceScope(reader, gatewayView(key, gateway.labels))
    const translated = gatewayApiRoutes({
      scope,
      name: `http.${port}`,
      port,
      attached: attached.flatMap(({ route, hostnames }) =>
        route.kind === 'HTTPRoute' || route.kind === 'GRPCRoute' ? [{ route, hostnames }] : [],
      ),
    })
    for (const cluster of translated.clusters) clusters.set(cluster.name, cluster)
    routes.push(translated.resource)
    listeners.push(translateListener(gateway, port, translated.resource.name))
  }
  return { listeners, routes, clusters: [...clusters.values()], attachment }
}

const streamIdleTimeoutMs = 300_000

function translateListener(gateway: Gateway, port: number, routeName: string): TranslatedResource {
  const name = `0.0.0.0_${port}`
  const manager = create(hcm.HttpConnectionManagerSchema, {
    statPrefix: `outbound_${name}`,
    codecType: hcm.HttpConnectionManager_CodecType.AUTO,
    routeSpecifier: {
      case: 'rds',
      value: create(hcm.RdsSchema, { configSource: adsSource(), routeConfigName: routeName }),
    },
    httpFilters: [
      create(hcm.HttpFilterSchema, {
        name: 'envoy.filters.http.router',
        configType: {
          case: 'typedConfig',
          value: anyPack(router.RouterSchema, create(router.RouterSchema)),
        },
      }),
    ],
    accessLog: [
      create(accesslog.AccessLogSchema, {
        name: 'envoy.access_loggers.stdout',
        configType: {
          case: 'typedConfig',
          value: anyPack(streamLog.StdoutAccessLogSchema, create(streamLog.StdoutAccessLogSchema)),
        },
      }),
    ],
    serverName: 'istio-envoy',
    // The client is whoever connects: what it says about itself in headers is not believed.
    useRemoteAddress: true,
    normalizePath: true,
    streamIdleTimeout: duration(streamIdleTimeoutMs),
    upgradeConfigs: [
      create(hcm.HttpConnectionManager_UpgradeConfigSchema, { upgradeType: 'websocket' }),
    ],
  })
  const message = create(api.ListenerSchema, {
    name,
    address: socketAddress('0.0.0.0', port),
    filterChains: [
      create(listenerComponents.FilterChainSchema, {
        filters: [
          create(listenerComponents.FilterSchema, {
            name: 'envoy.filters.network.http_connection_manager',
            configType: {
              case: 'typedConfig',
              value: anyPack(hcm.HttpConnectionManagerSchema, manager),
            },
          }),
        ],
      }),
    ],
    metadata: istioMetadata(gatewayPath(gateway)),
  })
  return encodeResource({ name, typeUrl: typeUrl.listener, schema: api.ListenerSchema, message })
}

function gatewayPath(gateway: Gateway): string {
  return configPath({
    group: 'gateway.networking.k8s.io',
    version: 'v1',
    kind: 'Gateway',
    namespace: gateway.namespace,
    name: gateway.name,
  })
}
