/**
 * Messages of the control plane into our types. What can't be honoured throws, which becomes a NACK
 * for that resource; the last good version stays.
 */
import { formatIp, MeshError, unmap } from '../../base/index.ts'
import { workload as proto } from '../../proto/index.ts'
import { formatSpiffeId } from '../../x509/index.ts'
import type { GatewayReference, LocalityScope, Service, Vip, Workload } from './types.ts'

/** HBONE's port, when a gateway names none. */
export const hbonePort = 15_008

const workloadTypes: Readonly<Record<number, Workload['workloadType']>> = {
  [proto.WorkloadType.DEPLOYMENT]: 'deployment',
  [proto.WorkloadType.CRONJOB]: 'cronjob',
  [proto.WorkloadType.POD]: 'pod',
  [proto.WorkloadType.JOB]: 'job',
}

export function toWorkload(message: proto.Workload): Workload {
  const { uid } = message
  if (uid === '') throw invalid('a workload', 'no uid')
  if (message.tunnelProtocol > proto.TunnelProtocol.HBONE) {
    throw invalid(
      uid,
      `the tunnel protocol ${message.tunnelProtocol}, which a node proxy never speaks`,
    )
  }
  const identity = {
    trustDomain: orDefault(message.trustDomain, 'cluster.local'),
    namespace: message.namespace,
    serviceAccount: orDefault(message.serviceAccount, 'default'),
  }
  const tunnel = message.applicationTunnel
  return {
    uid,
    name: message.name,
    namespace: message.namespace,
    addresses: message.addresses.map((address) => addressText(address, uid)),
    hostname: message.hostname,
    network: message.network,
    tunnel: message.tunnelProtocol === proto.TunnelProtocol.HBONE ? 'hbone' : 'none',
    nativeTunnel: message.nativeTunnel,
    identity,
    spiffe: formatSpiffeId(identity),
    waypoint: toGateway(message.waypoint, uid),
    networkGateway: toGateway(message.networkGateway, uid),
    node: message.node,
    canonicalName: message.canonicalName,
    canonicalRevision: message.canonicalRevision,
    workloadType: workloadTypes[message.workloadType] ?? 'pod',
    workloadName: message.workloadName,
    policies: message.authorizationPolicies,
    healthy: message.status === proto.WorkloadStatus.HEALTHY,
    clusterId: orDefault(message.clusterId, 'Kubernetes'),
    services: new Map(
      Object.entries(message.services).map(([key, list]) => [key, portMap(list.ports)]),
    ),
    applicationTunnel:
      tunnel === undefined
        ? undefined
        : {
            protocol: tunnel.protocol === proto.ApplicationTunnel_Protocol.PROXY ? 'proxy' : 'none',
            port: tunnel.port,
          },
    locality: {
      region: message.locality?.region ?? '',
      zone: message.locality?.zone ?? '',
      subzone: message.locality?.subzone ?? '',
    },
    hostNetwork: message.networkMode === proto.NetworkMode.HOST_NETWORK,
    capacity: message.capacity ?? 1,
  }
}

export function toService(message: proto.Service): Service {
  const key = `${message.namespace}/${message.hostname}`
  if (message.hostname === '' || message.namespace === '') {
    throw invalid(`service "${key}"`, 'no hostname or no namespace')
  }
  return {
    key,
    name: message.name,
    namespace: message.namespace,
    hostname: message.hostname,
    vips: message.addresses.map((address) => toVip(address, key)),
    ports: portMap(message.ports),
    subjectAltNames: message.subjectAltNames,
    waypoint: toGateway(message.waypoint, key),
    weightedWaypoints: message.weightedWaypoints.flatMap(({ destination, weight }) => {
      const gateway = toGateway(destination, key)
      return gateway === undefined ? [] : [{ gateway, weight }]
    }),
    loadBalancing: toLoadBalancing(message.loadBalancing),
    ipFamilies:
      message.ipFamilies === proto.IPFamilies.IPV4_ONLY
        ? '4'
        : message.ipFamilies === proto.IPFamilies.IPV6_ONLY
          ? '6'
          : 'any',
    canonical: message.canonical,
    namespaceOnly: message.visibility === proto.Visibility.NAMESPACE,
  }
}

const { LoadBalancing_Mode: Mode, LoadBalancing_Scope: Scope } = proto

const modes: Readonly<Record<number, NonNullable<Service['loadBalancing']>['mode']>> = {
  [Mode.STRICT]: 'strict',
  [Mode.FAILOVER]: 'failover',
  [Mode.PASSTHROUGH]: 'passthrough',
}

const scopes: Readonly<Record<number, LocalityScope>> = {
  [Scope.REGION]: 'region',
  [Scope.ZONE]: 'zone',
  [Scope.SUBZONE]: 'subzone',
  [Scope.NODE]: 'node',
  [Scope.CLUSTER]: 'cluster',
  [Scope.NETWORK]: 'network',
}

function toLoadBalancing(message: proto.LoadBalancing | undefined): Service['loadBalancing'] {
  if (message === undefined) return undefined
  return {
    mode: modes[message.mode] ?? 'any',
    preferences: message.routingPreference.flatMap((scope) => scopes[scope] ?? []),
    unhealthyToo: message.healthPolicy === proto.LoadBalancing_HealthPolicy.ALLOW_ALL,
  }
}

function toVip(message: proto.NetworkAddress, where: string): Vip {
  const address = addressText(message.address, where)
  const { length } = message
  const bits = address.includes(':') ? 128 : 32
  if (length !== undefined && length > bits) throw invalid(where, `a prefix length of ${length}`)
  return { network: message.network, address, length: length === bits ? undefined : length }
}

function toGateway(
  message: proto.GatewayAddress | undefined,
  where: string,
): GatewayReference | undefined {
  if (message === undefined) return undefined
  const port = message.hboneMtlsPort === 0 ? hbonePort : message.hboneMtlsPort
  const { destination } = message
  if (destination.case === 'hostname') {
    const { namespace, hostname } = destination.value
    return { target: { kind: 'service', key: `${namespace}/${hostname}` }, port }
  }
  if (destination.case === 'address') {
    const { network, address } = destination.value
    return { target: { kind: 'address', network, address: addressText(address, where) }, port }
  }
  throw invalid(where, 'a gateway without a destination')
}

function portMap(ports: readonly proto.Port[]): ReadonlyMap<number, number> {
  return new Map(ports.map((port) => [port.servicePort, port.targetPort]))
}

function addressText(bytes: Uint8Array, where: string): string {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw invalid(where, `an address of ${bytes.length} bytes`)
  }
  return formatIp(unmap(bytes))
}

function orDefault(value: string, fallback: string): string {
  return value === '' ? fallback : value
}

function invalid(where: string, what: string): MeshError {
  return new MeshError('NODEPROXY_RESOURCE_INVALID', `${where} has ${what}`)
}
