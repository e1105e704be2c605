/**
 * For the test of whole views: a mesh in YAML, what one proxy gets of it over a real ADS stream, a stock
 * Envoy with that, and a second gRPC service in the place of the agent (certificates of the workload).
 */
import type { JsonObject } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { GrpcServer } from '../../src/grpc/index.ts'
import { modelEvents, objectsFromYaml } from '../../src/ingest/index.ts'
import { buildSnapshot, defaultMeshSettings } from '../../src/model/index.ts'
import { tlsSecret } from '../../src/proto/envoy.ts'
import {
  create,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  fromJson,
  typeUrl,
} from '../../src/proto/index.ts'
import { type ProxyView, proxyView } from '../../src/translate/envoy/proxy.ts'
import { translateView, type ViewTranslation } from '../../src/translate/envoy/view.ts'
import { Memo } from '../../src/translate/index.ts'
import { MemorySource } from '../../src/xds/fixture.ts'
import { createXdsServer, type XdsServer } from '../../src/xds/index.ts'
import { noMetrics } from '../../src/xds/metrics.ts'
import { freePort } from '../free-port.ts'
import { Envoy, until } from './envoy.ts'
import type { Identity } from './traffic-kit.ts'

export function translated(
  yaml: string,
  view: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>,
): ViewTranslation {
  const objects = objectsFromYaml(yaml, 'view').map(({ object }) => object)
  const events = modelEvents(objects, defaultMeshSettings)
  const snapshot = buildSnapshot(defaultMeshSettings, events)
  return translateView({ snapshot, memo: new Memo(), keySets: new Map() }, proxyView(view))
}

export class ViewWorld {
  readonly source = new MemorySource()
  readonly nacks: string[] = []
  readonly #view: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>
  readonly #identity: Identity
  readonly #known = new Set<string>()
  #xds: XdsServer | undefined
  #server: GrpcServer | undefined
  #envoy: Envoy | undefined

  constructor(view: ViewWorld['view'], identity: Identity) {
    this.#view = view
    this.#identity = identity
  }

  get view(): Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'> {
    return this.#view
  }

  get envoy(): Envoy {
    if (this.#envoy === undefined) throw new Error('not started')
    return this.#envoy
  }

  /** Puts a mesh in place of the one before. */
  apply(yaml: string): ViewTranslation {
    const translation = translated(yaml, this.#view)
    const now = new Set<string>()
    for (const resource of Object.values(translation.resources).flat()) {
      now.add(`${resource.typeUrl} ${resource.name}`)
      this.source.set(resource.typeUrl, resource.name, resource.bytes)
    }
    for (const key of this.#known) {
      const [type = '', ...name] = key.split(' ')
      if (!now.has(key)) this.source.delete(type, name.join(' '))
    }
    this.#known.clear()
    for (const key of now) this.#known.add(key)
    return translation
  }

  /** Starts servers and Envoy, and waits until it has taken everything. */
  async start(): Promise<void> {
    const port = await freePort()
    const xds = createXdsServer({
      source: this.source,
      authenticate: async () => ({ identity: 'spiffe://cluster.local/ns/shop/sa/proxy' }),
      clock: systemClock,
      logger: silentLogger,
      limits: { debounceQuietMs: 20, debounceMaxMs: 200, drainMs: 20 },
      identifier: '{"Component":"istiod","ID":"istiod-test"}',
      metrics: { ...noMetrics, nacked: (type) => this.nacks.push(type) },
    })
    const server = new GrpcServer({
      listeners: [{ host: '127.0.0.1', port, tls: false }],
      logger: silentLogger,
    })
    xds.register(server)
    this.#registerAgent(server)
    await xds.start()
    await server.start()
    this.#xds = xds
    this.#server = server
    this.#envoy = await Envoy.start(bootstrap(port, this.#view))
    await until('Envoy has its listeners', async () => {
      const { body } = await this.envoy.admin('/server_info')
      return body.includes('"state": "LIVE"')
    })
  }

  async stop(): Promise<void> {
    await this.#envoy?.stop()
    await this.#xds?.stop()
    await this.#server?.stop(0)
  }

  /** What the agent beside the proxy does: its own certificate and the mesh's roots, by name. */
  #registerAgent(server: GrpcServer): void {
    const method = {
      name: 'StreamSecrets',
      parent: { typeName: 'envoy.service.secret.v3.SecretDiscoveryService' },
      input: DiscoveryRequestSchema,
      output: DiscoveryResponseSchema,
    }
    const { cert, key, ca } = this.#identity
    const inline = (inlineString: string): { inlineString: string } => ({ inlineString })
    server.registerBidi(method, (stream) => {
      stream.onMessage((request) => {
        if (request.responseNonce !== '') return
        const resources = request.resourceNames.map((name) => {
          const content: JsonObject =
            name === 'ROOTCA'
              ? { name, validationContext: { trustedCa: inline(ca) } }
              : {
                  name,
                  tlsCertificate: { certificateChain: inline(cert), privateKey: inline(key) },
                }
          const secret = fromJson(tlsSecret.SecretSchema, content)
          return anyPack(tlsSecret.SecretSchema, secret)
        })
        const answer = { versionInfo: '1', nonce: '1', typeUrl: typeUrl.secret, resources }
        void stream.send(create(DiscoveryResponseSchema, answer))
      })
    })
  }
}

function bootstrap(port: number, view: ViewWorld['view']): object {
  const ads = { ads: {}, resource_api_version: 'V3' }
  const grpc = (name: string): object => ({
    name,
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: [
            {
              endpoint: {
                address: { socket_address: { address: '127.0.0.1', port_value: port } },
              },
            },
          ],
        },
      ],
    },
  })
  const kind = view.kind === 'gateway' ? 'router' : view.kind
  return {
    node: {
      id: `${kind}~10.244.0.9~proxy-1.${view.namespace}~${view.namespace}.svc.cluster.local`,
      cluster: `proxy.${view.namespace}`,
      metadata: { NAMESPACE: view.namespace, SERVICE_ACCOUNT: 'proxy', CLUSTER_ID: 'Kubernetes' },
    },
    bootstrap_extensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typed_config: {
          '@type':
            'type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener',
        },
      },
    ],
    dynamic_resources: {
      lds_config: ads,
      cds_config: ads,
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds' } }],
      },
    },
    static_resources: { clusters: [grpc('xds'), grpc('sds-grpc')] },
  }
}
