/** Service ports as Envoy clusters (EDS over ADS) and their endpoints. */
import {
  type Locality,
  type Service,
  type ServicePort,
  type Snapshot,
  slicesOf,
} from '../../model/index.ts'
import {
  address as addressApi,
  cluster as api,
  configSource,
  core,
  endpoint as endpointApi,
  endpointComponents,
} from '../../proto/envoy.ts'
import { create, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import { servicePath } from '../provenance.ts'
import type { TranslatedResource } from '../types.ts'
import type { ClusterRef } from './backends.ts'
import { istioMetadata } from './metadata.ts'

const connectTimeoutMs = 10_000
/** Envoy's default of 1,024 would cap busy gateways; Istio lifts the limits as well. */
const unlimited = 4_294_967_295

export function adsSource(): configSource.ConfigSource {
  return create(configSource.ConfigSourceSchema, {
    configSourceSpecifier: {
      case: 'ads',
      value: create(configSource.AggregatedConfigSourceSchema),
    },
    resourceApiVersion: configSource.ApiVersion.V3,
  })
}

export function duration(ms: number): {
  $typeName: 'google.protobuf.Duration'
  seconds: bigint
  nanos: number
} {
  return {
    $typeName: 'google.protobuf.Duration',
    seconds: BigInt(Math.floor(ms / 1000)),
    nanos: (ms % 1000) * 1_000_000,
  }
}

function portOf(snapshot: Snapshot, ref: ClusterRef): [Service, ServicePort] | undefined {
  const service = snapshot.services.get(ref.service)
  const port = service?.ports.find((candidate) => candidate.port === ref.port)
  return service === undefined || port === undefined ? undefined : [service, port]
}

export function translateCluster(
  snapshot: Snapshot,
  ref: ClusterRef,
): TranslatedResource | undefined {
  const found = portOf(snapshot, ref)
  if (found === undefined) return undefined
  const [service, port] = found
  const message = create(api.ClusterSchema, {
    name: ref.name,
    clusterDiscoveryType: { case: 'type', value: api.Cluster_DiscoveryType.EDS },
    edsClusterConfig: create(api.Cluster_EdsClusterConfigSchema, {
      edsConfig: adsSource(),
      serviceName: ref.name,
    }),
    connectTimeout: duration(connectTimeoutMs),
    lbPolicy: api.Cluster_LbPolicy.LEAST_REQUEST,
    circuitBreakers: {
      thresholds: [
        {
          maxConnections: unlimited,
          maxPendingRequests: unlimited,
          maxRequests: unlimited,
          maxRetries: unlimited,
          trackRemaining: true,
        },
      ],
    },
    metadata: istioMetadata(servicePath(service), `/spec/ports/${service.ports.indexOf(port)}`),
  })
  return encodeResource({
    name: ref.name,
    typeUrl: typeUrl.cluster,
    schema: api.ClusterSchema,
    message,
  })
}

export function translateEndpoints(
  snapshot: Snapshot,
  ref: ClusterRef,
): TranslatedResource | undefined {
  const found = portOf(snapshot, ref)
  if (found === undefined) return undefined
  const [service, port] = found
  const message = create(endpointApi.ClusterLoadAssignmentSchema, {
    clusterName: ref.name,
    endpoints: [...byLocality(endpointsOf(snapshot, service, port)).values()].map((group) =>
      create(endpointComponents.LocalityLbEndpointsSchema, {
        ...(group.locality === undefined
          ? {}
          : {
              locality: create(core.LocalitySchema, {
                region: group.locality.region,
                zone: group.locality.zone,
                subZone: group.locality.subzone,
              }),
            }),
        lbEndpoints: group.endpoints.map(lbEndpoint),
        loadBalancingWeight: group.endpoints.length,
      }),
    ),
  })
  return encodeResource({
    name: ref.name,
    typeUrl: typeUrl.endpoint,
    schema: endpointApi.ClusterLoadAssignmentSchema,
    message,
  })
}

interface Endpoint {
  readonly address: string
  readonly port: number
  readonly locality: Locality | undefined
}

/** Ready addresses of the service's slices, in a stable order and each once. */
function endpointsOf(snapshot: Snapshot, service: Service, port: ServicePort): Endpoint[] {
  const found = new Map<string, Endpoint>()
  for (const slice of slicesOf(snapshot, service)) {
    const target = slice.ports.find(
      (candidate) => candidate.name === port.name && candidate.protocol === port.protocol,
    )
    if (target === undefined) continue
    for (const endpoint of slice.endpoints) {
      if (!endpoint.ready && !service.publishNotReady) continue
      const locality = snapshot.objects.Node.get(endpoint.node)?.locality ?? zoneOnly(endpoint.zone)
      for (const address of endpoint.addresses) {
        found.set(`${address}|${target.port}`, { address, port: target.port, locality })
      }
    }
  }
  return [...found]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([, endpoint]) => endpoint)
}

function zoneOnly(zone: string): Locality | undefined {
  return zone === '' ? undefined : { region: '', zone, subzone: '' }
}

interface LocalityGroup {
  readonly locality: Locality | undefined
  readonly endpoints: Endpoint[]
}

function byLocality(endpoints: readonly Endpoint[]): Map<string, LocalityGroup> {
  const groups = new Map<string, LocalityGroup>()
  for (const endpoint of endpoints) {
    const { region = '', zone = '', subzone = '' } = endpoint.locality ?? {}
    const key = `${region}/${zone}/${subzone}`
    const group = groups.get(key)
    if (group !== undefined) group.endpoints.push(endpoint)
    else
      groups.set(key, {
        locality: key === '//' ? undefined : endpoint.locality,
        endpoints: [endpoint],
      })
  }
  return groups
}

function lbEndpoint(endpoint: Endpoint): endpointComponents.LbEndpoint {
  return create(endpointComponents.LbEndpointSchema, {
    hostIdentifier: {
      case: 'endpoint',
      value: create(endpointComponents.EndpointSchema, {
        address: socketAddress(endpoint.address, endpoint.port),
      }),
    },
    healthStatus: healthy,
  })
}

/** HEALTHY in envoy.config.core.v3.HealthStatus. */
const healthy = 1

export function socketAddress(address: string, port: number): addressApi.Address {
  return create(addressApi.AddressSchema, {
    address: {
      case: 'socketAddress',
      value: create(addressApi.SocketAddressSchema, {
        address,
        portSpecifier: { case: 'portValue', value: port },
      }),
    },
  })
}
