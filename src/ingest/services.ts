/** Services, EndpointSlices, ServiceEntries and namespaces into the model's values. */
import { parseCidr, parseIp } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type {
  EndpointSlice,
  FixedBinding,
  MeshSettings,
  Namespace,
  Resolution,
  Service,
  ServiceEntry,
  ServicePort,
  Workload,
} from '../model/index.ts'
import {
  createdAt,
  distributionOf,
  ingressUseWaypointOf,
  namespaceOf,
  textMap,
  waypointOf,
} from './metadata.ts'
import { appProtocolOf } from './protocol.ts'
import type { EndpointSliceShape, ServiceEntryShape, ServiceShape } from './shapes.ts'
import { workloadOfEntry } from './workloads.ts'

const distributionAnnotation = 'networking.istio.io/traffic-distribution'

/** Undefined for ExternalName: the name is an alias of DNS and no service of the mesh. */
export function meshService(object: KubeObject, settings: MeshSettings): Service | undefined {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as ServiceShape
  if (spec.type === 'ExternalName') return undefined
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  const labels = textMap(metadata.labels)
  const selector = textMap(spec.selector)
  const annotation = metadata.annotations?.[distributionAnnotation]
  return {
    source: 'Service',
    name: metadata.name,
    namespace,
    hostname: `${metadata.name}.${namespace}.svc.${settings.domain}`,
    createdAt: createdAt(metadata),
    addresses: clusterAddresses(spec),
    ports: servicePorts(spec),
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    publishNotReady: spec.publishNotReadyAddresses === true,
    internalTrafficLocal: spec.internalTrafficPolicy === 'Local',
    distribution: distributionOf(spec.trafficDistribution ?? annotation),
    ipFamilies: familiesOf(spec.ipFamilies),
    resolution: 'static',
    subjectAltNames: [],
    visibility:
      metadata.annotations?.['networking.istio.io/exportTo'] === '.' ? 'namespace' : 'public',
    waypoint: waypointOf(labels),
    ingressUseWaypoint: ingressUseWaypointOf(labels),
    ofWaypoint: labels['gateway.istio.io/managed'] === 'istio.io-mesh-controller',
  }
}

function clusterAddresses(spec: NonNullable<ServiceShape['spec']>): string[] {
  const listed = spec.clusterIPs ?? []
  const all = listed.length > 0 ? listed : [spec.clusterIP]
  return all.filter((ip): ip is string => ip !== undefined && parseIp(ip) !== undefined)
}

function servicePorts(spec: NonNullable<ServiceShape['spec']>): ServicePort[] {
  return (spec.ports ?? []).flatMap((item) => {
    if (item.port === undefined) return []
    const { name = '', port } = item
    const protocol = item.protocol === 'UDP' || item.protocol === 'SCTP' ? item.protocol : 'TCP'
    const appProtocol = appProtocolOf(item.appProtocol, name, port)
    return [{ name, port, targetPort: item.targetPort ?? port, protocol, appProtocol }]
  })
}

function familiesOf(families: readonly string[] | undefined): Service['ipFamilies'] {
  if (families === undefined || families.length === 0) return 'automatic'
  if (families.length > 1) return 'dual'
  return families[0] === 'IPv6' ? 'ipv6' : 'ipv4'
}

export function meshEndpointSlice(object: KubeObject): EndpointSlice | undefined {
  // Read defensively; see shapes.ts.
  const slice = object as EndpointSliceShape
  if (slice.addressType === 'FQDN') return undefined
  return {
    name: object.metadata.name,
    namespace: namespaceOf(object.metadata),
    service: object.metadata.labels?.['kubernetes.io/service-name'] ?? '',
    ports: (slice.ports ?? []).flatMap((port) =>
      port.port === undefined
        ? []
        : [{ name: port.name ?? '', port: port.port, protocol: port.protocol ?? 'TCP' }],
    ),
    endpoints: (slice.endpoints ?? []).map((endpoint) => ({
      addresses: (endpoint.addresses ?? []).filter((address) => parseIp(address) !== undefined),
      // Absent means ready, as the Kubernetes API says.
      ready: endpoint.conditions?.ready !== false,
      node: endpoint.nodeName ?? '',
      zone: endpoint.zone ?? '',
      pod: endpoint.targetRef?.kind === 'Pod' ? (endpoint.targetRef.name ?? '') : '',
    })),
  }
}

export function meshServiceEntry(object: KubeObject, settings: MeshSettings): ServiceEntry {
  // Read defensively; see shapes.ts.
  const { spec = {}, status } = object as ServiceEntryShape
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  const ports = entryPorts(spec.ports)
  const hosts = (spec.hosts ?? []).filter((host) => typeof host === 'string')
  const services = hosts.map(
    (host): Service => ({
      source: 'ServiceEntry',
      name: metadata.name,
      namespace,
      hostname: host,
      createdAt: createdAt(metadata),
      addresses: entryAddresses(spec.addresses, status, host),
      ports,
      selector:
        spec.workloadSelector === undefined ? undefined : textMap(spec.workloadSelector.labels),
      publishNotReady: false,
      internalTrafficLocal: false,
      distribution: distributionOf(metadata.annotations?.[distributionAnnotation]),
      ipFamilies: 'automatic',
      resolution: resolutionOf(spec.resolution),
      subjectAltNames: spec.subjectAltNames ?? [],
      visibility: spec.exportTo?.includes('.') === true ? 'namespace' : 'public',
      waypoint: waypointOf(metadata.labels),
      ingressUseWaypoint: ingressUseWaypointOf(metadata.labels),
      ofWaypoint: false,
    }),
  )
  return {
    name: metadata.name,
    namespace,
    services,
    workloads: inlineWorkloads(object, services, settings),
  }
}

function entryPorts(ports: NonNullable<ServiceEntryShape['spec']>['ports']): ServicePort[] {
  return (ports ?? []).flatMap((item) => {
    if (item.number === undefined) return []
    const { name = '', number: port } = item
    const appProtocol = appProtocolOf(item.protocol, name, port)
    return [
      { name, port, targetPort: item.targetPort ?? port, protocol: 'TCP' as const, appProtocol },
    ]
  })
}

function entryAddresses(
  addresses: readonly string[] | undefined,
  status: ServiceEntryShape['status'],
  host: string,
): string[] {
  const given = (addresses ?? []).filter((address) => parseCidr(address) !== undefined)
  if (given.length > 0) return given
  return (status?.addresses ?? []).flatMap((entry) =>
    entry.value !== undefined && (entry.host ?? host) === host ? [entry.value] : [],
  )
}

function resolutionOf(value: string | undefined): Resolution {
  if (value === 'STATIC') return 'static'
  if (value === 'DNS') return 'dns'
  return value === 'DNS_ROUND_ROBIN' ? 'dns-round-robin' : 'none'
}

/** Inline endpoints; a DNS service without any stands for its own host name. */
function inlineWorkloads(
  object: KubeObject,
  services: readonly Service[],
  settings: MeshSettings,
): Workload[] {
  const { spec = {} } = object as ServiceEntryShape
  if (spec.workloadSelector !== undefined) return []
  const { name } = object.metadata
  const namespace = namespaceOf(object.metadata)
  const prefix = `${settings.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}`
  const labels = textMap(object.metadata.labels)
  if ((spec.endpoints ?? []).length === 0) {
    return services
      .filter(
        (service) => service.resolution.startsWith('dns') && !service.hostname.startsWith('*'),
      )
      .map((service) =>
        workloadOfEntry(
          { address: service.hostname },
          {
            uid: `${prefix}/${service.hostname}`,
            source: 'ServiceEntry',
            name,
            namespace,
            bindings: [fixedBinding(service, {})],
            labels,
          },
        ),
      )
  }
  return (spec.endpoints ?? []).map((endpoint) =>
    workloadOfEntry(endpoint, {
      uid: `${prefix}/${endpoint.address ?? ''}`,
      source: 'ServiceEntry',
      name,
      namespace,
      bindings: services.map((service) => fixedBinding(service, endpoint.ports ?? {})),
      labels,
    }),
  )
}

/** The endpoint's own port of that name, then the service's target port. */
function fixedBinding(service: Service, ports: Readonly<Record<string, number>>): FixedBinding {
  return {
    service: `${service.namespace}/${service.hostname}`,
    ports: service.ports.map((port) => ({
      servicePort: port.port,
      targetPort: ports[port.name] ?? Number(port.targetPort),
    })),
  }
}

export function meshNamespace(object: KubeObject): Namespace {
  const labels = textMap(object.metadata.labels)
  return {
    name: object.metadata.name,
    labels,
    network: labels['topology.istio.io/network'] ?? '',
    waypoint: waypointOf(labels),
    distribution: distributionOf(object.metadata.annotations?.[distributionAnnotation]),
    ingressUseWaypoint: ingressUseWaypointOf(labels),
  }
}
