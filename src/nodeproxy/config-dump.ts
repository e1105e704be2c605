/** What the admin's /config_dump shows, in the shape that `istioctl ztunnel-config` reads. */
import type { IdentityStatus } from '../identity/index.ts'
import { security, toJson } from '../proto/index.ts'
import { parseCertificate, splitPem } from '../x509/index.ts'
import type { Connection } from './connections.ts'
import { dumpedConnections } from './limits.ts'
import type { PodInfo } from './pod.ts'
import type { Store } from './state/store.ts'
import type { GatewayReference, Service, Workload } from './state/types.ts'

export interface PodDump {
  readonly uid: string
  readonly info: PodInfo
  readonly connections: {
    readonly inbound: readonly unknown[]
    readonly outbound: readonly unknown[]
  }
}

export interface DumpSources {
  readonly store: Store
  readonly identities: readonly IdentityStatus[]
  readonly pods: readonly PodDump[]
  readonly config: Readonly<Record<string, unknown>>
  readonly version: Readonly<Record<string, string>>
}

export function dumpConfig({ store, identities, pods, config, version }: DumpSources): unknown {
  return {
    workloads: [...store.workloads.values()].map(dumpWorkload),
    services: [...store.services.values()].map((service) => dumpService(service, store)),
    policies: [...store.policyMessages.values()].map(dumpPolicy),
    stagedServices: Object.fromEntries(
      store.stagedServices().map((key) => [key, dumpEndpoints(key, store)]),
    ),
    staticConfig: {},
    version,
    config,
    certificates: identities.map(dumpCertificate),
    workloadState: Object.fromEntries(
      pods.map(({ uid, info, connections }) => [uid, { state: 'Up', connections, info }]),
    ),
  }
}

function dumpWorkload(workload: Workload): unknown {
  return {
    uid: workload.uid,
    workloadIps: workload.addresses,
    ...(workload.hostname === '' ? {} : { hostname: workload.hostname }),
    protocol: workload.tunnel === 'hbone' ? 'HBONE' : 'TCP',
    name: workload.name,
    namespace: workload.namespace,
    serviceAccount: workload.identity.serviceAccount,
    trustDomain: workload.identity.trustDomain,
    workloadName: workload.workloadName,
    workloadType: workload.workloadType,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    clusterId: workload.clusterId,
    node: workload.node,
    network: workload.network,
    networkMode: workload.hostNetwork ? 'HostNetwork' : 'Standard',
    nativeTunnel: workload.nativeTunnel,
    status: workload.healthy ? 'Healthy' : 'Unhealthy',
    capacity: workload.capacity,
    locality: workload.locality,
    authorizationPolicies: workload.policies,
    services: [...workload.services.keys()],
    ...gateway('waypoint', workload.waypoint),
    ...gateway('networkGateway', workload.networkGateway),
  }
}

function dumpService(service: Service, store: Store): unknown {
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.vips.map(({ network, address, length }) => {
      return length === undefined ? `${network}/${address}` : `${network}/${address}/${length}`
    }),
    ports: Object.fromEntries(service.ports),
    endpoints: dumpEndpoints(service.key, store),
    subjectAltNames: service.subjectAltNames,
    canonical: service.canonical,
    ...(service.loadBalancing === undefined ? {} : { loadBalancer: service.loadBalancing }),
    ...gateway('waypoint', service.waypoint),
  }
}

function dumpEndpoints(key: string, store: Store): Record<string, unknown> {
  const endpoints: Record<string, unknown> = {}
  for (const workload of store.workloads.endpointsOf(key)) {
    endpoints[workload.uid] = {
      workloadUid: workload.uid,
      service: key,
      port: Object.fromEntries(workload.services.get(key) ?? []),
      status: workload.healthy ? 'Healthy' : 'Unhealthy',
    }
  }
  return endpoints
}

function gateway(name: string, reference: GatewayReference | undefined): Record<string, unknown> {
  if (reference === undefined) return {}
  const { target, port } = reference
  const destination = target.kind === 'service' ? target.key : `${target.network}/${target.address}`
  return { [name]: { destination, hboneMtlsPort: port } }
}

const scopeNames = ['Global', 'Namespace', 'WorkloadSelector']

function dumpPolicy(policy: security.Authorization): unknown {
  const json = toJson(security.AuthorizationSchema, policy) as { rules?: unknown }
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: scopeNames[policy.scope],
    action: policy.action === security.Action.DENY ? 'Deny' : 'Allow',
    dryRun: policy.dryRun,
    rules: json.rules ?? [],
  }
}

function dumpCertificate({ identity, state, certificate, error }: IdentityStatus): unknown {
  return {
    identity,
    state:
      state === 'available'
        ? 'Available'
        : state === 'initializing'
          ? 'Initializing'
          : `Unavailable: ${error}`,
    certChain: certificate === undefined ? [] : splitPem(certificate.chainPem).map(dumpPem),
    rootCerts: certificate === undefined ? [] : splitPem(certificate.rootsPem).map(dumpPem),
  }
}

function dumpPem(pem: string): unknown {
  const { serial, notBefore, notAfter } = parseCertificate(pem)
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${serial}`).toString(),
    validFrom: new Date(notBefore).toISOString(),
    expirationTime: new Date(notAfter).toISOString(),
  }
}

/** The connections of one pod; no more than some. */
export function dumpConnections(connections: Iterable<Connection>): PodDump['connections'] {
  const inbound: unknown[] = []
  const outbound: unknown[] = []
  for (const { info } of connections) {
    if (inbound.length + outbound.length >= dumpedConnections) break
    const shown = { src: info.source, originalDst: info.destination, protocol: info.protocol }
    if (info.direction === 'inbound') inbound.push(shown)
    else outbound.push(shown)
  }
  return { inbound, outbound }
}
