/** The ADS server over TLS with a source in memory, and a stock Envoy that gets everything from it. */
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { type CallContext, GrpcError, GrpcServer, grpcStatus } from '../../src/grpc/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { MemorySource } from '../../src/xds/fixture.ts'
import { createXdsServer, type TypeInfo, type XdsServer } from '../../src/xds/index.ts'
import { noMetrics } from '../../src/xds/metrics.ts'
import { freePort } from '../free-port.ts'
import { Envoy } from './envoy.ts'
import type { Named } from './resources.ts'

export type Protocol = 'GRPC' | 'DELTA_GRPC'

const serverName = 'istiod.istio-system.svc'
const identity = 'spiffe://cluster.local/ns/shop/sa/app'

async function certificates() {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
  const rootPem = await createCaCertificate({ keys, subject: { commonName: 'test' }, ...validity })
  const chainPem = await issueCertificate({
    issuer: { certificatePem: rootPem, key: keys.privateKey },
    publicKey: own.publicKey,
    names: { dns: [serverName] },
    ...validity,
  })
  return { rootPem, chainPem, keyPem: own.privatePem }
}

export class World {
  readonly source = new MemorySource()
  readonly port: number
  readonly certificates: Awaited<ReturnType<typeof certificates>>
  readonly nacks: string[] = []
  /** Messages sent, by type. */
  readonly pushes: string[] = []
  envoy: Envoy | undefined
  #xds: XdsServer | undefined
  #server: GrpcServer | undefined

  private constructor(port: number, own: Awaited<ReturnType<typeof certificates>>) {
    this.port = port
    this.certificates = own
  }

  static async make(): Promise<World> {
    const world = new World(await freePort(), await certificates())
    await world.up()
    return world
  }

  put(...resources: readonly Named[]): void {
    for (const { typeUrl, name, bytes } of resources) this.source.set(typeUrl, name, bytes)
  }

  async up(): Promise<void> {
    const { chainPem, keyPem, rootPem } = this.certificates
    const xds = createXdsServer({
      source: this.source,
      authenticate: async (context: CallContext) => {
        if (context.header('authorization') === 'Bearer good') return { identity }
        throw new GrpcError(grpcStatus.unauthenticated, 'authentication failure')
      },
      clock: systemClock,
      logger: silentLogger,
      limits: { debounceQuietMs: 20, debounceMaxMs: 200, drainMs: 20 },
      identifier: '{"Component":"istiod","ID":"istiod-test"}',
      metrics: {
        ...noMetrics,
        nacked: (type) => this.nacks.push(type),
        pushed: ({ typeUrl }) => this.pushes.push(typeUrl.slice(typeUrl.lastIndexOf('.') + 1)),
      },
    })
    const server = new GrpcServer({
      listeners: [{ host: '127.0.0.1', port: this.port, tls: true }],
      certificate: () => ({ chainPem, keyPem, clientRootsPem: rootPem }),
      logger: silentLogger,
    })
    xds.register(server)
    await xds.start()
    await server.start()
    this.#xds = xds
    this.#server = server
  }

  async down(): Promise<void> {
    await this.#xds?.stop()
    await this.#server?.stop(0)
  }

  /** What the server knows of Envoy's state of a type. */
  state(typeUrl: string): TypeInfo | undefined {
    return this.#xds?.connections()[0]?.types.find((type) => type.typeUrl === typeUrl)
  }

  async startEnvoy(protocol: Protocol): Promise<Envoy> {
    this.envoy = await Envoy.start(this.#bootstrap(protocol))
    return this.envoy
  }

  async stop(): Promise<void> {
    await this.envoy?.stop()
    await this.down()
  }

  #bootstrap(protocol: Protocol): object {
    const ads = { ads: {}, resource_api_version: 'V3' }
    const backOff = { base_interval: '0.05s', max_interval: '0.2s' }
    const validation = {
      trusted_ca: { inline_string: this.certificates.rootPem },
      match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: serverName } }],
    }
    return {
      node: {
        id: 'sidecar~10.0.0.1~app-1.shop~shop.svc.cluster.local',
        cluster: 'app.shop',
        metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: 'app', CLUSTER_ID: 'Kubernetes' },
      },
      dynamic_resources: {
        lds_config: ads,
        cds_config: ads,
        ads_config: {
          api_type: protocol,
          transport_api_version: 'V3',
          grpc_services: [
            {
              envoy_grpc: { cluster_name: 'xds', retry_policy: { retry_back_off: backOff } },
              initial_metadata: [{ key: 'authorization', value: 'Bearer good' }],
            },
          ],
        },
      },
      static_resources: {
        clusters: [
          {
            name: 'xds',
            connect_timeout: '1s',
            typed_extension_protocol_options: {
              'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
                '@type':
                  'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
            transport_socket: {
              name: 'envoy.transport_sockets.tls',
              typed_config: {
                '@type':
                  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
                sni: serverName,
                common_tls_context: { validation_context: validation },
              },
            },
            load_assignment: {
              cluster_name: 'xds',
              endpoints: [
                {
                  lb_endpoints: [
                    {
                      endpoint: {
                        address: {
                          socket_address: { address: '127.0.0.1', port_value: this.port },
                        },
                      },
                    },
                  ],
                },
              ],
            },
          },
        ],
      },
    }
  }
}
