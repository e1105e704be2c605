/**
 * The standard labels of Istio's metrics as tags of Envoy's stats logger. Names that every request
 * shares are literals; the rest is read from metadata, filter state and the connection per request.
 */
import type { MeshSettings, Service } from '../../../model/index.ts'
import { peerPrincipalKey } from '../policies/identity.ts'
import type { ProxyView } from '../proxy.ts'
import { literal, type Operator, orUnknown } from './formats.ts'
import {
  ownNames,
  type PeerField,
  peerNamespace,
  peerStateKey,
  serviceNamespace,
  workloadVariable,
} from './peer.ts'

/** From whose point of view: who sends, who receives, or the waypoint between them. */
export type Reporter = 'source' | 'destination' | 'waypoint'

export interface TagContext {
  readonly proxy: ProxyView
  readonly reporter: Reporter
  readonly layer: 'http' | 'tcp'
  readonly settings: Pick<MeshSettings, 'trustDomain'>
  /** The service that the listener is for, where there is only one. */
  readonly service?: Service | undefined
}

/** Label → format of its value, in the order Istio documents. */
export function standardTags(context: TagContext): Map<string, string> {
  const { layer, reporter, proxy } = context
  const source = reporter === 'source' ? own(context) : client(context)
  const destination = reporter === 'destination' ? own(context) : server()
  const service = serviceTags(context)
  return new Map([
    ['reporter', reporter],
    ['source_workload', source.workload],
    ['source_workload_namespace', source.namespace],
    ['source_principal', source.principal],
    ['source_app', source.app],
    ['source_version', source.version],
    ['source_cluster', source.cluster],
    ['source_canonical_service', source.canonical_service],
    ['source_canonical_revision', source.canonical_revision],
    ['destination_workload', destination.workload],
    ['destination_workload_namespace', destination.namespace],
    ['destination_principal', destination.principal],
    ['destination_app', destination.app],
    ['destination_version', destination.version],
    ['destination_cluster', destination.cluster],
    ['destination_service', service.host],
    ['destination_service_name', service.name],
    ['destination_service_namespace', service.namespace],
    ['destination_canonical_service', destination.canonical_service],
    ['destination_canonical_revision', destination.canonical_revision],
    ['request_protocol', layer === 'tcp' ? 'tcp' : protocolOfRequest],
    ...(layer === 'tcp'
      ? []
      : ([
          ['response_code', '%RESPONSE_CODE%'],
          ['grpc_response_status', '%GRPC_STATUS_NUMBER%'],
        ] as const)),
    ['response_flags', '%RESPONSE_FLAGS%'],
    ['connection_security_policy', security(reporter, proxy)],
  ])
}

const protocolOfRequest = `%CEL('content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc') ? 'grpc' : 'http')%`

function security(reporter: Reporter, proxy: ProxyView): string {
  if (reporter === 'source') return 'unknown'
  // Only tunnels of mutual TLS end at a waypoint.
  if (proxy.kind === 'waypoint') return 'mutual_tls'
  return `%CEL(connection.mtls ? 'mutual_tls' : 'none')%`
}

type Side = Readonly<Record<PeerField | 'principal', string>>

function sideOf(value: (field: PeerField) => string, principal: string): Side {
  return {
    workload: value('workload'),
    namespace: value('namespace'),
    app: value('app'),
    version: value('version'),
    canonical_service: value('canonical_service'),
    canonical_revision: value('canonical_revision'),
    cluster: value('cluster'),
    principal,
  }
}

/** The proxy's own workload. */
function own({ proxy, settings }: TagContext): Side {
  const names: Partial<Record<PeerField, string>> = {
    ...ownNames(proxy),
    namespace: proxy.namespace,
    cluster: proxy.clusterId,
  }
  const principal = `spiffe://${settings.trustDomain}/ns/${proxy.namespace}/sa/${proxy.serviceAccount}`
  const workload: Operator = ['ENVIRONMENT', workloadVariable]
  const value = (field: PeerField): string => {
    const name = names[field] ?? ''
    if (name !== '') return literal(name)
    return field === 'workload' || field === 'canonical_service' ? orUnknown(workload) : 'unknown'
  }
  return sideOf(value, literal(principal))
}

/** Whoever sent the request. */
function client({ proxy, layer }: TagContext): Side {
  if (proxy.kind === 'waypoint') {
    // Always there: the listener in front sets each of them, to `unknown` if need be.
    const state = (key: string): string => `%FILTER_STATE(${key}:PLAIN)%`
    return sideOf((field) => state(peerStateKey(field)), state(peerPrincipalKey))
  }
  const principal = orUnknown(['DOWNSTREAM_PEER_URI_SAN'])
  // On a TCP connection nobody tells names.
  if (layer === 'tcp') return sideOf(() => 'unknown', principal)
  return sideOf((field) => orUnknown(['DYNAMIC_METADATA', `${peerNamespace}:${field}`]), principal)
}

/** The endpoint that the request went to. */
function server(): Side {
  return sideOf(
    (field) => orUnknown(['UPSTREAM_METADATA', `${peerNamespace}:${field}`]),
    orUnknown(['UPSTREAM_PEER_URI_SAN'], ['UPSTREAM_METADATA', `${peerNamespace}:principal`]),
  )
}

function serviceTags({ proxy, reporter, layer, service }: TagContext): {
  readonly host: string
  readonly name: string
  readonly namespace: string
} {
  if (service !== undefined) {
    return {
      host: literal(service.hostname),
      name: literal(service.name),
      namespace: literal(service.namespace),
    }
  }
  if (reporter === 'destination') {
    return { host: 'unknown', name: 'unknown', namespace: literal(proxy.namespace) }
  }
  const of = (field: string): Operator => ['CLUSTER_METADATA', `${serviceNamespace}:${field}`]
  // A sidecar believes its own application's Host header, where the mesh knows no service.
  const asked: readonly Operator[] =
    proxy.kind === 'sidecar' && layer === 'http' ? [['REQ', ':AUTHORITY']] : []
  return {
    host: orUnknown(of('host'), ...asked),
    // Passthrough and black hole are known by the name of their cluster.
    name: orUnknown(of('name'), ['UPSTREAM_CLUSTER_RAW']),
    namespace: orUnknown(of('namespace')),
  }
}
