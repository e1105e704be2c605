/**
 * A stock Envoy as HBONE peer of the node proxy, in either role and in a pod of its own: ending CONNECT at
 * port 15008 as another implementation of the mesh would, or leading plain TCP into CONNECT.
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { workload } from '../../src/proto/index.ts'
import {
  certificateOf,
  createAuthority,
  type TestAuthority,
  TestMesh,
  type TestPod,
} from '../netns/nodeproxy-kit.ts'
import { Envoy } from './envoy.ts'
import { router, type } from './traffic-kit.ts'

/** Ports of the applications behind the tunnels; the tests share them out. */
export const applicationPorts = Array.from({ length: 12 }, (_, index) => 9000 + index)
/** Where the Envoy client takes HTTP/1.1 CONNECT requests to pass on, which shows their answers. */
export const connectPort = 9900
export const envoyBaggage = 'k8s.cluster.name=Kubernetes,k8s.namespace.name=default'

/** One way through: a client's end and a server's end with HBONE between them. */
export interface Way {
  readonly name: string
  readonly clientPod: TestPod
  readonly serverPod: TestPod
  /** Opens a connection as a program beside the client end does. */
  dial(port: number): Promise<net.Socket>
  /** Serves a port of the application's pod. */
  serve(port: number, onConnection: (socket: net.Socket) => void): Promise<void>
}

export class HboneWorld {
  readonly #authority: TestAuthority
  readonly mesh: TestMesh
  readonly envoys: Envoy[] = []
  readonly ways: Way[] = []

  private constructor(authority: TestAuthority, mesh: TestMesh) {
    this.#authority = authority
    this.mesh = mesh
  }

  static async create(): Promise<HboneWorld> {
    const authority = await createAuthority()
    const world = new HboneWorld(authority, await TestMesh.create({ authority }))
    await world.#towardsEnvoy()
    await world.#fromEnvoy()
    return world
  }

  /** Our outbound, Envoy's CONNECT termination. */
  async #towardsEnvoy(): Promise<void> {
    const { mesh } = this
    const clientPod = await mesh.pod('client')
    const serverPod = await mesh.pod('envoy-server', {
      enrolled: false,
      workload: { tunnelProtocol: workload.TunnelProtocol.HBONE },
    })
    const certificate = await this.#certificate(serverPod)
    this.envoys.push(await Envoy.start(terminating(certificate, this.logPath), serverPod.netnsFd))
    this.ways.push({
      name: 'from our outbound to Envoy',
      clientPod,
      serverPod,
      dial: (port) => mesh.connect(clientPod, serverPod.ip, port),
      serve: (port, onConnection) => mesh.serve(serverPod, port, onConnection),
    })
  }

  /** Envoy's TCP-to-CONNECT tunnel, our inbound. */
  async #fromEnvoy(): Promise<void> {
    const { mesh } = this
    const clientPod = await mesh.pod('envoy-client', { enrolled: false })
    const serverPod = await mesh.pod('server')
    const certificate = await this.#certificate(clientPod)
    const bootstrap = tunneling(certificate, serverPod)
    this.envoys.push(await Envoy.start(bootstrap, clientPod.netnsFd))
    this.ways.push({
      name: 'from Envoy to our inbound',
      clientPod,
      serverPod,
      dial: (port) => mesh.connect(clientPod, '127.0.0.1', port),
      serve: (port, onConnection) => mesh.serve(serverPod, port, onConnection),
    })
  }

  /** What the terminating Envoy saw, a line for each tunnel that ended. */
  get logPath(): string {
    return join(this.mesh.folder, 'envoy-access.log')
  }

  log(): string[] {
    return readFileSync(this.logPath, 'utf8').split('\n').filter(Boolean)
  }

  #certificate(pod: TestPod): ReturnType<typeof certificateOf> {
    return certificateOf(this.#authority, identityOf(pod))
  }

  async close(): Promise<void> {
    for (const envoy of this.envoys) await envoy.stop()
    await this.mesh.close()
  }
}

export function identityOf({ namespace, serviceAccount }: TestPod): string {
  return `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`
}

type Certificate = Awaited<ReturnType<typeof certificateOf>>

const socketAddress = (address: string, port: number): object => ({
  socket_address: { address, port_value: port },
})

/** TLS 1.3 with the certificate, and a peer whose URI name matches. */
function tlsContext(kind: string, certificate: Certificate, peer: object, more: object): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      ...type(`extensions.transport_sockets.tls.v3.${kind}`),
      common_tls_context: {
        alpn_protocols: ['h2'],
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
        validation_context: {
          trusted_ca: { inline_string: certificate.rootsPem },
          match_typed_subject_alt_names: [{ san_type: 'URI', matcher: peer }],
        },
      },
      ...more,
    },
  }
}

function connectionManager(fields: object): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: 'hbone',
      http_filters: [router],
      upgrade_configs: [{ upgrade_type: 'CONNECT' }],
      stream_idle_timeout: '0s',
      ...fields,
    },
  }
}

const connectRoute = (cluster: string, connectConfig: object): object => ({
  name: cluster,
  virtual_hosts: [
    {
      name: 'all',
      domains: ['*'],
      routes: [
        {
          match: { connect_matcher: {} },
          route: {
            cluster,
            timeout: '0s',
            upgrade_configs: [{ upgrade_type: 'CONNECT', ...connectConfig }],
          },
        },
      ],
      response_headers_to_add: [{ header: { key: 'baggage', value: envoyBaggage } }],
    },
  ],
})

/** Ends CONNECT at 15008 and leads the bytes to the address in its authority. */
function terminating(certificate: Certificate, logPath: string): object {
  const format =
    '%REQ(:AUTHORITY)%|%DOWNSTREAM_PEER_URI_SAN%|%REQ(baggage)%|%REQ(forwarded)%|%REQ(traceparent)%|%DOWNSTREAM_TLS_VERSION%\n'
  const accessLog = {
    name: 'envoy.access_loggers.file',
    typed_config: {
      ...type('extensions.access_loggers.file.v3.FileAccessLog'),
      path: logPath,
      log_format: { text_format_source: { inline_string: format } },
    },
  }
  const http = connectionManager({
    codec_type: 'HTTP2',
    http2_protocol_options: { allow_connect: true },
    access_log: [accessLog],
    route_config: connectRoute('application', { connect_config: {} }),
  })
  const peers = { prefix: 'spiffe://cluster.local/' }
  const transport = tlsContext('DownstreamTlsContext', certificate, peers, {
    require_client_certificate: true,
  })
  return {
    static_resources: {
      listeners: [
        {
          name: 'hbone',
          address: socketAddress('0.0.0.0', 15_008),
          filter_chains: [{ transport_socket: transport, filters: [http] }],
        },
      ],
      clusters: [
        {
          name: 'application',
          connect_timeout: '2s',
          type: 'ORIGINAL_DST',
          lb_policy: 'CLUSTER_PROVIDED',
          original_dst_lb_config: { use_http_header: true, http_header_name: ':authority' },
        },
      ],
    },
  }
}

/** Leads each application port of its own loopback into CONNECT to the same port of the pod. */
function tunneling(certificate: Certificate, server: TestPod): object {
  const listeners: object[] = applicationPorts.map((port) => ({
    name: `tcp-${port}`,
    address: socketAddress('127.0.0.1', port),
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
              stat_prefix: 'tunnel',
              cluster: 'tunnel',
              idle_timeout: '0s',
              tunneling_config: {
                hostname: `${server.ip}:${port}`,
                headers_to_add: [{ header: { key: 'baggage', value: envoyBaggage } }],
              },
            },
          },
        ],
      },
    ],
  }))
  const http = connectionManager({
    codec_type: 'HTTP1',
    route_config: connectRoute('tunnel', {}),
  })
  listeners.push({
    name: 'connect',
    address: socketAddress('127.0.0.1', connectPort),
    filter_chains: [{ filters: [http] }],
  })
  const peer = { exact: identityOf(server) }
  const endpoint = { address: socketAddress(server.ip, 15_008) }
  return {
    static_resources: {
      listeners,
      clusters: [
        {
          name: 'tunnel',
          connect_timeout: '2s',
          type: 'STATIC',
          circuit_breakers: { thresholds: [{ max_connections: 5000, max_requests: 5000 }] },
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              ...type('extensions.upstreams.http.v3.HttpProtocolOptions'),
              explicit_http_config: { http2_protocol_options: { allow_connect: true } },
            },
          },
          transport_socket: tlsContext('UpstreamTlsContext', certificate, peer, {}),
          load_assignment: {
            cluster_name: 'tunnel',
            endpoints: [{ lb_endpoints: [{ endpoint }] }],
          },
        },
      ],
    },
  }
}

/** A port of our own loopback that leads to what `open` opens, for clients which want an address. */
export async function forwarder(open: () => Promise<net.Socket>): Promise<ForwarderHandle> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    sockets.add(near)
    near.on('error', () => {})
    open().then(
      (far) => {
        sockets.add(far)
        far.on('error', () => near.destroy())
        near.on('error', () => far.destroy())
        near.pipe(far).pipe(near)
      },
      () => near.destroy(),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

export interface ForwarderHandle {
  readonly port: number
  close(): void
}
