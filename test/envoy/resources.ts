/** The few resources that the ADS tests serve, and servers that tell which endpoint was reached. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRegistry, type DescMessage, fromJson, type JsonObject } from '@bufbuild/protobuf'
import {
  cluster,
  endpoint,
  fault,
  hcm,
  listener,
  route,
  router,
  tls,
  tlsSecret,
} from '../../src/proto/envoy.ts'
import { TypedExtensionConfigSchema } from '../../src/proto/gen/envoy/config/core/v3/extension_pb.js'
import { toBinary, typeUrl } from '../../src/proto/index.ts'

const registry = createRegistry(
  hcm.HttpConnectionManagerSchema,
  router.RouterSchema,
  fault.HTTPFaultSchema,
  tls.DownstreamTlsContextSchema,
)

function encode(schema: DescMessage, json: JsonObject): Uint8Array {
  return toBinary(schema, fromJson(schema, json, { registry }))
}

const ads = { ads: {}, resourceApiVersion: 'V3' }

export interface Named {
  readonly typeUrl: string
  readonly name: string
  readonly bytes: Uint8Array
}

/** @param more fields that make it differ */
export function edsCluster(name: string, more: JsonObject = {}): Named {
  const json = {
    name,
    type: 'EDS',
    connectTimeout: '1s',
    edsClusterConfig: { edsConfig: ads },
    ...more,
  }
  return { typeUrl: typeUrl.cluster, name, bytes: encode(cluster.ClusterSchema, json) }
}

export function endpoints(clusterName: string, ports: readonly number[]): Named {
  const lbEndpoints = ports.map((portValue) => ({
    endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } },
  }))
  const json = { clusterName, endpoints: [{ lbEndpoints }] }
  const bytes = encode(endpoint.ClusterLoadAssignmentSchema, json)
  return { typeUrl: typeUrl.endpoint, name: clusterName, bytes }
}

export function routes(name: string, clusterName: string): Named {
  const json = {
    name,
    virtualHosts: [
      {
        name: 'all',
        domains: ['*'],
        routes: [{ match: { prefix: '/' }, route: { cluster: clusterName } }],
      },
    ],
  }
  return { typeUrl: typeUrl.route, name, bytes: encode(route.RouteConfigurationSchema, json) }
}

export interface ListenerWishes {
  readonly routeName: string
  /** Name of an extension configuration that comes by discovery. */
  readonly filter?: string
  /** Name of the serving certificate that comes by discovery. */
  readonly secret?: string
  /** An extension that no Envoy has. */
  readonly broken?: boolean
  readonly statPrefix?: string
}

export function httpListener(name: string, port: number, wishes: ListenerWishes): Named {
  const { routeName, filter, secret, broken = false, statPrefix = 'inbound' } = wishes
  const discovered = {
    configSource: ads,
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault'],
  }
  const manager = {
    '@type': `type.googleapis.com/${hcm.HttpConnectionManagerSchema.typeName}`,
    statPrefix,
    rds: { routeConfigName: routeName, configSource: ads },
    httpFilters: [
      ...(filter === undefined ? [] : [{ name: filter, configDiscovery: discovered }]),
      {
        name: 'envoy.filters.http.router',
        typedConfig: { '@type': `type.googleapis.com/${router.RouterSchema.typeName}` },
      },
    ],
  }
  const context = {
    '@type': `type.googleapis.com/${tls.DownstreamTlsContextSchema.typeName}`,
    commonTlsContext: { tlsCertificateSdsSecretConfigs: [{ name: secret, sdsConfig: ads }] },
  }
  const json = {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue: port } },
    filterChains: [
      {
        ...(secret === undefined
          ? {}
          : { transportSocket: { name: 'envoy.transport_sockets.tls', typedConfig: context } }),
        filters: [
          broken
            ? { name: 'weft.no_such_filter' }
            : { name: 'envoy.filters.network.http_connection_manager', typedConfig: manager },
        ],
      },
    ],
  } as JsonObject // absent parts are left out above
  return { typeUrl: typeUrl.listener, name, bytes: encode(listener.ListenerSchema, json) }
}

/** Answers every request with this status instead of the upstream. */
export function abortFilter(name: string, httpStatus: number): Named {
  const filter = {
    '@type': `type.googleapis.com/${fault.HTTPFaultSchema.typeName}`,
    abort: { httpStatus, percentage: { numerator: 100 } },
  }
  const bytes = encode(TypedExtensionConfigSchema, { name, typedConfig: filter })
  return { typeUrl: typeUrl.extensionConfig, name, bytes }
}

export function tlsCertificate(name: string, chainPem: string, keyPem: string): Named {
  const json = {
    name,
    tlsCertificate: {
      certificateChain: { inlineString: chainPem },
      privateKey: { inlineString: keyPem },
    },
  }
  return { typeUrl: typeUrl.secret, name, bytes: encode(tlsSecret.SecretSchema, json) }
}

/** A server that answers with its own name. */
export async function backend(name: string): Promise<{ port: number; close(): void }> {
  const server = createServer((_request, response) => response.end(name))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
