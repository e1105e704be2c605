/** The endpoints of one cluster as Envoy's load assignment. */

import { selects, type TrafficDistribution, type Workload } from '../../../model/index.ts'
import { core, endpoint as endpointApi, endpointComponents } from '../../../proto/envoy.ts'
import { create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import type { Reader } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import { type ClusterRef, connectOriginate } from '../clusters/names.ts'
import { type ClusterPlan, planCluster } from '../clusters/policy.ts'
import type { Scope } from '../lookup/scope.ts'
import { endpointNames, peerNamespace } from '../telemetry/peer.ts'
import { internalAddress, pipeAddress, socketAddress } from '../values.ts'
import { type Endpoint, endpointsOf } from './collect.ts'
import {
  groupEndpoints,
  type LocalityGroup,
  type LocalityPolicy,
  localityPolicy,
} from './locality.ts'
import { type Located, throughGateways } from './networks.ts'
import { type Transport, transportOf } from './transport.ts'

/** Undefined for a cluster that does not exist. */
export function translateEndpoints(scope: Scope, ref: ClusterRef): TranslatedResource | undefined {
  const plan = planCluster(scope, ref)
  if (plan === undefined) return undefined
  return encodeResource({
    name: ref.name,
    typeUrl: typeUrl.endpoint,
    schema: endpointApi.ClusterLoadAssignmentSchema,
    message: loadAssignment(scope, plan),
  })
}

export function loadAssignment(scope: Scope, plan: ClusterPlan): endpointApi.ClusterLoadAssignment {
  const located = locate(scope, plan)
  const transports = new Map(located.map(({ endpoint, transport }) => [endpoint, transport]))
  const groups = groupEndpoints(
    located.map(({ endpoint }) => endpoint),
    scope.view,
    distanceOf(scope.reader, plan),
  )
  return create(endpointApi.ClusterLoadAssignmentSchema, {
    clusterName: plan.ref.name,
    endpoints: groups.map((group) => localityEndpoints(scope.reader, group, transports)),
  })
}

/** The endpoints that this view may use, and how. */
export function locate(scope: Scope, plan: ClusterPlan): readonly Located[] {
  const { reader, view } = scope
  const labels = plan.subset?.labels ?? {}
  const located = endpointsOf(reader, plan.service, plan.port)
    .filter((endpoint) => selects(labels, endpoint.labels))
    .filter((endpoint) => isLocal(plan, endpoint, view.node))
    .map((endpoint) => ({ endpoint, transport: transportOf(reader, endpoint, view) }))
  return throughGateways(reader, located, view.network)
}

function isLocal(plan: ClusterPlan, endpoint: Endpoint, node: string): boolean {
  return !plan.service.internalTrafficLocal || node === '' || endpoint.node === node
}

/** How the cluster treats distance: the same answer for its endpoints and for itself. */
export function distanceOf(reader: Reader, plan: ClusterPlan): LocalityPolicy {
  return localityPolicy(
    plan.policy.loadBalancer,
    distributionOf(reader, plan),
    reader.mesh(),
    plan.policy.outlierDetection !== undefined,
  )
}

function distributionOf(reader: Reader, { service }: ClusterPlan): TrafficDistribution {
  return service.distribution ?? reader.namespace(service.namespace)?.distribution ?? 'any'
}

function localityEndpoints(
  reader: Reader,
  group: LocalityGroup,
  transports: ReadonlyMap<Endpoint, Transport>,
): endpointComponents.LocalityLbEndpoints {
  const { locality, priority, weight, endpoints } = group
  return create(endpointComponents.LocalityLbEndpointsSchema, {
    ...(locality === undefined
      ? {}
      : {
          locality: create(core.LocalitySchema, {
            region: locality.region,
            zone: locality.zone,
            subZone: locality.subzone,
          }),
        }),
    lbEndpoints: endpoints.map((one) => lbEndpoint(reader, one, transports.get(one) ?? 'plain')),
    loadBalancingWeight: weight,
    priority,
  })
}

/** HEALTHY in envoy.config.core.v3.HealthStatus. */
const healthy = 1

function lbEndpoint(
  reader: Reader,
  one: Endpoint,
  transport: Transport,
): endpointComponents.LbEndpoint {
  return create(endpointComponents.LbEndpointSchema, {
    hostIdentifier: {
      case: 'endpoint',
      value: create(endpointComponents.EndpointSchema, { address: addressOf(one, transport) }),
    },
    healthStatus: healthy,
    loadBalancingWeight: one.weight,
    ...metadataOf(reader, one, transport),
  })
}

function addressOf(one: Endpoint, transport: Transport): ReturnType<typeof socketAddress> {
  if (one.address.startsWith('unix://')) return pipeAddress(one.address.slice('unix://'.length))
  if (transport === 'tunnel') return internalAddress(connectOriginate, destination(one))
  return socketAddress(one.address, one.port)
}

function destination({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function metadataOf(
  reader: Reader,
  one: Endpoint,
  transport: Transport,
): { metadata?: core.Metadata } {
  const filterMetadata: NonNullable<core.Metadata['filterMetadata']> = {}
  if (transport === 'tunnel') {
    // The internal listener restores the address from this, and so knows whom to CONNECT to.
    filterMetadata['envoy.filters.listener.original_dst'] = { local: destination(one) }
    filterMetadata['envoy.transport_socket_match'] = { tunnel: 'http' }
  }
  if (transport === 'mtls') filterMetadata['envoy.transport_socket_match'] = { tlsMode: 'istio' }
  if (one.workload !== undefined) {
    filterMetadata.istio = { workload: describe(one.workload) }
    if (!one.workload.external) {
      filterMetadata[peerNamespace] = endpointNames(one.workload, reader.settings)
    }
  }
  if (Object.keys(filterMetadata).length === 0) return {}
  return { metadata: create(core.MetadataSchema, { filterMetadata }) }
}

/** Istio's short form: name, namespace, canonical name and revision, cluster. */
function describe(workload: Workload): string {
  const { workloadName, namespace, canonicalName, canonicalRevision, uid } = workload
  return [workloadName, namespace, canonicalName, canonicalRevision, uid.split('/')[0]].join(';')
}
