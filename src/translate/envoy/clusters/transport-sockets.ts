/** Transport sockets: plain, TLS, the tunnel to ambient workloads, and the PROXY protocol header. */
import {
  cluster as api,
  core,
  internalUpstream,
  metadataKind,
  proxyProtocol,
  rawBuffer,
  tls,
  upstreamProxyProtocol,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { pack } from '../values.ts'

export function plainSocket(): core.TransportSocket {
  return socket(
    'envoy.transport_sockets.raw_buffer',
    pack(rawBuffer.RawBufferSchema, create(rawBuffer.RawBufferSchema)),
  )
}

export function tlsSocket(context: tls.UpstreamTlsContext): core.TransportSocket {
  return socket('envoy.transport_sockets.tls', pack(tls.UpstreamTlsContextSchema, context))
}

/** Into an internal listener of the same proxy, with what that must know about the endpoint. */
export function internalSocket(inner = plainSocket()): core.TransportSocket {
  const value = (
    name: string,
    kind: metadataKind.MetadataKind['kind'],
  ): internalUpstream.InternalUpstreamTransport_MetadataValueSource =>
    create(internalUpstream.InternalUpstreamTransport_MetadataValueSourceSchema, {
      name,
      kind: create(metadataKind.MetadataKindSchema, { kind }),
    })
  const host: metadataKind.MetadataKind['kind'] = {
    case: 'host',
    value: create(metadataKind.MetadataKind_HostSchema),
  }
  const cluster: metadataKind.MetadataKind['kind'] = {
    case: 'cluster',
    value: create(metadataKind.MetadataKind_ClusterSchema),
  }
  return socket(
    'envoy.transport_sockets.internal_upstream',
    pack(
      internalUpstream.InternalUpstreamTransportSchema,
      create(internalUpstream.InternalUpstreamTransportSchema, {
        passthroughMetadata: [
          value('envoy.filters.listener.original_dst', host),
          value('istio', cluster),
          value('istio', host),
        ],
        transportSocket: inner,
      }),
    ),
  )
}

export function withProxyProtocol(
  inner: core.TransportSocket,
  version: 'V1' | 'V2',
): core.TransportSocket {
  const versions = proxyProtocol.ProxyProtocolConfig_Version
  return socket(
    'envoy.transport_sockets.upstream_proxy_protocol',
    pack(
      upstreamProxyProtocol.ProxyProtocolUpstreamTransportSchema,
      create(upstreamProxyProtocol.ProxyProtocolUpstreamTransportSchema, {
        config: create(proxyProtocol.ProxyProtocolConfigSchema, {
          version: version === 'V2' ? versions.V2 : versions.V1,
        }),
        transportSocket: inner,
      }),
    ),
  )
}

function socket(name: string, typedConfig: ReturnType<typeof pack>): core.TransportSocket {
  return create(core.TransportSocketSchema, {
    name,
    configType: { case: 'typedConfig', value: typedConfig },
  })
}

/** The socket for endpoints whose metadata says so; the first that fits is taken. */
export function socketMatch(
  name: string,
  match: Readonly<Record<string, string>>,
  transportSocket: core.TransportSocket,
): api.Cluster_TransportSocketMatch {
  return create(api.Cluster_TransportSocketMatchSchema, {
    name,
    match: { ...match },
    transportSocket,
  })
}
