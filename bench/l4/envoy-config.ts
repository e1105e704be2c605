/**
 * What stock Envoys are told: a sidecar pair (HTTP over mutual TLS, with authorization by the client's
 * identity) and a tunnel pair (TCP in HTTP/2 CONNECT over mutual TLS, with the same).
 */
import type { WorkloadCertificate } from '../../src/identity/index.ts'

export interface EnvoyPlan {
  /** Where the client end listens, on its loopback. */
  readonly http: number
  readonly bulk: number
  /** Where the server end listens. */
  readonly inboundHttp: number
  readonly inboundBulk: number
  readonly serverIp: string
  readonly applicationHttp: number
  readonly applicationBulk: number
  readonly clientIdentity: string
}

const type = (name: string): { '@type': string } => ({
  '@type': `type.googleapis.com/envoy.${name}`,
})
const at = (address: string, port: number): object => ({
  socket_address: { address, port_value: port },
})

function tlsContext(kind: string, certificate: WorkloadCertificate, alpn: string[]): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      ...type(`extensions.transport_sockets.tls.v3.${kind}`),
      common_tls_context: {
        alpn_protocols: alpn,
        tls_params: {
          tls_minimum_protocol_version: 'TLSv1_3',
          tls_maximum_protocol_version: 'TLSv1_3',
        },
        tls_certificates: [
          {
            certificate_chain: { inline_string: certificate.chainPem },
            private_key: { inline_string: certificate.keyPem },
          },
        ],
        validation_context: { trusted_ca: { inline_string: certificate.rootsPem } },
      },
      ...(kind.startsWith('Down') ? { require_client_certificate: true } : {}),
    },
  }
}

function cluster(name: string, address: string, port: number, more: object = {}): object {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    circuit_breakers: { thresholds: [{ max_connections: 65_536, max_requests: 65_536 }] },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: at(address, port) } }] }],
    },
    ...more,
  }
}

const upstreamHttp2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      ...type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}

const router = {
  name: 'envoy.filters.http.router',
  typed_config: type('extensions.filters.http.router.v3.Router'),
}

const rules = (identity: string): object => ({
  rules: {
    action: 'ALLOW',
    policies: {
      client: {
        permissions: [{ any: true }],
        principals: [{ authenticated: { principal_name: { exact: identity } } }],
      },
    },
  },
})

const httpRbac = (identity: string): object => ({
  name: 'envoy.filters.http.rbac',
  typed_config: { ...type('extensions.filters.http.rbac.v3.RBAC'), ...rules(identity) },
})

const networkRbac = (identity: string): object => ({
  name: 'envoy.filters.network.rbac',
  typed_config: {
    ...type('extensions.filters.network.rbac.v3.RBAC'),
    stat_prefix: 'rbac',
    ...rules(identity),
  },
})

function http(clusterName: string, filters: object[], more: object, route: object = {}): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: clusterName,
      stream_idle_timeout: '0s',
      http_filters: [...filters, router],
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              { match: { prefix: '/' }, route: { cluster: clusterName, timeout: '0s' }, ...route },
            ],
          },
        ],
      },
      ...more,
    },
  }
}

function tcp(clusterName: string, more: object = {}): object {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
      stat_prefix: clusterName,
      cluster: clusterName,
      idle_timeout: '0s',
      ...more,
    },
  }
}

function listener(address: string, port: number, filters: object[], tls?: object): object {
  return {
    name: `l${port}`,
    address: at(address, port),
    filter_chains: [{ filters, ...(tls === undefined ? {} : { transport_socket: tls }) }],
  }
}

const bootstrap = (listeners: object[], clusters: object[]): object => ({
  static_resources: { listeners, clusters },
})

interface Pair {
  readonly client: object
  readonly server: object
}

export function sidecars(
  plan: EnvoyPlan,
  client: WorkloadCertificate,
  server: WorkloadCertificate,
): Pair {
  const upstream = { transport_socket: tlsContext('UpstreamTlsContext', client, ['http/1.1']) }
  const downstream = tlsContext('DownstreamTlsContext', server, ['http/1.1'])
  return {
    client: bootstrap(
      [
        listener('127.0.0.1', plan.http, [http('web', [], {})]),
        listener('127.0.0.1', plan.bulk, [tcp('bulk')]),
      ],
      [
        cluster('web', plan.serverIp, plan.inboundHttp, upstream),
        cluster('bulk', plan.serverIp, plan.inboundBulk, upstream),
      ],
    ),
    server: bootstrap(
      [
        listener(
          '0.0.0.0',
          plan.inboundHttp,
          [http('web', [httpRbac(plan.clientIdentity)], {})],
          downstream,
        ),
        listener(
          '0.0.0.0',
          plan.inboundBulk,
          [networkRbac(plan.clientIdentity), tcp('bulk')],
          downstream,
        ),
      ],
      [
        cluster('web', '127.0.0.1', plan.applicationHttp),
        cluster('bulk', '127.0.0.1', plan.applicationBulk),
      ],
    ),
  }
}

export function tunnels(
  plan: EnvoyPlan,
  client: WorkloadCertificate,
  server: WorkloadCertificate,
): Pair {
  const upstream = {
    transport_socket: tlsContext('UpstreamTlsContext', client, ['h2']),
    ...upstreamHttp2,
  }
  const downstream = tlsContext('DownstreamTlsContext', server, ['h2'])
  const end = (name: string): object =>
    http(
      name,
      [httpRbac(plan.clientIdentity)],
      {
        codec_type: 'HTTP2',
        http2_protocol_options: { allow_connect: true },
        upgrade_configs: [{ upgrade_type: 'CONNECT' }],
      },
      {
        match: { connect_matcher: {} },
        route: {
          cluster: name,
          timeout: '0s',
          upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
        },
      },
    )
  const begin = (name: string, port: number): object =>
    tcp(name, { tunneling_config: { hostname: `${plan.serverIp}:${port}` } })
  return {
    client: bootstrap(
      [
        listener('127.0.0.1', plan.http, [begin('web', plan.applicationHttp)]),
        listener('127.0.0.1', plan.bulk, [begin('bulk', plan.applicationBulk)]),
      ],
      [
        cluster('web', plan.serverIp, plan.inboundHttp, upstream),
        cluster('bulk', plan.serverIp, plan.inboundBulk, upstream),
      ],
    ),
    server: bootstrap(
      [
        listener('0.0.0.0', plan.inboundHttp, [end('web')], downstream),
        listener('0.0.0.0', plan.inboundBulk, [end('bulk')], downstream),
      ],
      [
        cluster('web', '127.0.0.1', plan.applicationHttp),
        cluster('bulk', '127.0.0.1', plan.applicationBulk),
      ],
    ),
  }
}
