/**
 * What Envoy is started with: who it is, where the control plane and the agent are, and its own pages. All else
 * comes over ADS. It dials the control plane itself, with the workload's certificate, so that nothing of ours
 * stands between the two, and the stream lives as long as both ends do.
 */
import type { AgentConfig } from './config.ts'
import { limits } from './limits.ts'

/** Names of secrets that the agent serves; the control plane's configuration uses the first two. */
export const secretNames = {
  workload: 'default',
  roots: 'ROOTCA',
  /** The roots behind the control plane's own certificate. */
  controlPlane: 'CONTROL-PLANE-ROOTS',
} as const

const secretCluster = 'sds-grpc'
const xdsCluster = 'xds-grpc'
const adminCluster = 'prometheus_stats'

/** Figures of these beginnings are kept; all others would cost memory for each cluster. As Istio's. */
const keptPrefixes = [
  'cluster_manager',
  'listener_manager',
  'server',
  `cluster.${xdsCluster}`,
  'istio',
  'wasm',
]
const keptParts = ['.downstream_cx_active', '.downstream_rq_total', '.ssl.handshake']

const runtime = {
  // Expressions of users are checked before they come here, and may be longer than Envoy's own bound.
  're2.max_program_size.error_level': 32_768,
}
const connectionsMonitor = 'envoy.resource_monitors.global_downstream_max_connections'

export function bootstrap(config: AgentConfig): object {
  const { node, adminPort, prometheusPort } = config
  const ads = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' }
  return {
    node,
    admin: {
      address: socketAddress('127.0.0.1', adminPort),
      profile_path: `${config.folder}/envoy.prof`,
    },
    layered_runtime: {
      layers: [
        { name: 'static', static_layer: runtime },
        { name: 'admin', admin_layer: {} },
      ],
    },
    overload_manager: {
      resource_monitors: [
        {
          name: connectionsMonitor,
          typed_config: {
            '@type': type(
              'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
            ),
            max_active_downstream_connections: limits.connectionsMax,
          },
        },
      ],
    },
    stats_config: {
      stats_matcher: {
        inclusion_list: {
          patterns: [
            ...keptPrefixes.map((prefix) => ({ prefix })),
            ...keptParts.map((contains) => ({ contains })),
          ],
        },
      },
    },
    bootstrap_extensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typed_config: {
          '@type': type('envoy.extensions.bootstrap.internal_listener.v3.InternalListener'),
        },
      },
    ],
    dynamic_resources: {
      lds_config: ads,
      cds_config: ads,
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: xdsCluster } }],
      },
    },
    static_resources: {
      clusters: [
        grpcCluster(secretCluster, { pipe: { path: config.secretSocket } }, 'STATIC'),
        {
          ...grpcCluster(xdsCluster, addressOf(config.xdsAddress), 'STRICT_DNS'),
          dns_lookup_family: 'V4_PREFERRED',
          transport_socket: controlPlaneTls(config.xdsAddress),
        },
        {
          name: adminCluster,
          type: 'STATIC',
          connect_timeout: '1s',
          load_assignment: assignment(adminCluster, socketAddress('127.0.0.1', adminPort)),
        },
      ],
      listeners: [statsListener(prometheusPort)],
    },
  }
}

function type(name: string): string {
  return `type.googleapis.com/${name}`
}

function socketAddress(address: string, port: number): object {
  return { socket_address: { address, port_value: port } }
}

/** `host:port`, also with an IPv6 address in brackets. */
function addressOf(hostAndPort: string): object {
  const { host, port } = split(hostAndPort)
  return socketAddress(host, port)
}

function split(hostAndPort: string): { readonly host: string; readonly port: number } {
  const colon = hostAndPort.lastIndexOf(':')
  const host = hostAndPort.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(hostAndPort.slice(colon + 1)) }
}

function assignment(name: string, address: object): object {
  return {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
  }
}

/** HTTP/2, with a question now and then whether the other end is there. */
function grpcCluster(name: string, address: object, discovery: string): object {
  const options = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
  const keepalive = { interval: '30s', timeout: '10s' }
  return {
    name,
    type: discovery,
    connect_timeout: '10s',
    typed_extension_protocol_options: {
      [options]: {
        '@type': type(options),
        explicit_http_config: { http2_protocol_options: { connection_keepalive: keepalive } },
      },
    },
    load_assignment: assignment(name, address),
  }
}

function controlPlaneTls(xdsAddress: string): object {
  const { host } = split(xdsAddress)
  const secret = (name: string): object => ({
    name,
    sds_config: {
      resource_api_version: 'V3',
      initial_fetch_timeout: '0s',
      api_config_source: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: secretCluster } }],
      },
    },
  })
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
      sni: host,
      common_tls_context: {
        alpn_protocols: ['h2'],
        tls_params: {
          tls_minimum_protocol_version: 'TLSv1_2',
          tls_maximum_protocol_version: 'TLSv1_3',
        },
        tls_certificate_sds_secret_configs: [secret(secretNames.workload)],
        combined_validation_context: {
          default_validation_context: {
            match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: host } }],
          },
          validation_context_sds_secret_config: secret(secretNames.controlPlane),
        },
      },
    },
  }
}

/** `/stats/prometheus` for scrapers that can't reach the admin port. */
function statsListener(port: number): object {
  const manager =
    'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
  const router = 'envoy.extensions.filters.http.router.v3.Router'
  return {
    name: 'stats',
    address: socketAddress('0.0.0.0', port),
    // Scrapes go on while the proxy drains.
    drain_type: 'MODIFY_ONLY',
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': type(manager),
              stat_prefix: 'stats',
              route_config: {
                virtual_hosts: [
                  {
                    name: 'stats',
                    domains: ['*'],
                    routes: [
                      {
                        match: { path: '/stats/prometheus' },
                        route: { cluster: adminCluster },
                      },
                    ],
                  },
                ],
              },
              http_filters: [
                { name: 'envoy.filters.http.router', typed_config: { '@type': type(router) } },
              ],
            },
          },
        ],
      },
    ],
  }
}
