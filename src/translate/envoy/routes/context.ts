/** For whom routes are made, and how destinations become clusters there. */
import type { ConsistentHash, Destination, Service } from '../../../model/index.ts'
import { type ClusterRef, outboundRef } from '../clusters/names.ts'
import { planCluster } from '../clusters/policy.ts'
import { expandHost } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'

export interface RouteContext {
  readonly scope: Scope
  /** The port requests come to. */
  readonly port: number
  /** `mesh`, or the Istio Gateway `<namespace>/<name>` whose servers these are. */
  readonly gateway: string
  /** Waypoints have clusters of their own for the services they serve. */
  readonly refOf?: (service: Service, port: number, subset: string) => ClusterRef | undefined
}

/** The cluster of a destination as VirtualServices write it; it need not exist. */
export function destinationRef(
  context: RouteContext,
  destination: Destination | undefined,
  namespace: string,
): ClusterRef {
  const { scope, port: listenerPort } = context
  const { host = '', subset = '' } = destination ?? {}
  const hostname = expandHost(host, namespace, scope.reader.settings.domain)
  const service = concrete(scope, scope.serviceOf(hostname))
  const port = destination?.port?.number ?? onlyPort(service) ?? listenerPort
  if (service === undefined) return outboundRef({ namespace: '', hostname }, port, subset)
  return serviceRef(context, service, port, subset)
}

export function serviceRef(
  context: RouteContext,
  service: Service,
  port: number,
  subset = '',
): ClusterRef {
  return context.refOf?.(service, port, subset) ?? outboundRef(service, port, subset)
}

/** An ExternalName Service is another name of the service it points at, if the mesh knows that. */
export function concrete(scope: Scope, service: Service | undefined): Service | undefined {
  if (service?.resolution !== 'alias') return service
  return scope.serviceOf(service.externalName) ?? service
}

function onlyPort(service: Service | undefined): number | undefined {
  const [first, second] = service?.ports ?? []
  return second === undefined ? first?.port : undefined
}

/** How the cluster's rule keeps a client at one endpoint. */
export function hashOf(scope: Scope, ref: ClusterRef): ConsistentHash | undefined {
  return planCluster(scope, ref)?.policy.loadBalancer?.consistentHash
}
