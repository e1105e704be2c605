/** Debug pages about the mesh itself: services, endpoints, configuration, policies. */
import { formatIp } from '../base/index.ts'
import type { Informer } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { Service, Snapshot } from '../model/index.ts'
import { fromBinary, security, toJson, typeUrl as urls, workload } from '../proto/index.ts'
import { formatSpiffeId } from '../x509/index.ts'
import type { EncodedResource, ProxyNode, ResourceSource, XdsServer } from '../xds/index.ts'
import { type DebugPage, ok, type PageRequest } from './debug-page.ts'

export interface MeshPagesOptions {
  readonly source: ResourceSource & { readonly snapshot: Snapshot }
  readonly xds: Pick<XdsServer, 'connections'>
  /** Informers whose objects are configuration. */
  readonly config: () => readonly Informer[]
}

/** Any proxy sees the same of the ambient types. */
const anyProxy: ProxyNode = {
  id: '',
  type: 'ztunnel',
  ip: '',
  name: '',
  namespace: '',
  cluster: '',
  metadata: {},
  identity: undefined,
}

const resolutions: Readonly<Record<string, number>> = {
  static: 0,
  dns: 1,
  none: 2,
  'dns-round-robin': 3,
  alias: 4,
}

interface Endpoint {
  readonly service: Service
  readonly port: Service['ports'][number]
  readonly address: string
  readonly targetPort: number
  readonly workload: workload.Workload
}

export function meshPages(options: MeshPagesOptions): [string, DebugPage][] {
  const { source, xds, config } = options
  const policies = (): KubeObject[] =>
    config()
      .flatMap((informer) => informer.list())
      .filter(({ kind }) => kind === 'AuthorizationPolicy')
  return [
    [
      'registryz',
      {
        help: 'The services of the mesh',
        answer: () => ({ json: servicesOf(source.snapshot).map(registryService(source.snapshot)) }),
      },
    ],
    [
      'endpointz',
      {
        help: 'The endpoints of each port of each service',
        examples: { brief: 'One line for each endpoint' },
        answer: (request) => endpointPage(source, request),
      },
    ],
    [
      'endpointShardz',
      { help: 'The endpoints by service and cluster', answer: () => ({ json: shards(source) }) },
    ],
    [
      'instancesz',
      {
        help: 'The service endpoints that each connected proxy stands for',
        answer: () => {
          const all = endpointsOf(source)
          const instances = xds.connections().map(({ node }) => {
            const own = all.filter(({ address }) => address === node.ip)
            return [`${node.name}.${node.namespace}`, own.map(instanceOf(source.snapshot))]
          })
          return { json: Object.fromEntries(instances) }
        },
      },
    ],
    [
      'configz',
      {
        help: 'The configuration objects of the mesh',
        answer: () => ({ json: config().flatMap((informer) => informer.list()) }),
      },
    ],
    [
      'resourcesz',
      {
        help: 'The kinds of configuration that are read',
        answer: () => ({
          json: [
            ...new Set(
              config().flatMap((informer) =>
                informer.list().map(({ apiVersion, kind }) => `${apiVersion}/${kind}`),
              ),
            ),
          ].toSorted(),
        }),
      },
    ],
    [
      'authorizationz',
      {
        help: 'The authorization policies',
        answer: () => ({
          json: { authorization_policies: authorizationPolicies(source.snapshot, policies()) },
        }),
      },
    ],
    [
      'pushcontext',
      {
        help: 'What pushes are made of',
        answer: () => ({
          json: {
            AuthorizationPolicies: authorizationPolicies(source.snapshot, policies()),
            NetworkGateways: {},
          },
        }),
      },
    ],
    [
      'mesh',
      { help: 'MeshConfig as it is in force', answer: () => ({ json: source.snapshot.mesh }) },
    ],
    [
      'clusterz',
      {
        help: 'The clusters that are read',
        answer: () => ({
          json: [{ id: source.snapshot.settings.clusterId, secretName: '', syncStatus: 'synced' }],
        }),
      },
    ],
    [
      'ambientz',
      {
        help: 'What node proxies get: addresses and policies',
        answer: () => ({
          json: {
            addresses: [...source.list(urls.address, anyProxy)].map(readAddress),
            policies: [...source.list(urls.authorization, anyProxy)].map(readPolicy),
          },
        }),
      },
    ],
    [
      'cachez',
      {
        help: 'The encoded resources that all node proxies share',
        examples: { 'sizes=true': 'Their sizes in bytes' },
        answer: ({ query }) => ({ json: cached(source, query.get('sizes') === 'true') }),
      },
    ],
  ]
}

function servicesOf(snapshot: Snapshot): Service[] {
  return [...snapshot.services.values()]
}

/** As Istio's own model of a service, which Kiali and others read. */
function registryService(snapshot: Snapshot): (service: Service) => unknown {
  const { clusterId } = snapshot.settings
  return (service) => ({
    Attributes: {
      ServiceRegistry: service.source === 'Service' ? 'Kubernetes' : 'External',
      Name: service.name,
      Namespace: service.namespace,
      Labels: service.labels,
      ExportTo: Object.fromEntries((service.exportTo ?? []).map((target) => [target, {}])),
      LabelSelectors: service.selector ?? {},
    },
    ports: service.ports.map(portOf),
    creationTime: new Date(service.createdAt).toISOString(),
    hostname: service.hostname,
    clusterVIPs: { Addresses: { [clusterId]: service.addresses } },
    defaultAddress: service.addresses[0] ?? '0.0.0.0',
    Resolution: resolutions[service.resolution] ?? 0,
    MeshExternal: service.location === 'external',
    ResourceVersion: '',
  })
}

function portOf({ name, port, appProtocol, protocol }: Service['ports'][number]): unknown {
  const known = appProtocol === 'unknown' ? 'UnsupportedProtocol' : appProtocol.toUpperCase()
  return { name, port, protocol: protocol === 'UDP' ? 'UDP' : known }
}

/** Every endpoint as node proxies know it: the one place where all kinds of endpoints come together. */
function endpointsOf(source: MeshPagesOptions['source']): Endpoint[] {
  const found: Endpoint[] = []
  for (const { bytes } of source.list(urls.address, anyProxy)) {
    const { type } = fromBinary(workload.AddressSchema, bytes)
    if (type.case !== 'workload') continue
    for (const [key, { ports }] of Object.entries(type.value.services)) {
      const service = source.snapshot.services.get(key)
      for (const { servicePort, targetPort } of ports) {
        const port = service?.ports.find((known) => known.port === servicePort)
        if (service === undefined || port === undefined) continue
        const addresses = type.value.addresses.map(formatIp)
        for (const address of addresses.length > 0 ? addresses : [type.value.hostname]) {
          found.push({ service, port, address, targetPort, workload: type.value })
        }
      }
    }
  }
  return found
}

function endpointPage(source: MeshPagesOptions['source'], { query }: PageRequest) {
  const byPort = Map.groupBy(
    endpointsOf(source),
    ({ service, port }) => `${service.hostname}:${port.name}`,
  )
  if (query.has('brief')) {
    const lines = [...byPort].flatMap(([name, endpoints]) =>
      endpoints.map((item) => `${name} ${item.address}:${item.targetPort} ${identityOf(item)}\n`),
    )
    return ok(lines.join(''))
  }
  const instance = instanceOf(source.snapshot)
  const json = servicesOf(source.snapshot).flatMap((service) =>
    service.ports.map((port) => {
      const svc = `${service.hostname}:${port.name}`
      return { svc, ep: (byPort.get(svc) ?? []).map(instance) }
    }),
  )
  return { json }
}

function instanceOf(snapshot: Snapshot): (endpoint: Endpoint) => unknown {
  const asService = registryService(snapshot)
  return (endpoint) => ({
    Service: asService(endpoint.service),
    ServicePort: portOf(endpoint.port),
    Endpoint: endpointOf(endpoint),
  })
}

function identityOf({ workload: { namespace, serviceAccount, trustDomain } }: Endpoint): string {
  return formatSpiffeId({
    trustDomain: trustDomain || 'cluster.local',
    namespace,
    serviceAccount: serviceAccount || 'default',
  })
}

function endpointOf(endpoint: Endpoint): unknown {
  const { address, targetPort, port, workload: item } = endpoint
  const { region = '', zone = '', subzone = '' } = item.locality ?? {}
  const locality = [region, zone, subzone].join('/').replace(/\/+$/, '')
  return {
    Addresses: [address],
    EndpointPort: targetPort,
    ServicePortName: port.name,
    ServiceAccount: identityOf(endpoint),
    Network: item.network,
    Locality: { Label: locality, ClusterID: item.clusterId },
    LbWeight: item.capacity ?? 1,
    TLSMode: item.tunnelProtocol === workload.TunnelProtocol.HBONE ? 'istio' : 'disabled',
    Namespace: item.namespace,
    WorkloadName: item.workloadName,
    HostName: item.hostname,
    NodeName: item.node,
    HealthStatus: item.status === workload.WorkloadStatus.HEALTHY ? 1 : 2,
  }
}

function shards(source: MeshPagesOptions['source']): unknown {
  const { clusterId } = source.snapshot.settings
  const byHost: Record<string, Record<string, Record<string, unknown>>> = {}
  const grouped = Map.groupBy(endpointsOf(source), ({ service }) => service)
  for (const [service, endpoints] of grouped) {
    byHost[service.hostname] ??= {}
    const accounts = Object.fromEntries(endpoints.map((item) => [identityOf(item), {}]))
    const ofHost = byHost[service.hostname] ?? {}
    ofHost[service.namespace] = {
      Shards: { [`Kubernetes/${clusterId}`]: endpoints.map(endpointOf) },
      ServiceAccounts: accounts,
    }
  }
  return byHost
}

function authorizationPolicies(snapshot: Snapshot, policies: readonly KubeObject[]): unknown {
  const items = policies.map(({ metadata, spec }) => ({
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    annotations: metadata.annotations ?? {},
    spec: spec ?? {},
  }))
  return {
    namespace_to_policies: Object.fromEntries(Map.groupBy(items, ({ namespace }) => namespace)),
    root_namespace: snapshot.settings.rootNamespace,
  }
}

function readAddress({ name, version, bytes }: EncodedResource): unknown {
  const message = fromBinary(workload.AddressSchema, bytes)
  // Extensions hold packed messages that need no unpacking here.
  if (message.type.value !== undefined) message.type.value.extensions = []
  return { name, version, ...Object(toJson(workload.AddressSchema, message)) }
}

function readPolicy({ name, version, bytes }: EncodedResource): unknown {
  const message = fromBinary(security.AuthorizationSchema, bytes)
  message.extensions = []
  return { name, version, ...Object(toJson(security.AuthorizationSchema, message)) }
}

function cached(source: ResourceSource, sizes: boolean): unknown {
  const result: Record<string, unknown> = {}
  let total = 0
  for (const typeUrl of [urls.address, urls.authorization]) {
    const resources = [...source.list(typeUrl, anyProxy)]
    const bytes = resources.reduce((sum, item) => sum + item.bytes.length, 0)
    total += bytes
    result[typeUrl] = sizes ? bytes : resources.map(({ name }) => name)
  }
  return sizes ? { ...result, total } : result
}
