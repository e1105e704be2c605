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
import { annotationsOf } from './configs.ts'
import {
  createdAt,
  distributionOf,
  ingressUseWaypointOf,
  namespaceOf,
  textMap,
  waypointCanaryOf,
  waypointOf,
} from './metadata.ts'
import { coarseProtocol, declaredProtocol } from './protocol.ts'
import type { EndpointSliceShape, ServiceEntryShape, ServiceShape } from './shapes.ts'
import { workloadOfEntry } from './workloads.ts'

const distributionAnnotation = 'networking.istio.io/traffic-distribution'

export function meshService(object: KubeObject, settings: MeshSettings): Service {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as ServiceShape
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  const labels = textMap(metadata.labels)
  const selector = textMap(spec.selector)
  const annotations = metadata.annotations
  const isAlias = spec.type === 'ExternalName'
  return {
    source: 'Service',
    name: metadata.name,
    namespace,
    hostname: `${metadata.name}.${namespace}.svc.${settings.domain}`,
    labels,
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    location: 'internal',
    externalName: isAlias ? (spec.externalName ?? '') : '',
    exportTo: exportToOf(annotations?.['networking.istio.io/exportTo']?.split(',')),
    headless: spec.clusterIP === 'None',
    addresses: isAlias ? [] : clusterAddresses(spec),
    ports: servicePorts(spec),
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    publishNotReady: spec.publishNotReadyAddresses === true,
    internalTrafficLocal: spec.internalTrafficPolicy === 'Local',
    distribution: distributionOf(spec.trafficDistribution ?? annotations?.[distributionAnnotation]),
    ipFamilies: familiesOf(spec.ipFamilies),
    resolution: isAlias ? 'alias' : 'static',
    subjectAltNames: [],
    serviceAccounts: accountsOf(annotations, namespace),
    waypoint: waypointOf(labels),
    waypointCanary: waypointCanaryOf(metadata),
    ingressUseWaypoint: ingressUseWaypointOf(labels),
    ofWaypoint: labels['gateway.istio.io/managed'] === 'istio.io-mesh-controller',
  }
}

/** Undefined when nothing is said, so that the mesh's default applies. */
function exportToOf(list: readonly string[] | undefined): readonly string[] | undefined {
  const names = (list ?? []).map((name) => name.trim()).filter((name) => name !== '')
  return names.length === 0 ? undefined : names
}

/** Accounts besides those of its pods that may serve it: short ones are of its own namespace. */
function accountsOf(
  annotations: Readonly<Record<string, string>> | undefined,
  namespace: string,
): string[] {
  const list = (name: string): string[] =>
    (annotations?.[`alpha.istio.io/${name}`] ?? '').split(',').flatMap((item) => item.trim() || [])
  return [
    ...list('canonical-serviceaccounts'),
    ...list('kubernetes-serviceaccounts').map((account) => `${namespace}/${account}`),
  ]
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
    const declared = protocol === 'UDP' ? 'UDP' : declaredProtocol(item.appProtocol, name, port)
    const appProtocol = coarseProtocol(declared)
    return [{ name, port, targetPort: item.targetPort ?? port, protocol, appProtocol, declared }]
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
      ...(endpoint.conditions?.terminating === true && endpoint.conditions.serving !== false
        ? { draining: true as const }
        : {}),
    })),
  }
}

export function meshServiceEntry(object: KubeObject, settings: MeshSettings): ServiceEntry {
  // Read defensively; see shapes.ts.
  const { spec = {}, status } = object as ServiceEntryShape
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  const created = createdAt(metadata)
  const generation = metadata.generation ?? 0
  const resolution = resolutionOf(spec.resolution)
  const common = {
    source: 'ServiceEntry',
    name: metadata.name,
    namespace,
    labels: textMap(metadata.labels),
    createdAt: created,
    generation,
    location: spec.location === 'MESH_INTERNAL' ? 'internal' : 'external',
    externalName: '',
    exportTo: exportToOf(spec.exportTo),
    headless: false,
    ports: entryPorts(spec.ports),
    selector:
      spec.workloadSelector === undefined ? undefined : textMap(spec.workloadSelector.labels),
    publishNotReady: false,
    internalTrafficLocal: false,
    distribution: distributionOf(metadata.annotations?.[distributionAnnotation]),
    ipFamilies: 'automatic',
    resolution,
    subjectAltNames: spec.subjectAltNames ?? [],
    serviceAccounts: [],
    waypoint: waypointOf(metadata.labels),
    waypointCanary: waypointCanaryOf(metadata),
    ingressUseWaypoint: ingressUseWaypointOf(metadata.labels),
    ofWaypoint: false,
  } as const
  const hosts = (spec.hosts ?? []).filter((host) => typeof host === 'string')
  const given = (spec.addresses ?? []).filter((address) => parseCidr(address) !== undefined)
  const allocated = allocatedAddresses(status, hosts)
  const services = hosts.map(
    (host): Service => ({
      ...common,
      hostname: host,
      addresses:
        given.length > 0
          ? given
          : allocated.flatMap((entry) => (entry.host === host ? [entry.value] : [])),
    }),
  )
  return {
    name: metadata.name,
    namespace,
    createdAt: created,
    generation,
    allocated,
    wantsAddresses:
      given.length === 0 &&
      resolution !== 'none' &&
      metadata.labels?.['networking.istio.io/enable-autoallocate-ip'] !== 'false',
    services,
    workloads: inlineWorkloads(object, services, settings),
  }
}

function entryPorts(ports: NonNullable<ServiceEntryShape['spec']>['ports']): ServicePort[] {
  return (ports ?? []).flatMap((item) => {
    if (item.number === undefined) return []
    const { name = '', number: port } = item
    const declared = declaredProtocol(item.protocol, name, port)
    return [
      {
        name,
        port,
        targetPort: item.targetPort ?? port,
        protocol: declared === 'UDP' ? ('UDP' as const) : ('TCP' as const),
        appProtocol: coarseProtocol(declared),
        declared,
      },
    ]
  })
}

/** An address without a host, as older control planes wrote it, is the only host's. */
function allocatedAddresses(
  status: ServiceEntryShape['status'],
  hosts: readonly string[],
): { host: string; value: string }[] {
  return (status?.addresses ?? []).flatMap(({ value, host = hosts[0] ?? '' }) =>
    value === undefined || parseIp(value) === undefined ? [] : [{ host, value }],
  )
}

function resolutionOf(value: string | undefined): Resolution {
  if (value === 'STATIC') return 'static'
  if (value === 'DNS') return 'dns'
  if (value === 'DYNAMIC_DNS') return 'dynamic-dns'
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
  const external = spec.location !== 'MESH_INTERNAL'
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
            external,
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
      external,
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
    annotations: annotationsOf(object),
    network: labels['topology.istio.io/network'] ?? '',
    waypoint: waypointOf(labels),
    distribution: distributionOf(object.metadata.annotations?.[distributionAnnotation]),
    ingressUseWaypoint: ingressUseWaypointOf(labels),
  }
}
