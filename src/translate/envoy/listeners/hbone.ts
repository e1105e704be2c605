/**
 * The ends of HBONE tunnels inside one Envoy. `connect_terminate` takes CONNECT requests off mutual TLS and
 * hands each stream to the internal listener `main_internal`, with the peer's identity, the addresses and
 * the peer's names in filter state. `connect_originate` does the reverse: whoever connects to it gets a
 * tunnel to the node proxy of the endpoint.
 */
import {
  type accesslog,
  listener as api,
  core,
  hcm,
  listenerComponents,
  protocol,
  route,
  routeComponents,
  router,
  tcpProxy,
  tls,
  tlsCommon,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { TranslatedResource } from '../../types.ts'
import { connectOriginate } from '../clusters/names.ts'
import { agentSecret, rootsSecret, uriSans, workloadSecret } from '../clusters/tls.ts'
import type { Scope } from '../lookup/scope.ts'
import { httpFilter, networkFilter } from '../policies/filters.ts'
import { connectAuthorityFilter } from '../policies/identity.ts'
import { tunnelPeerFilters } from '../telemetry/peer.ts'
import { duration, durationMs, socketAddress } from '../values.ts'
import {
  encodeListener,
  inbound,
  originalDestinationFilter,
  outbound,
  wildcardAddresses,
} from './build.ts'
import { transportSocket } from './downstream-tls.ts'

export const connectTerminate = 'connect_terminate'
/** Listener, and the cluster that leads to it. */
export const mainInternal = 'main_internal'
export const hbonePort = 15008

const streamsPerConnection = 100
const pingIntervalMs = 10_000
const pingTimeoutMs = 20_000
const defaultIdleMs = 3_600_000

export function connectTerminateListener(
  scope: Scope,
  accessLog: readonly accesslog.AccessLog[],
): TranslatedResource {
  const [address = '0.0.0.0', ...others] = wildcardAddresses(scope.view)
  return encodeListener(
    create(api.ListenerSchema, {
      name: connectTerminate,
      address: socketAddress(address, hbonePort),
      additionalAddresses: others.map((other) =>
        create(api.AdditionalAddressSchema, { address: socketAddress(other, hbonePort) }),
      ),
      trafficDirection: inbound,
      accessLog: [...accessLog],
      // Tunnels live long: every worker gets its share of them.
      connectionBalanceConfig: create(api.Listener_ConnectionBalanceConfigSchema, {
        balanceType: {
          case: 'exactBalance',
          value: create(api.Listener_ConnectionBalanceConfig_ExactBalanceSchema),
        },
      }),
      filterChains: [
        create(listenerComponents.FilterChainSchema, {
          name: 'default',
          transportSocket: terminationSocket(scope),
          filters: [terminationManager(scope)],
        }),
      ],
    }),
  )
}

/** Node proxies verify no less: both sides have a certificate of the mesh, over TLS 1.3 and nothing else. */
function terminationSocket(scope: Scope): core.TransportSocket {
  const mesh = scope.reader.mesh()
  const domains = [mesh.trustDomain, ...mesh.trustDomainAliases]
  const versions = tlsCommon.TlsParameters_TlsProtocol
  return transportSocket(
    create(tls.DownstreamTlsContextSchema, {
      requireClientCertificate: true,
      commonTlsContext: create(tls.CommonTlsContextSchema, {
        tlsParams: create(tlsCommon.TlsParametersSchema, {
          tlsMinimumProtocolVersion: versions.TLSv1_3,
          tlsMaximumProtocolVersion: versions.TLSv1_3,
        }),
        alpnProtocols: ['h2'],
        tlsCertificateSdsSecretConfigs: [agentSecret(workloadSecret)],
        validationContextType: {
          case: 'combinedValidationContext',
          value: create(tls.CommonTlsContext_CombinedCertificateValidationContextSchema, {
            defaultValidationContext: create(tlsCommon.CertificateValidationContextSchema, {
              matchTypedSubjectAltNames: uriSans(
                domains.map((domain) => ({ kind: 'prefix', value: `spiffe://${domain}/` })),
              ),
            }),
            validationContextSdsSecretConfig: agentSecret(rootsSecret),
          }),
        },
      }),
    }),
  )
}

const connectUpgrade = 'CONNECT'

function terminationManager(scope: Scope): listenerComponents.Filter {
  const idleMs = durationMs(scope.reader.mesh().hboneIdleTimeout) ?? defaultIdleMs
  const message = create(hcm.HttpConnectionManagerSchema, {
    statPrefix: connectTerminate,
    codecType: hcm.HttpConnectionManager_CodecType.HTTP2,
    routeSpecifier: { case: 'routeConfig', value: terminationRoutes() },
    httpFilters: [
      ...tunnelPeerFilters(),
      connectAuthorityFilter(),
      httpFilter('envoy.filters.http.router', router.RouterSchema, create(router.RouterSchema)),
    ],
    upgradeConfigs: [
      create(hcm.HttpConnectionManager_UpgradeConfigSchema, { upgradeType: connectUpgrade }),
    ],
    commonHttpProtocolOptions: create(protocol.HttpProtocolOptionsSchema, {
      idleTimeout: duration(idleMs),
    }),
    http2ProtocolOptions: create(protocol.Http2ProtocolOptionsSchema, {
      allowConnect: true,
      maxConcurrentStreams: streamsPerConnection,
      connectionKeepalive: create(protocol.KeepaliveSettingsSchema, {
        interval: duration(pingIntervalMs),
        timeout: duration(pingTimeoutMs),
      }),
    }),
    streamIdleTimeout: duration(0),
    useRemoteAddress: false,
  })
  return networkFilter(
    'envoy.filters.network.http_connection_manager',
    hcm.HttpConnectionManagerSchema,
    message,
  )
}

function terminationRoutes(): route.RouteConfiguration {
  const toMain = create(routeComponents.RouteSchema, {
    match: create(routeComponents.RouteMatchSchema, {
      pathSpecifier: {
        case: 'connectMatcher',
        value: create(routeComponents.RouteMatch_ConnectMatcherSchema),
      },
    }),
    action: {
      case: 'route',
      value: create(routeComponents.RouteActionSchema, {
        clusterSpecifier: { case: 'cluster', value: mainInternal },
        upgradeConfigs: [
          create(routeComponents.RouteAction_UpgradeConfigSchema, {
            upgradeType: connectUpgrade,
            connectConfig: create(routeComponents.RouteAction_UpgradeConfig_ConnectConfigSchema),
          }),
        ],
        // The tunnel lasts as long as what is in it.
        timeout: duration(0),
      }),
    },
  })
  return create(route.RouteConfigurationSchema, {
    name: 'default',
    virtualHosts: [
      create(routeComponents.VirtualHostSchema, {
        name: 'default',
        domains: ['*'],
        routes: [toMain],
      }),
    ],
    validateClusters: false,
  })
}

/** From an endpoint's metadata, restored as the connection's address, to a CONNECT for that address. */
export function connectOriginateListener(): TranslatedResource {
  const proxy = create(tcpProxy.TcpProxySchema, {
    statPrefix: connectOriginate,
    clusterSpecifier: { case: 'cluster', value: connectOriginate },
    tunnelingConfig: create(tcpProxy.TcpProxy_TunnelingConfigSchema, {
      hostname: '%DOWNSTREAM_LOCAL_ADDRESS%',
    }),
  })
  return encodeListener(
    create(api.ListenerSchema, {
      name: connectOriginate,
      listenerSpecifier: {
        case: 'internalListener',
        value: create(api.Listener_InternalListenerConfigSchema),
      },
      trafficDirection: outbound,
      listenerFilters: [originalDestinationFilter()],
      filterChains: [
        create(listenerComponents.FilterChainSchema, {
          name: 'default',
          filters: [
            networkFilter('envoy.filters.network.tcp_proxy', tcpProxy.TcpProxySchema, proxy),
          ],
        }),
      ],
    }),
  )
}
