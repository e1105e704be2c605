/** Clusters that stand for no service: pass-through, black hole, the proxy's own inbound side, tunnels. */
import type { ConnectionPoolSettings, ServicePort } from '../../../model/index.ts'
import {
  address as addressApi,
  cluster as api,
  core,
  endpoint as endpointApi,
  endpointComponents,
  httpProtocolOptions,
  metadataKind,
  protocol,
  tls,
  tlsCommon,
} from '../../../proto/envoy.ts'
import { create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import type { Reader } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import type { Scope } from '../lookup/scope.ts'
import {
  duration,
  durationMs,
  type Fields,
  internalAddress,
  pack,
  pipeAddress,
  socketAddress,
} from '../values.ts'
import {
  blackHoleCluster,
  connectOriginate,
  inboundClusterName,
  inboundPassthroughCluster,
  passthroughCluster,
} from './names.ts'
import { circuitBreakers, connectTimeoutMs, upstreamConnectionOptions } from './pool.ts'
import { httpOptions, httpOptionsName } from './protocol.ts'
import { agentSecret, rootsSecret, uriSans, workloadSecret } from './tls.ts'
import { internalSocket, tlsSocket } from './transport-sockets.ts'

/** What inbound connections to the application come from, so that they are not captured again. */
const inboundSource = { ipv4: '127.0.0.6', ipv6: '::6' } as const
const hbonePort = 15008
const cleanupMs = 60_000
const defaultHboneIdleMs = 3_600_000

function encode(message: api.Cluster): TranslatedResource {
  const schema = api.ClusterSchema
  return encodeResource({ name: message.name, typeUrl: typeUrl.cluster, schema, message })
}

/** Where unknown destinations go, and where they are dropped; every proxy that captures has both. */
export function outboundStaticClusters(reader: Reader): TranslatedResource[] {
  const mesh = reader.mesh()
  return [
    encode(
      create(api.ClusterSchema, {
        name: blackHoleCluster,
        clusterDiscoveryType: { case: 'type', value: api.Cluster_DiscoveryType.STATIC },
        connectTimeout: duration(connectTimeoutMs(undefined, mesh)),
      }),
    ),
    encode(
      create(api.ClusterSchema, {
        name: passthroughCluster,
        ...originalDestination(),
        connectTimeout: duration(connectTimeoutMs(undefined, mesh)),
        circuitBreakers: circuitBreakers(undefined, undefined),
        ...upstreamConnectionOptions(undefined, mesh),
        ...downstreamProtocol(),
      }),
    ),
  ]
}

/** For captured connections to ports that no service has. */
export function inboundPassthrough(reader: Reader, family: 'ipv4' | 'ipv6'): TranslatedResource {
  return encode(
    create(api.ClusterSchema, {
      name: family === 'ipv4' ? inboundPassthroughCluster : `${inboundPassthroughCluster}Ipv6`,
      ...originalDestination(),
      connectTimeout: duration(connectTimeoutMs(undefined, reader.mesh())),
      circuitBreakers: circuitBreakers(undefined, undefined),
      upstreamBindConfig: create(addressApi.BindConfigSchema, { sourceAddress: source(family) }),
      ...downstreamProtocol(),
    }),
  )
}

export interface InboundCluster {
  /** The workload's own port. */
  readonly port: number
  readonly servicePort: ServicePort
  readonly pool: ConnectionPoolSettings | undefined
  /** From Sidecar ingress: `127.0.0.1:8080`, `0.0.0.0:8080` or `unix:///path`. */
  readonly defaultEndpoint: string | undefined
  /** What put it there. */
  readonly metadata: core.Metadata | undefined
}

/** From the proxy to its own application. */
export function inboundCluster(scope: Scope, options: InboundCluster): TranslatedResource {
  const { port, servicePort, pool, defaultEndpoint, metadata } = options
  const mesh = scope.reader.mesh()
  const name = inboundClusterName(port)
  const isHttp = servicePort.appProtocol !== 'tcp' && servicePort.appProtocol !== 'tls'
  const http = httpOptions({
    protocol: isHttp ? 'auto' : 'tcp',
    pool,
    outlier: undefined,
    autoSni: false,
    autoSanValidation: false,
  })
  const family = scope.view.ipFamilies[0] ?? 'ipv4'
  return encode(
    create(api.ClusterSchema, {
      name,
      ...destinationOf(
        name,
        localEndpoint(defaultEndpoint, mesh.inboundTrafficPolicy.mode, port),
        family,
      ),
      connectTimeout: duration(connectTimeoutMs(pool, mesh)),
      circuitBreakers: circuitBreakers(pool, undefined),
      ...upstreamConnectionOptions(pool, mesh),
      ...(http === undefined ? {} : { typedExtensionProtocolOptions: http }),
      ...(metadata === undefined ? {} : { metadata }),
    }),
  )
}

/** Undefined: the address the client meant, which is one of the pod's own. */
function localEndpoint(
  given: string | undefined,
  mode: string | undefined,
  port: number,
): string | undefined {
  if (given !== undefined && given !== '' && !given.startsWith('0.0.0.0')) return given
  return mode === 'LOCALHOST' && given === undefined ? `127.0.0.1:${port}` : undefined
}

function destinationOf(
  name: string,
  endpoint: string | undefined,
  family: 'ipv4' | 'ipv6',
): Fields<api.Cluster> {
  if (endpoint === undefined) {
    return {
      ...originalDestination(),
      upstreamBindConfig: create(addressApi.BindConfigSchema, { sourceAddress: source(family) }),
    }
  }
  const colon = endpoint.lastIndexOf(':')
  const host = endpoint.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  const address = endpoint.startsWith('unix://')
    ? pipeAddress(endpoint.slice('unix://'.length))
    : socketAddress(host, Number(endpoint.slice(colon + 1)))
  return staticEndpoint(name, address)
}

function staticEndpoint(
  name: string,
  address: ReturnType<typeof socketAddress>,
): Fields<api.Cluster> {
  return {
    clusterDiscoveryType: { case: 'type', value: api.Cluster_DiscoveryType.STATIC },
    loadAssignment: create(endpointApi.ClusterLoadAssignmentSchema, {
      clusterName: name,
      endpoints: [
        create(endpointComponents.LocalityLbEndpointsSchema, {
          lbEndpoints: [
            create(endpointComponents.LbEndpointSchema, {
              hostIdentifier: {
                case: 'endpoint',
                value: create(endpointComponents.EndpointSchema, { address }),
              },
            }),
          ],
        }),
      ],
    }),
  }
}

function originalDestination(): Fields<api.Cluster> {
  return {
    clusterDiscoveryType: { case: 'type', value: api.Cluster_DiscoveryType.ORIGINAL_DST },
    lbPolicy: api.Cluster_LbPolicy.CLUSTER_PROVIDED,
  }
}

function downstreamProtocol(): Fields<api.Cluster> {
  const options = httpOptions({
    protocol: 'auto',
    pool: undefined,
    outlier: undefined,
    autoSni: false,
    autoSanValidation: false,
  })
  return options === undefined ? {} : { typedExtensionProtocolOptions: options }
}

function source(family: 'ipv4' | 'ipv6'): addressApi.SocketAddress {
  return create(addressApi.SocketAddressSchema, {
    address: inboundSource[family],
    portSpecifier: { case: 'portValue', value: 0 },
  })
}

/** A cluster whose only endpoint is an internal listener of the same proxy. */
export function internalCluster(name: string, listener = name): TranslatedResource {
  return encode(
    create(api.ClusterSchema, {
      name,
      ...staticEndpoint(name, internalAddress(listener)),
      ...downstreamProtocol(),
      // Carries the connection's filter state (addresses, identities, names) into the listener.
      transportSocket: internalSocket(),
    }),
  )
}

/** HBONE to whichever node proxy the internal listener names: mutual TLS 1.3, HTTP/2, CONNECT. */
export function connectOriginateCluster(scope: Scope): TranslatedResource {
  const { reader } = scope
  const mesh = reader.mesh()
  const versions = tlsCommon.TlsParameters_TlsProtocol
  const domains = [mesh.trustDomain, ...mesh.trustDomainAliases]
  const context = create(tls.UpstreamTlsContextSchema, {
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
  })
  const idleMs = durationMs(mesh.hboneIdleTimeout) ?? defaultHboneIdleMs
  const options = create(httpProtocolOptions.HttpProtocolOptionsSchema, {
    commonHttpProtocolOptions: create(protocol.HttpProtocolOptionsSchema, {
      idleTimeout: duration(idleMs),
    }),
    upstreamProtocolOptions: {
      case: 'explicitHttpConfig',
      value: create(httpProtocolOptions.HttpProtocolOptions_ExplicitHttpConfigSchema, {
        protocolConfig: {
          case: 'http2ProtocolOptions',
          value: create(protocol.Http2ProtocolOptionsSchema, { allowConnect: true }),
        },
      }),
    },
  })
  return encode(
    create(api.ClusterSchema, {
      name: connectOriginate,
      ...originalDestination(),
      connectTimeout: duration(connectTimeoutMs(undefined, mesh)),
      cleanupInterval: duration(cleanupMs),
      lbConfig: {
        case: 'originalDstLbConfig',
        value: create(api.Cluster_OriginalDstLbConfigSchema, {
          upstreamPortOverride: hbonePort,
          metadataKey: create(metadataKind.MetadataKeySchema, {
            key: 'envoy.filters.listener.original_dst',
            path: [{ segment: { case: 'key', value: 'waypoint' } }],
          }),
        }),
      },
      typedExtensionProtocolOptions: {
        [httpOptionsName]: pack(httpProtocolOptions.HttpProtocolOptionsSchema, options),
      },
      transportSocket: tlsSocket(context),
    }),
  )
}
