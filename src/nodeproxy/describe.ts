/** How workloads and connections are named in telemetry and headers. */
import { canonicalIp } from '../base/index.ts'
import { type Baggage, formatHostPort } from '../hbone/index.ts'
import type { AccessPeer, TelemetryWorkload } from '../telemetry/index.ts'
import type { SocketAddress } from './pod.ts'
import type { Service, Workload } from './state/types.ts'

export function telemetryOf(workload: Workload | undefined): TelemetryWorkload | undefined {
  if (workload === undefined) return undefined
  return {
    workloadName: workload.workloadName,
    namespace: workload.namespace,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    clusterId: workload.clusterId,
    region: workload.locality.region,
    zone: workload.locality.zone,
  }
}

/** A client that only its own baggage describes. */
export function telemetryOfBaggage(baggage: Baggage): TelemetryWorkload {
  return {
    workloadName: baggage.workloadName ?? '',
    namespace: baggage.namespace ?? '',
    canonicalName: baggage.serviceName ?? '',
    canonicalRevision: baggage.revision ?? '',
    clusterId: baggage.clusterId ?? '',
    region: baggage.region ?? '',
    zone: baggage.zone ?? '',
  }
}

export function accessPeer(
  address: SocketAddress,
  workload: Workload | undefined,
  identity: string | undefined,
): AccessPeer {
  return {
    address: formatHostPort(address.address, address.port),
    workload: workload?.name,
    namespace: workload?.namespace,
    identity,
    cluster: workload?.clusterId,
  }
}

export function baggageOf(workload: Workload): Baggage {
  return {
    clusterId: workload.clusterId,
    namespace: workload.namespace,
    workloadType: workload.workloadType,
    workloadName: workload.workloadName,
    serviceName: workload.canonicalName,
    revision: workload.canonicalRevision,
    region: workload.locality.region,
    zone: workload.locality.zone,
  }
}

/** The remote end of a socket; undefined when it is gone already. */
export function remoteOf(socket: {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}): SocketAddress | undefined {
  const { remoteAddress, remotePort } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  return { address: canonicalIp(remoteAddress), port: remotePort }
}

/**
 * The service through which a client reached a workload: the one it named, else one of the
 * workload's whose target port this is.
 */
export function inboundService(
  services: { get(key: string): Service | undefined },
  workload: Workload,
  port: number,
  host: string | undefined,
): Service | undefined {
  let guess: Service | undefined
  for (const [key, ports] of workload.services) {
    const service = services.get(key)
    if (service === undefined) continue
    if (service.hostname === host) return service
    if (guess === undefined && [...ports.values(), ...service.ports.values()].includes(port)) {
      guess = service
    }
  }
  return guess
}

/** The `host` of a `forwarded` header. */
export function forwardedHost(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /(?:^|;)\s*host="?([^;,"]+)"?/i.exec(header)?.[1]
}
