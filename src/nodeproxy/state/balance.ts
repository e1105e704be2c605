/** Which endpoint of a service gets a connection (reference: ambient, how the node proxy stores). */
import type { LocalityScope, Service, Workload } from './types.ts'

export interface Endpoint {
  readonly workload: Workload
  /** The port of the workload. */
  readonly port: number
}

export interface ChooseOptions {
  readonly service: Service
  readonly endpoints: Iterable<Workload>
  /** The service's port that the client asked for. */
  readonly port: number
  /** Whose place in the world counts. */
  readonly client: Workload
  /** From 0 to below 1. */
  readonly random: () => number
  /**
   * Choosing an instance of a waypoint: its HBONE port need not be declared when the workload has
   * an application tunnel.
   */
  readonly waypoint?: boolean
}

/** Undefined when the service does not define the port or has no usable endpoint. */
export function chooseEndpoint(options: ChooseOptions): Endpoint | undefined {
  const { service, client, random } = options
  const usable = usableEndpoints(options)
  const balancing = service.loadBalancing
  const candidates =
    balancing === undefined || balancing.preferences.length === 0
      ? usable
      : byLocality(usable, client, balancing.preferences, balancing.mode)
  return weighted(candidates, random)
}

function usableEndpoints({
  service,
  endpoints,
  port,
  client,
  waypoint,
}: ChooseOptions): Endpoint[] {
  const servicePort = service.ports.get(port)
  if (servicePort === undefined && waypoint !== true) return []
  const usable: Endpoint[] = []
  for (const workload of endpoints) {
    if (!workload.healthy && service.loadBalancing?.unhealthyToo !== true) continue
    if (workload.capacity === 0 || !isReachable(workload, client)) continue
    const own = workload.services.get(service.key)?.get(port) ?? 0
    const target = own !== 0 ? own : (servicePort ?? 0)
    if (target !== 0) usable.push({ workload, port: target })
    else if (waypoint === true && workload.applicationTunnel !== undefined) {
      usable.push({ workload, port })
    }
  }
  return usable
}

function isReachable(workload: Workload, client: Workload): boolean {
  if (workload.addresses.length > 0 || workload.hostname !== '') return true
  return workload.network !== client.network && workload.networkGateway !== undefined
}

function byLocality(
  endpoints: readonly Endpoint[],
  client: Workload,
  preferences: readonly LocalityScope[],
  mode: NonNullable<Service['loadBalancing']>['mode'],
): readonly Endpoint[] {
  if (mode === 'strict') {
    return endpoints.filter(({ workload }) =>
      preferences.every((scope) => isSame(scope, workload, client)),
    )
  }
  if (mode !== 'failover') return endpoints
  let best: Endpoint[] = []
  let bestRank = -1
  for (const endpoint of endpoints) {
    const rank = localityRank(endpoint.workload, client, preferences)
    if (rank > bestRank) {
      best = []
      bestRank = rank
    }
    if (rank === bestRank) best.push(endpoint)
  }
  return best
}

/**
 * Leading scopes that agree. A first scope of NETWORK weighs more than all others together, and its
 * mismatch does not end the count: remote endpoints are ranked among themselves, below local ones.
 */
export function localityRank(
  workload: Workload,
  client: Workload,
  preferences: readonly LocalityScope[],
): number {
  let rank = 0
  for (const [index, scope] of preferences.entries()) {
    if (isSame(scope, workload, client)) {
      rank += index === 0 && scope === 'network' ? preferences.length : 1
    } else if (index > 0 || scope !== 'network') break
  }
  return rank
}

function isSame(scope: LocalityScope, a: Workload, b: Workload): boolean {
  switch (scope) {
    case 'network':
      return a.network === b.network
    case 'region':
      return a.locality.region === b.locality.region
    case 'zone':
      return a.locality.zone === b.locality.zone
    case 'subzone':
      return a.locality.subzone === b.locality.subzone
    case 'node':
      return a.node === b.node
    case 'cluster':
      return a.clusterId === b.clusterId
  }
}

function weighted(endpoints: readonly Endpoint[], random: () => number): Endpoint | undefined {
  let total = 0
  for (const { workload } of endpoints) total += workload.capacity
  let left = random() * total
  for (const endpoint of endpoints) {
    left -= endpoint.workload.capacity
    if (left < 0) return endpoint
  }
  return endpoints.at(-1)
}
