/**
 * Who is at the other end, in names: what standard metrics call workload, app, version and so on.
 *
 * - A client tells by a list in W3C's baggage form: node proxies in header `baggage` of the CONNECT, L7
 *   proxies in a request header of their own. Filters of stock Envoy take it apart.
 * - A server is known beforehand: its endpoint and its cluster carry the names as metadata.
 *
 * Names are told, not proven; the principal, which is proven, comes from the certificate.
 */
import type { Service, Workload } from '../../../model/index.ts'
import {
  core,
  type filterStateValue,
  type hcm,
  headerToMetadata,
  regexMatcher,
  setFilterState,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { httpFilter } from '../policies/filters.ts'
import { hashableString, shared } from '../policies/identity.ts'
import { escapeRegex } from '../policies/matchers.ts'
import type { ProxyView } from '../proxy.ts'
import { regexOf } from '../values.ts'
import { literal } from './formats.ts'

/** Names of one side, as endpoint metadata and filters have them. */
export const peerFields = [
  'workload',
  'namespace',
  'app',
  'version',
  'canonical_service',
  'canonical_revision',
  'cluster',
] as const

export type PeerField = (typeof peerFields)[number]

/** Metadata namespace of names, on requests (of the client) and on endpoints (of the server). */
export const peerNamespace = 'istio.peer'
/** Metadata namespace on clusters: which service they are of. */
export const serviceNamespace = 'istio.service'

/** Where the names of a tunnelled connection's client are: filter state of the connection. */
export function peerStateKey(field: PeerField): string {
  return `io.istio.peer.${field}`
}

/** Between L7 proxies; Istio's own uses the header for something that does not parse as a list. */
export const peerHeaderName = 'x-envoy-peer-metadata'

/** Keys of the list for each field; a later one that is there beats an earlier one. */
const baggageKeys: Readonly<Record<PeerField, readonly string[]>> = {
  workload: ['k8s.pod.name', 'k8s.job.name', 'k8s.cronjob.name', 'k8s.deployment.name'],
  namespace: ['k8s.namespace.name'],
  app: ['service.name', 'app.name'],
  version: ['service.version', 'app.version'],
  canonical_service: ['service.name'],
  canonical_revision: ['service.version'],
  cluster: ['k8s.cluster.name'],
}

/** Takes the list in a request header apart, into dynamic metadata `istio.peer`. */
function listFilter(header: string, remove: boolean): hcm.HttpFilter {
  const requestRules = peerFields.flatMap((field) =>
    baggageKeys[field].map((key) =>
      create(headerToMetadata.Config_RuleSchema, {
        header,
        onHeaderPresent: create(headerToMetadata.Config_KeyValuePairSchema, {
          metadataNamespace: peerNamespace,
          key: field,
          // An entry that is not there leaves nothing, and nothing is not written.
          regexValueRewrite: create(regexMatcher.RegexMatchAndSubstituteSchema, {
            pattern: regexOf(String.raw`^(?:.*,)?\s*${escapeRegex(key)}=([^,;]*).*$|^.*$`),
            substitution: String.raw`\1`,
          }),
        }),
      }),
    ),
  )
  const last = requestRules.at(-1)
  if (last !== undefined) last.remove = remove
  return httpFilter(
    'istio.peer_list',
    headerToMetadata.ConfigSchema,
    create(headerToMetadata.ConfigSchema, { requestRules }),
  )
}

/** For the listener that terminates HBONE: the client's names go with the stream, like its identity. */
export function tunnelPeerFilters(): hcm.HttpFilter[] {
  const values = peerFields.flatMap((field) => {
    const key = peerStateKey(field)
    const told = `%DYNAMIC_METADATA(${peerNamespace}:${field})%`
    // The second replaces the first where there is something to tell.
    return [shared(key, 'unknown', hashableString), shared(key, told, hashableString)]
  })
  return [listFilter('baggage', false), stateFilter('istio.peer_state', values)]
}

/** For listeners of sidecars: names from a client's L7 proxy; the application never sees the header. */
export function headerPeerFilters(): hcm.HttpFilter[] {
  return [listFilter(peerHeaderName, true)]
}

function stateFilter(
  name: string,
  onRequestHeaders: filterStateValue.FilterStateValue[],
): hcm.HttpFilter {
  return httpFilter(
    name,
    setFilterState.ConfigSchema,
    create(setFilterState.ConfigSchema, { onRequestHeaders }),
  )
}

/** What a proxy tells about itself to the server's, as a header for its outbound requests. */
export function peerHeader(proxy: ProxyView): core.HeaderValueOption {
  const own = ownNames(proxy)
  const list = [
    // Only the proxy itself knows the workload it is in; equal proxies share their configuration.
    `k8s.deployment.name=%ENVIRONMENT(${workloadVariable})%`,
    ...Object.entries({
      'k8s.namespace.name': proxy.namespace,
      'k8s.cluster.name': proxy.clusterId,
      'service.name': own.canonical_service,
      'service.version': own.canonical_revision,
      'app.name': own.app,
      'app.version': own.version,
    }).flatMap(([key, value]) => (value === '' ? [] : [`${key}=${literal(value)}`])),
  ]
  return create(core.HeaderValueOptionSchema, {
    header: create(core.HeaderValueSchema, { key: peerHeaderName, value: list.join(',') }),
    appendAction: core.HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
  })
}

/** The environment variable of a proxy that has its workload's name. */
export const workloadVariable = 'ISTIO_META_WORKLOAD_NAME'

/** A proxy's own names, from its labels; empty where it has none. */
export function ownNames({ labels }: Pick<ProxyView, 'labels'>): OwnNames {
  const first = (...keys: readonly string[]): string => {
    for (const key of keys) if ((labels[key] ?? '') !== '') return labels[key] ?? ''
    return ''
  }
  return {
    app: first('app', 'app.kubernetes.io/name'),
    version: first('version', 'app.kubernetes.io/version'),
    canonical_service: first(
      'service.istio.io/canonical-name',
      'app.kubernetes.io/name',
      'app',
      'service.istio.io/workload-name',
    ),
    canonical_revision:
      first('service.istio.io/canonical-revision', 'app.kubernetes.io/version', 'version') ||
      'latest',
  }
}

type OwnNames = Readonly<
  Record<'app' | 'version' | 'canonical_service' | 'canonical_revision', string>
>

/** Metadata for an endpoint, under `istio.peer`. */
export function endpointNames(
  workload: Workload,
  mesh: { readonly trustDomain: string; readonly clusterId: string },
): Readonly<Record<PeerField | 'principal', string>> {
  const { app = '', version = '' } = workload.labels
  const account = workload.serviceAccount || 'default'
  return {
    workload: workload.workloadName,
    namespace: workload.namespace,
    app: app || workload.canonicalName,
    version: version || workload.canonicalRevision,
    canonical_service: workload.canonicalName,
    canonical_revision: workload.canonicalRevision,
    cluster: mesh.clusterId,
    principal: `spiffe://${mesh.trustDomain}/ns/${workload.namespace}/sa/${account}`,
  }
}

/** Metadata for the cluster of a service, under `istio.service`. */
export function serviceNames(service: Pick<Service, 'hostname' | 'name' | 'namespace'>): {
  readonly host: string
  readonly name: string
  readonly namespace: string
} {
  const { hostname, name, namespace } = service
  return { host: hostname, name, namespace }
}
