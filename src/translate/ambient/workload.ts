/** Pods, entries and plain addresses as `istio.workload.Address` resources. */
import { parseIp } from '../../base/index.ts'
import {
  localityOf,
  networkOf,
  type Service,
  type Snapshot,
  selectingServices,
  type Workload,
} from '../../model/index.ts'
import { workload as api, create, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import type { TranslatedResource } from '../types.ts'
import { listedPolicies } from './listing.ts'
import { addressAlias } from './names.ts'
import { appProtocols } from './service.ts'
import { applicationTunnel, gatewayOfPod, waypointAddress } from './waypoint.ts'

/** @param uid the workload's UID, which is also the resource's name */
export function translateWorkload(snapshot: Snapshot, uid: string): TranslatedResource | undefined {
  const workload = snapshot.workloads.get(uid)
  // What listens on a socket of some host's file system is out of a node proxy's reach.
  if (workload === undefined || workload.hostname.startsWith('unix://')) return undefined
  const network = workload.network ?? networkOf(snapshot)
  const value = workloadMessage(snapshot, workload, network)
  return encodeResource({
    name: uid,
    typeUrl: typeUrl.address,
    schema: api.AddressSchema,
    message: create(api.AddressSchema, { type: { case: 'workload', value } }),
    belongsTo: Object.keys(value.services),
    // Several workloads share a node's address: it names none of them.
    aliases: workload.hostNetwork
      ? []
      : workload.addresses.map((address) => addressAlias(network, address)),
  })
}

function workloadMessage(snapshot: Snapshot, workload: Workload, network: string): api.Workload {
  const { settings } = snapshot
  const isPlainAddress = workload.source === 'EndpointSlice'
  const hasWaypoint = !isPlainAddress && gatewayOfPod(snapshot, workload) === undefined
  const waypoint = hasWaypoint ? waypointAddress(snapshot, workload, 'workload') : undefined
  const tunnel = applicationTunnel(snapshot, workload)
  const locality = localityOf(snapshot, workload)
  const capacity = workload.weight
  return create(api.WorkloadSchema, {
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    addresses: workload.addresses.flatMap((address) => parseIp(address) ?? []),
    hostname: workload.hostname,
    network,
    clusterId: settings.clusterId,
    trustDomain: settings.trustDomain === 'cluster.local' ? '' : settings.trustDomain,
    serviceAccount: workload.serviceAccount,
    node: workload.node,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    workloadType: api.WorkloadType.POD,
    workloadName: workload.workloadName,
    tunnelProtocol: workload.tunnel === 'none' ? api.TunnelProtocol.NONE : api.TunnelProtocol.HBONE,
    nativeTunnel: workload.tunnel === 'native',
    authorizationPolicies: isPlainAddress ? [] : listedPolicies(snapshot, workload),
    status: workload.ready ? api.WorkloadStatus.HEALTHY : api.WorkloadStatus.UNHEALTHY,
    networkMode: workload.hostNetwork ? api.NetworkMode.HOST_NETWORK : api.NetworkMode.STANDARD,
    services: servicesOf(snapshot, workload),
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(tunnel === undefined ? {} : { applicationTunnel: tunnel }),
    ...(locality === undefined || isEmpty(locality)
      ? {}
      : { locality: create(api.LocalitySchema, locality) }),
    ...(capacity === undefined ? {} : { capacity }),
  })
}

function isEmpty(locality: { region: string; zone: string; subzone: string }): boolean {
  return locality.region === '' && locality.zone === '' && locality.subzone === ''
}

function servicesOf(snapshot: Snapshot, workload: Workload): Record<string, api.PortList> {
  const services: Record<string, api.PortList> = {}
  for (const service of selectingServices(snapshot, workload)) {
    services[`${service.namespace}/${service.hostname}`] = create(api.PortListSchema, {
      ports: selectedPorts(service, workload),
    })
  }
  for (const binding of workload.bindings) {
    const service = snapshot.services.get(binding.service)
    services[binding.service] = create(api.PortListSchema, {
      ports: binding.ports.map(({ servicePort, targetPort }) =>
        create(api.PortSchema, {
          servicePort,
          targetPort,
          appProtocol: protocolOf(service, servicePort),
        }),
      ),
    })
  }
  return services
}

function protocolOf(service: Service | undefined, servicePort: number): api.AppProtocol {
  const port = service?.ports.find((candidate) => candidate.port === servicePort)
  return appProtocols[port?.appProtocol ?? 'unknown']
}

/** The service's ports as this workload serves them; a named port it does not have is left out. */
function selectedPorts(service: Service, workload: Workload): api.Port[] {
  const ports = new Map<number, api.Port>()
  for (const port of service.ports) {
    if (port.protocol !== 'TCP' && ports.has(port.port)) continue
    const targetPort = resolvePort(workload, port.targetPort, port.name, port.protocol)
    if (targetPort === undefined) continue
    const appProtocol = appProtocols[port.appProtocol]
    ports.set(
      port.port,
      create(api.PortSchema, { servicePort: port.port, targetPort, appProtocol }),
    )
  }
  return [...ports.values()]
}

/** Entries map the service port's own name; pods have container ports under the target's name. */
export function resolvePort(
  workload: Workload,
  target: number | string,
  serviceName: string,
  protocol: string,
): number | undefined {
  if (workload.source !== 'Pod') {
    const own = workload.ports.find((port) => port.name === serviceName)
    if (own !== undefined) return own.port
  }
  if (typeof target === 'number') return target
  return workload.ports.find((port) => port.name === target && port.protocol === protocol)?.port
}
