/** Services as `istio.workload.Address` resources. */
import { parseCidr } from '../../base/index.ts'
import {
  type AppProtocol,
  networkOf,
  type Service,
  type Snapshot,
  type TrafficDistribution,
} from '../../model/index.ts'
import { workload as api, create, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import type { TranslatedResource } from '../types.ts'
import { addressAlias } from './names.ts'
import { waypointAddress, weightedWaypoints } from './waypoint.ts'

/** @param key `<namespace>/<hostname>`, which is also the resource's name */
export function translateService(snapshot: Snapshot, key: string): TranslatedResource | undefined {
  const service = snapshot.services.get(key)
  // Another name of something else: nothing of its own to connect to.
  if (service === undefined || service.resolution === 'alias') return undefined
  if (service.resolution === 'dynamic-dns' && !viaWaypoint(snapshot, service)) return undefined
  const network = networkOf(snapshot)
  return encodeResource({
    name: key,
    typeUrl: typeUrl.address,
    schema: api.AddressSchema,
    message: create(api.AddressSchema, {
      type: { case: 'service', value: serviceMessage(snapshot, service, network) },
    }),
    aliases: service.addresses.map((address) => addressAlias(network, address)),
  })
}

/** What a wildcard stands for only a waypoint finds out; node proxies just bring traffic there. */
function viaWaypoint(snapshot: Snapshot, service: Service): boolean {
  return (
    service.location === 'external' && waypointAddress(snapshot, service, 'service') !== undefined
  )
}

function serviceMessage(snapshot: Snapshot, service: Service, network: string): api.Service {
  const waypoint = service.ofWaypoint ? undefined : waypointAddress(snapshot, service, 'service')
  const weighted = service.ofWaypoint ? [] : weightedWaypoints(snapshot, service)
  const loadBalancing = loadBalancingOf(snapshot, service)
  const exportTo = service.exportTo ?? snapshot.mesh.defaultServiceExportTo
  return create(api.ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: service.addresses.flatMap((address) => networkAddress(network, address)),
    ports: servicePorts(service),
    subjectAltNames: [...service.subjectAltNames, ...accountIdentities(snapshot, service)],
    weightedWaypoints: weighted,
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(loadBalancing === undefined ? {} : { loadBalancing }),
    ipFamilies: families[service.ipFamilies],
    canonical: service.source === 'Service',
    ingressUseWaypoint:
      service.ingressUseWaypoint ??
      snapshot.objects.Namespace.get(service.namespace)?.ingressUseWaypoint ??
      false,
    visibility: exportTo.every((name) => name === '.' || name === service.namespace)
      ? api.Visibility.NAMESPACE
      : api.Visibility.PUBLIC,
  })
}

function accountIdentities(snapshot: Snapshot, service: Service): string[] {
  return service.serviceAccounts.map((account) => {
    const [namespace, name, ...rest] = account.split('/')
    if (account.includes('://') || name === undefined || rest.length > 0) return account
    return `spiffe://${snapshot.settings.trustDomain}/ns/${namespace}/sa/${name}`
  })
}

const families = {
  automatic: api.IPFamilies.AUTOMATIC,
  ipv4: api.IPFamilies.IPV4_ONLY,
  ipv6: api.IPFamilies.IPV6_ONLY,
  dual: api.IPFamilies.DUAL,
} as const

function networkAddress(network: string, text: string): api.NetworkAddress[] {
  const cidr = parseCidr(text)
  if (cidr === undefined) return []
  const isRange = cidr.length < cidr.address.length * 8
  return [
    create(api.NetworkAddressSchema, {
      network,
      address: cidr.address,
      ...(isRange ? { length: cidr.length } : {}),
    }),
  ]
}

export const appProtocols: Readonly<Record<AppProtocol, api.AppProtocol>> = {
  unknown: api.AppProtocol.UNKNOWN,
  http: api.AppProtocol.HTTP11,
  http2: api.AppProtocol.HTTP2,
  grpc: api.AppProtocol.GRPC,
  tcp: api.AppProtocol.TCP,
  tls: api.AppProtocol.TLS,
}

/** A number used by TCP and UDP alike (DNS) is one port: only TCP goes through the mesh. */
function servicePorts(service: Service): api.Port[] {
  const ports = new Map<number, api.Port>()
  for (const port of service.ports) {
    if (port.protocol !== 'TCP' && ports.has(port.port)) continue
    ports.set(
      port.port,
      create(api.PortSchema, {
        servicePort: port.port,
        // Zero: a named port, which every workload resolves for itself.
        targetPort: typeof port.targetPort === 'number' ? port.targetPort : 0,
        appProtocol: appProtocols[port.appProtocol],
      }),
    )
  }
  return [...ports.values()]
}

const { Scope, Mode, HealthPolicy } = {
  Scope: api.LoadBalancing_Scope,
  Mode: api.LoadBalancing_Mode,
  HealthPolicy: api.LoadBalancing_HealthPolicy,
}

function loadBalancingOf(snapshot: Snapshot, service: Service): api.LoadBalancing | undefined {
  const healthPolicy = service.publishNotReady ? HealthPolicy.ALLOW_ALL : HealthPolicy.ONLY_HEALTHY
  if (service.source === 'ServiceEntry' && service.resolution === 'none') {
    return create(api.LoadBalancingSchema, {
      mode: Mode.PASSTHROUGH,
      healthPolicy: HealthPolicy.ALLOW_ALL,
    })
  }
  if (service.internalTrafficLocal) {
    return create(api.LoadBalancingSchema, {
      routingPreference: [Scope.NODE],
      mode: Mode.STRICT,
      healthPolicy,
    })
  }
  const distribution =
    service.distribution ?? snapshot.objects.Namespace.get(service.namespace)?.distribution
  const routingPreference = preferences[distribution ?? 'any']
  if (routingPreference.length > 0) {
    return create(api.LoadBalancingSchema, {
      routingPreference: [...routingPreference],
      mode: Mode.FAILOVER,
      healthPolicy,
    })
  }
  return service.publishNotReady ? create(api.LoadBalancingSchema, { healthPolicy }) : undefined
}

const byZone = [Scope.NETWORK, Scope.REGION, Scope.ZONE]
const preferences: Readonly<Record<TrafficDistribution, readonly api.LoadBalancing_Scope[]>> = {
  any: [],
  'prefer-zone': byZone,
  'prefer-node': [...byZone, Scope.SUBZONE, Scope.NODE],
}
