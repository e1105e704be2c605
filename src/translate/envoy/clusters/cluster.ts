/** A service port, or a subset of it, as an Envoy cluster. */
import type { JsonObject } from '@bufbuild/protobuf'
import {
  cluster as api,
  core,
  dnsCache,
  dnsCluster,
  dnsCommon,
  dynamicForwardCluster,
} from '../../../proto/envoy.ts'
import { create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import { servicePath } from '../../provenance.ts'
import type { TranslatedResource } from '../../types.ts'
import { distanceOf, loadAssignment } from '../endpoints/assignment.ts'
import type { Scope } from '../lookup/scope.ts'
import type { ProxyView } from '../proxy.ts'
import { serviceNames, serviceNamespace } from '../telemetry/peer.ts'
import { adsSource, duration, durationMs, pack } from '../values.ts'
import { balancing, commonBalancing } from './load-balancer.ts'
import type { ClusterRef } from './names.ts'
import { type ClusterPlan, planCluster } from './policy.ts'
import {
  circuitBreakers,
  connectTimeoutMs,
  outlierDetectionOf,
  upstreamConnectionOptions,
} from './pool.ts'
import { httpOptions, upstreamProtocol } from './protocol.ts'
import { securityOf } from './security.ts'

const defaultDnsRefreshMs = 60_000

/** Undefined when there is no such cluster: requests for it are answered with 503. */
export function translateCluster(scope: Scope, ref: ClusterRef): TranslatedResource | undefined {
  const plan = planCluster(scope, ref)
  if (plan === undefined) return undefined
  const message = clusterOf(scope, plan)
  if (message === undefined) return undefined
  const schema = api.ClusterSchema
  return encodeResource({ name: ref.name, typeUrl: typeUrl.cluster, schema, message })
}

/** Whether the endpoints of the cluster travel by themselves. */
export function needsEndpoints(scope: Scope, ref: ClusterRef): boolean {
  const plan = planCluster(scope, ref)
  return plan !== undefined && discoveryOf(scope, plan)?.edsClusterConfig !== undefined
}

function clusterOf(scope: Scope, plan: ClusterPlan): api.Cluster | undefined {
  const { reader, view } = scope
  const { policy, port, ref } = plan
  const mesh = reader.mesh()
  const pool = policy.connectionPool
  const discovery = discoveryOf(scope, plan)
  if (discovery === undefined) return undefined
  const speaks = upstreamProtocol(port, pool, mesh)
  const { sockets, autoSni, autoSanValidation } = securityOf(scope, plan, speaks)
  const options = httpOptions({
    protocol: speaks,
    pool,
    outlier: policy.outlierDetection,
    autoSni,
    autoSanValidation,
  })
  const isDirect = discovery.lbPolicy === api.Cluster_LbPolicy.CLUSTER_PROVIDED
  const distance = distanceOf(reader, plan)
  return create(api.ClusterSchema, {
    name: ref.name,
    connectTimeout: duration(connectTimeoutMs(pool, mesh)),
    ...balancing(policy.loadBalancer),
    ...(isDirect ? {} : commonBalancing(distance, policy.outlierDetection?.minHealthPercent)),
    ...discovery,
    ...(isDirect ? { lbConfig: { case: undefined } } : {}),
    circuitBreakers: circuitBreakers(pool, policy.retryBudget),
    ...(policy.outlierDetection === undefined
      ? {}
      : { outlierDetection: outlierDetectionOf(policy.outlierDetection) }),
    ...upstreamConnectionOptions(pool, mesh),
    ...(options === undefined ? {} : { typedExtensionProtocolOptions: options }),
    ...sockets,
    ...statName(mesh.outboundClusterStatName, plan, view),
    metadata: metadataOf(plan),
  })
}

type Discovery = Partial<
  Pick<api.Cluster, 'clusterDiscoveryType' | 'edsClusterConfig' | 'loadAssignment' | 'lbPolicy'>
>

/** Where the endpoints come from. Undefined for names without an address to ask for. */
function discoveryOf(scope: Scope, plan: ClusterPlan): Discovery | undefined {
  const { service, policy, ref } = plan
  const { view } = scope
  const type = (value: api.Cluster_DiscoveryType): api.Cluster['clusterDiscoveryType'] => ({
    case: 'type',
    value,
  })
  // Clients of a headless Service have chosen an endpoint already; gateways have to choose one.
  const keepsAddress =
    service.resolution === 'none' ||
    (service.headless && view.kind === 'sidecar') ||
    policy.loadBalancer?.simple === 'PASSTHROUGH'
  const isNamed = service.resolution.startsWith('dns') || service.resolution === 'alias'
  if (service.resolution === 'dynamic-dns') return dynamicForward(scope)
  if (keepsAddress && !isNamed) {
    return {
      clusterDiscoveryType: type(api.Cluster_DiscoveryType.ORIGINAL_DST),
      lbPolicy: api.Cluster_LbPolicy.CLUSTER_PROVIDED,
    }
  }
  if (!isNamed) {
    return {
      clusterDiscoveryType: type(api.Cluster_DiscoveryType.EDS),
      edsClusterConfig: create(api.Cluster_EdsClusterConfigSchema, {
        edsConfig: adsSource(),
        serviceName: ref.name,
      }),
    }
  }
  const assignment = loadAssignment(scope, plan)
  if (assignment.endpoints.length === 0) return undefined
  const isSingle = service.resolution === 'dns-round-robin'
  return {
    clusterDiscoveryType: dnsDiscovery(scope, isSingle),
    loadAssignment: isSingle ? { ...assignment, endpoints: firstOnly(assignment) } : assignment,
  }
}

/** @param isSingle all addresses of the name are one endpoint; else each is one */
function dnsDiscovery(scope: Scope, isSingle: boolean): api.Cluster['clusterDiscoveryType'] {
  const config = create(dnsCluster.DnsClusterSchema, {
    dnsLookupFamily: lookupFamily(scope.view),
    dnsRefreshRate: duration(durationMs(scope.reader.mesh().dnsRefreshRate) ?? defaultDnsRefreshMs),
    respectDnsTtl: true,
    allAddressesInSingleEndpoint: isSingle,
  })
  return {
    case: 'clusterType',
    value: create(api.Cluster_CustomClusterTypeSchema, {
      name: 'envoy.cluster.dns',
      typedConfig: pack(dnsCluster.DnsClusterSchema, config),
    }),
  }
}

/** One name is resolved to one address: Envoy takes exactly one endpoint then. */
function firstOnly(
  assignment: ReturnType<typeof loadAssignment>,
): ReturnType<typeof loadAssignment>['endpoints'] {
  const [group] = assignment.endpoints
  return group === undefined ? [] : [{ ...group, lbEndpoints: group.lbEndpoints.slice(0, 1) }]
}

function lookupFamily({ ipFamilies }: ProxyView): dnsCommon.DnsLookupFamily {
  if (ipFamilies.length > 1) return dnsCommon.DnsLookupFamily.ALL
  return ipFamilies[0] === 'ipv6'
    ? dnsCommon.DnsLookupFamily.V6_ONLY
    : dnsCommon.DnsLookupFamily.V4_ONLY
}

/** The enum of clusters' own field, which the DNS cache shares. */
function cacheLookupFamily(view: ProxyView): api.Cluster_DnsLookupFamily {
  const own = lookupFamily(view)
  if (own === dnsCommon.DnsLookupFamily.ALL) return api.Cluster_DnsLookupFamily.ALL
  return own === dnsCommon.DnsLookupFamily.V6_ONLY
    ? api.Cluster_DnsLookupFamily.V6_ONLY
    : api.Cluster_DnsLookupFamily.V4_ONLY
}

/** Names a proxy may remember; a client that invents host names must not fill its memory. */
const dynamicHostsMax = 1024

/** Any name below a wildcard, resolved when it is asked for. */
function dynamicForward(scope: Scope): Discovery {
  const config = create(dynamicForwardCluster.ClusterConfigSchema, {
    clusterImplementationSpecifier: {
      case: 'dnsCacheConfig',
      value: dynamicDnsCache(scope),
    },
    allowInsecureClusterOptions: true,
  })
  return {
    clusterDiscoveryType: {
      case: 'clusterType',
      value: create(api.Cluster_CustomClusterTypeSchema, {
        name: 'envoy.clusters.dynamic_forward_proxy',
        typedConfig: pack(dynamicForwardCluster.ClusterConfigSchema, config),
      }),
    },
    lbPolicy: api.Cluster_LbPolicy.CLUSTER_PROVIDED,
  }
}

/** The HTTP filter that resolves names must have the same cache as the clusters. */
export function dynamicDnsCache(scope: Scope): dnsCache.DnsCacheConfig {
  const refreshMs = durationMs(scope.reader.mesh().dnsRefreshRate) ?? defaultDnsRefreshMs
  return create(dnsCache.DnsCacheConfigSchema, {
    name: 'dynamic-dns',
    dnsLookupFamily: cacheLookupFamily(scope.view),
    dnsRefreshRate: duration(refreshMs),
    maxHosts: dynamicHostsMax,
  })
}

/** `%SERVICE%`, `%SERVICE_FQDN%`, `%SERVICE_PORT%`, `%SERVICE_PORT_NAME%`, `%SUBSET_NAME%`. */
function statName(
  pattern: string | undefined,
  plan: ClusterPlan,
  view: ProxyView,
): { altStatName?: string } {
  if (pattern === undefined || pattern === '') return {}
  const { service, port, ref } = plan
  const short =
    service.source === 'Service'
      ? service.namespace === view.namespace
        ? service.name
        : `${service.name}.${service.namespace}`
      : service.hostname
  const values: Readonly<Record<string, string>> = {
    SERVICE: short,
    SERVICE_FQDN: service.hostname,
    SERVICE_NAME: service.name,
    SERVICE_PORT: String(port.port),
    SERVICE_PORT_NAME: port.name,
    TARGET_PORT: String(port.targetPort),
    SUBSET_NAME: ref.subset,
  }
  const altStatName = pattern.replaceAll(/%([A-Z_]+)%/g, (all, name: string) => values[name] ?? all)
  return { altStatName }
}

/** The rule that shaped the cluster, else the service; and which service it stands for. */
function metadataOf({ service, port, rule, subset, ref }: ClusterPlan): core.Metadata {
  const index = service.ports.indexOf(port)
  const place =
    subset !== undefined
      ? { config: subset.config, path: '/spec/subsets' }
      : rule?.policy !== undefined
        ? { config: rule.config, path: '/spec/trafficPolicy' }
        : { config: servicePath(service), path: `/spec/ports/${index}` }
  const { namespace, hostname, name } = service
  const istio: JsonObject = {
    ...place,
    default_original_port: port.port,
    services: [{ host: hostname, name, namespace }],
    ...(ref.subset === '' ? {} : { subset: ref.subset }),
  }
  const named = { ...serviceNames(service) }
  return create(core.MetadataSchema, { filterMetadata: { istio, [serviceNamespace]: named } })
}
