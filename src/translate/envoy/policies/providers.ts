/** Extension providers of MeshConfig: found by name, and where in the mesh they answer. */
import type { ExtensionProvider, ProviderService } from '../../../model/index.ts'
import { core, grpcService, httpUri } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { type ClusterRef, outboundRef } from '../clusters/names.ts'
import { duration } from '../values.ts'

/** Names don't differ by case alone. */
export function findProvider(reader: Reader, name: string): ExtensionProvider | undefined {
  const wanted = name.toLowerCase()
  return reader.mesh().extensionProviders.find((one) => one.name?.toLowerCase() === wanted)
}

/** A cluster that the proxy must have although no route leads to it. */
export interface ProviderCluster extends ClusterRef {
  readonly hostname: string
}

/** The cluster, or a sentence about why there is none. */
export function providerCluster(
  reader: Reader,
  { service: reference = '', port = 0 }: ProviderService,
): ProviderCluster | string {
  const slash = reference.indexOf('/')
  const hostname = reference.slice(slash + 1)
  if (hostname === '') return 'it names no service'
  const found =
    slash < 0
      ? reader.servicesByHost(hostname)
      : [reader.service(reference)].filter((service) => service !== undefined)
  const [service] = found
  if (service === undefined) return `there is no service '${reference}'`
  if (found.length > 1) {
    const namespaces = found.map(({ namespace }) => namespace).join(', ')
    return `'${reference}' is in several namespaces (${namespaces}); write <namespace>/${hostname}`
  }
  if (!service.ports.some((candidate) => candidate.port === port)) {
    return `service '${reference}' has no port ${port}`
  }
  return { ...outboundRef(service, port), hostname }
}

export interface GrpcOptions {
  readonly timeoutMs?: number | undefined
  readonly metadata?: readonly core.HeaderValue[]
}

export function grpcTo(
  { name, hostname }: ProviderCluster,
  { timeoutMs, metadata = [] }: GrpcOptions = {},
): grpcService.GrpcService {
  return create(grpcService.GrpcServiceSchema, {
    targetSpecifier: {
      case: 'envoyGrpc',
      // Without an authority it would be the cluster's name, whose bars no server accepts.
      value: create(grpcService.GrpcService_EnvoyGrpcSchema, {
        clusterName: name,
        authority: hostname,
      }),
    },
    initialMetadata: [...metadata],
    ...(timeoutMs === undefined ? {} : { timeout: duration(timeoutMs) }),
  })
}

export function uriOf(
  { name, hostname }: ProviderCluster,
  path: string,
  timeoutMs: number,
): httpUri.HttpUri {
  return create(httpUri.HttpUriSchema, {
    uri: `http://${hostname}${path}`,
    httpUpstreamType: { case: 'cluster', value: name },
    timeout: duration(timeoutMs),
  })
}

export function headerValue(key: string, value: string): core.HeaderValue {
  return create(core.HeaderValueSchema, { key, value })
}
