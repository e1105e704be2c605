/**
 * Where an outbound connection goes (reference: ambient, outbound decision). Pure: store in, route
 * out. When a gateway is called for and can't be found, the answer is a refusal, never a way around.
 */
import { formatHostPort } from '../hbone/index.ts'
import { illegalPorts } from './limits.ts'
import { chooseEndpoint, type Endpoint } from './state/balance.ts'
import type { Store } from './state/store.ts'
import type { GatewayReference, Service, Workload } from './state/types.ts'

interface RouteBase {
  /** The service that the client addressed. */
  readonly service?: Service | undefined
  /** The workload at the other end of the hop. */
  readonly destination?: Workload | undefined
}

export type Route =
  | (RouteBase & {
      /** Plain TCP; `host` is an address, or the hostname of a workload without one. */
      readonly kind: 'tcp'
      readonly host: string
      readonly port: number
    })
  | (RouteBase & {
      readonly kind: 'hbone'
      /** Socket address of the proxy at the other end. */
      readonly host: string
      readonly port: number
      readonly authority: string
      /** SPIFFE ids of which the other end must prove one. */
      readonly expected: readonly string[]
      /**
       * Inside that tunnel a second one to a workload of another network: the other end is that
       * network's gateway, which can't read it.
       */
      readonly inner?: { readonly authority: string; readonly expected: readonly string[] }
    })
  | (RouteBase & { readonly kind: 'refused'; readonly code: string; readonly reason: string })

export interface RouteRequest {
  readonly store: Store
  /** The workload which connects. */
  readonly client: Workload
  readonly address: string
  readonly port: number
  readonly random: () => number
}

/** Decides one connection. */
export function routeOutbound(request: RouteRequest): Route {
  const { store, client, address, port } = request
  if (illegalPorts.has(port) && (isLoopback(address) || client.addresses.includes(address))) {
    return refused('ILLEGAL_PORT', `${formatHostPort(address, port)} is a port of the proxy itself`)
  }
  const service = store.services.byVip(client.network, address, client.namespace)
  if (service !== undefined) return routeToService(request, service)
  const workload = store.workloadAt(client.network, address)
  if (workload === undefined) return { kind: 'tcp', host: address, port }
  const { waypoint } = workload
  if (waypoint !== undefined && !store.isGateway(client, waypoint)) {
    return routeToWaypoint(request, waypoint, { destination: workload })
  }
  return routeToEndpoint(request, { workload, port })
}

function routeToService(request: RouteRequest, service: Service): Route {
  const { store, client, port, random } = request
  const waypoint = pickWaypoint(request, service)
  if (waypoint !== undefined && !store.isGateway(client, waypoint)) {
    return routeToWaypoint(request, waypoint, { service })
  }
  const endpoints = store.workloads.endpointsOf(service.key)
  const endpoint = chooseEndpoint({ service, endpoints, port, client, random })
  if (endpoint !== undefined) return routeToEndpoint(request, endpoint, service)
  if (service.loadBalancing?.mode === 'passthrough') {
    return { kind: 'tcp', host: request.address, port, service }
  }
  const known = service.ports.has(port)
  return refused(
    'NO_HEALTHY_UPSTREAM',
    known
      ? `service ${service.key} has no healthy endpoint for port ${port}`
      : `service ${service.key} has no port ${port}`,
    { service },
  )
}

function routeToEndpoint(
  request: RouteRequest,
  { workload, port }: Endpoint,
  service?: Service,
): Route {
  const { client, address } = request
  const base = { service, destination: workload }
  if (workload.network !== client.network) {
    return routeToOtherNetwork(request, { workload, service }, base)
  }
  const host = pickAddress(workload, service, address)
  if (host === undefined) {
    return refused('NO_ADDRESS', `workload ${workload.uid} has no address of a usable family`, base)
  }
  if (workload.tunnel === 'none') return { ...base, kind: 'tcp', host, port }
  return {
    ...base,
    kind: 'hbone',
    host,
    port: 15_008,
    authority: formatHostPort(host, port),
    expected: expectedIdentities(workload, service),
  }
}

/** The weighted ones first, among those that lead somewhere; then the plain one. */
function pickWaypoint(request: RouteRequest, service: Service): GatewayReference | undefined {
  const usable = service.weightedWaypoints.filter(
    ({ gateway, weight }) => weight > 0 && findGateway(request, gateway) !== undefined,
  )
  let left = request.random() * usable.reduce((sum, { weight }) => sum + weight, 0)
  for (const { gateway, weight } of usable) {
    left -= weight
    if (left < 0) return gateway
  }
  return service.waypoint ?? service.weightedWaypoints[0]?.gateway
}

function routeToWaypoint(
  request: RouteRequest,
  waypoint: GatewayReference,
  base: RouteBase,
): Route {
  const { client, address, port } = request
  const found = findGateway(request, waypoint)
  const name = waypoint.target.kind === 'service' ? waypoint.target.key : waypoint.target.address
  if (found === undefined) {
    return refused('UNKNOWN_WAYPOINT', `waypoint ${name} is not known or not healthy`, base)
  }
  const { workload } = found.endpoint
  const hop = { ...base, destination: workload }
  if (workload.network !== client.network) {
    return routeToOtherNetwork(
      request,
      { workload, service: base.service, via: found.service },
      hop,
    )
  }
  const host = pickAddress(workload, found.service, address)
  if (host === undefined) return refused('NO_ADDRESS', `waypoint ${name} has no address`, hop)
  return {
    ...hop,
    kind: 'hbone',
    host,
    port: found.endpoint.port,
    authority: formatHostPort(address, port),
    expected: expectedIdentities(workload, found.service),
  }
}

function findGateway(
  { store, client, random }: RouteRequest,
  { target, port }: GatewayReference,
): { endpoint: Endpoint; service?: Service } | undefined {
  const service =
    target.kind === 'service'
      ? store.services.get(target.key)
      : store.services.byVip(target.network, target.address, client.namespace)
  if (service !== undefined) {
    const endpoints = store.workloads.endpointsOf(service.key)
    const choose = { service, endpoints, port, client, random, waypoint: true }
    const endpoint = chooseEndpoint(choose)
    return endpoint === undefined ? undefined : { endpoint, service }
  }
  if (target.kind === 'service') return undefined
  const workload = store.workloadAt(target.network, target.address)
  return workload === undefined ? undefined : { endpoint: { workload, port } }
}

function expectedIdentities(workload: Workload, service: Service | undefined): string[] {
  return [workload.spiffe, ...(service?.subjectAltNames ?? [])]
}

/**
 * One of a workload's addresses: the one that was asked for; else of the families which the service
 * allows; without such a rule, of the family that was asked for when there is one.
 */
export function pickAddress(
  workload: Workload,
  service: Service | undefined,
  asked: string,
): string | undefined {
  const { addresses } = workload
  if (addresses.includes(asked)) return asked
  if (addresses.length === 0) return workload.hostname === '' ? undefined : workload.hostname
  const isV6 = (address: string): boolean => address.includes(':')
  if (service !== undefined && service.ipFamilies !== 'any') {
    return addresses.find((address) => isV6(address) === (service.ipFamilies === '6'))
  }
  return addresses.find((address) => isV6(address) === isV6(asked)) ?? addresses[0]
}

interface RemoteEnd {
  /** An endpoint, or a waypoint. */
  readonly workload: Workload
  /** What the client addressed: its name is all that the other network understands. */
  readonly service: Service | undefined
  /** The waypoint's own service. */
  readonly via?: Service | undefined
}

/** Through the gateway of the workload's network: one tunnel to it, and in it one to the workload. */
function routeToOtherNetwork(request: RouteRequest, end: RemoteEnd, base: RouteBase): Route {
  const { workload, service, via } = end
  const where = `workload ${workload.uid} is on network "${workload.network}"`
  if (service === undefined) {
    return refused('OTHER_NETWORK', `${where}, where only services can be reached`, base)
  }
  if (workload.networkGateway === undefined) {
    return refused('OTHER_NETWORK', `${where}, which has no gateway`, base)
  }
  const found = findGateway(request, workload.networkGateway)
  if (found === undefined) {
    return refused('UNKNOWN_GATEWAY', `${where}, whose gateway is not known or not healthy`, base)
  }
  const gateway = found.endpoint.workload
  const host = pickAddress(gateway, found.service, request.address)
  if (host === undefined) {
    return refused('NO_ADDRESS', `gateway ${gateway.uid} has no address of a usable family`, base)
  }
  const names = (via ?? service).subjectAltNames
  const authority = formatHostPort(service.hostname, request.port)
  return {
    ...base,
    kind: 'hbone',
    host,
    port: found.endpoint.port,
    authority,
    expected: expectedIdentities(gateway, found.service),
    // Which workload of the service it will be is the other network's choice.
    inner: { authority, expected: names.length > 0 ? names : [workload.spiffe] },
  }
}

function refused(code: string, reason: string, base: RouteBase = {}): Route {
  return { ...base, kind: 'refused', code, reason }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
