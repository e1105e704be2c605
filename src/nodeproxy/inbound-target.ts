/**
 * Where a CONNECT that came in ends (reference: ambient, inbound HBONE). A peer may only reach this
 * very pod through us; a pod that stands in for others (a waypoint) also gets what is meant for them.
 */
import { type Authority, formatHostPort } from '../hbone/index.ts'
import { encodeProxyHeader } from '../streams/index.ts'
import { formatSpiffeId, type SpiffeId } from '../x509/index.ts'
import { Refusal } from './errors.ts'
import { illegalPorts } from './limits.ts'
import type { SocketAddress } from './pod.ts'
import type { Store } from './state/store.ts'
import type { Workload } from './state/types.ts'

/** Extension of the PROXY header with the client's SPIFFE id, as Istio's node proxy writes it. */
const identityExtension = 0xd0

export interface InboundTarget {
  /** What the policies judge and telemetry shows. */
  readonly destination: SocketAddress
  /** Where the application takes it, when that is somewhere else, and what it gets to read first. */
  readonly application?: SocketAddress & { readonly header: Uint8Array | undefined }
}

export interface InboundTargetRequest {
  readonly store: Store
  /** The pod's own. */
  readonly workload: Workload
  readonly authority: Authority
  /** Where the connection came in. */
  readonly local: SocketAddress
  readonly source: SocketAddress
  readonly identity: SpiffeId
  /** Lead application tunnels to loopback instead of the pod's address. */
  readonly localhostTunnel: boolean
}

/** Throws a Refusal with the status for the peer. */
export function inboundTarget(request: InboundTargetRequest): InboundTarget {
  const { workload, local } = request
  const destination = destinationOf(request)
  if (workload.applicationTunnel !== undefined) return tunnelTarget(request, destination)
  // What is meant for others is taken by this pod's own proxy at the same port.
  if (destination.address !== local.address) {
    return legal({
      destination,
      application: { ...local, port: destination.port, header: undefined },
    })
  }
  return legal({ destination })
}

function destinationOf(request: InboundTargetRequest): SocketAddress {
  const { authority, store, workload, local } = request
  const text = formatHostPort(
    authority.kind === 'ip' ? authority.address : authority.host,
    authority.port,
  )
  if (authority.kind === 'ip') {
    const { address, port } = authority
    if (address === local.address || standsIn(request, address)) return { address, port }
    throw new Refusal(400, `CONNECT ${text} is not for this pod (${local.address})`)
  }
  const port = servicePort(store, workload, authority.host, authority.port)
  if (port === undefined) throw new Refusal(503, `this pod is no endpoint of ${text}`)
  return { address: local.address, port }
}

/** Whether the pod gets what is meant for that address: as their waypoint, or through its tunnel. */
function standsIn({ store, workload }: InboundTargetRequest, address: string): boolean {
  if (workload.applicationTunnel !== undefined) return true
  const service = store.services.byVip(workload.network, address, workload.namespace)
  const target = service ?? store.workloadAt(workload.network, address)
  return target?.waypoint !== undefined && store.isGateway(workload, target.waypoint)
}

function tunnelTarget(request: InboundTargetRequest, destination: SocketAddress): InboundTarget {
  const { workload, local, source, identity, localhostTunnel } = request
  const tunnel = workload.applicationTunnel
  const address = localhostTunnel ? loopbackFor(local.address) : local.address
  const port = tunnel?.port || destination.port
  const header =
    tunnel?.protocol === 'proxy'
      ? encodeProxyHeader({
          source,
          destination,
          extensions: new Map([[identityExtension, Buffer.from(formatSpiffeId(identity))]]),
        })
      : undefined
  return legal({ destination, application: { address, port, header } })
}

function loopbackFor(address: string): string {
  return address.includes(':') ? '::1' : '127.0.0.1'
}

function legal(target: InboundTarget): InboundTarget {
  const { port } = target.application ?? target.destination
  if (illegalPorts.has(port)) throw new Refusal(503, `port ${port} belongs to the proxy`)
  return target
}

/** The target port at this workload of a port of one of its services. */
function servicePort(
  store: Store,
  workload: Workload,
  host: string,
  port: number,
): number | undefined {
  for (const [key, own] of workload.services) {
    if (key.slice(key.indexOf('/') + 1) !== host) continue
    const target = own.get(port) ?? store.services.get(key)?.ports.get(port) ?? 0
    if (target !== 0) return target
  }
  return undefined
}
