/** Backend references → clusters, with the reasons why one can't be used. */
import {
  type BackendRef,
  type HttpRoute,
  type Service,
  type ServicePort,
  type Snapshot,
} from '../../model/index.ts'

export interface ClusterRef {
  readonly name: string
  /** `<namespace>/<hostname>` */
  readonly service: string
  readonly port: number
}

export type BackendProblem = 'InvalidKind' | 'RefNotPermitted' | 'BackendNotFound'

export type ResolvedBackend =
  | { readonly cluster: ClusterRef; readonly weight: number; readonly problem?: undefined }
  | { readonly problem: BackendProblem; readonly weight: number; readonly message: string }

/** The name Istio gives the cluster of a service port. */
export function clusterName(hostname: string, port: number): string {
  return `outbound|${port}||${hostname}`
}

export function resolveBackend(
  snapshot: Snapshot,
  route: HttpRoute,
  backend: BackendRef,
): ResolvedBackend {
  const { weight } = backend
  const target = `${backend.kind} ${backend.namespace}/${backend.name}`
  if (backend.group !== '' || backend.kind !== 'Service') {
    const message = `backend kind ${backend.group}/${backend.kind} is not supported; use a Service`
    return { problem: 'InvalidKind', weight, message }
  }
  if (backend.namespace !== route.namespace && !granted(snapshot, route, backend)) {
    const message = `${target} is in another namespace and no ReferenceGrant there allows it`
    return { problem: 'RefNotPermitted', weight, message }
  }
  const service = snapshot.objects.Service.get(`${backend.namespace}/${backend.name}`)
  const port = service?.ports.find((candidate) => candidate.port === backend.port)
  if (service === undefined || port === undefined) {
    const message =
      service === undefined
        ? `${target} not found`
        : `${target} has no port ${backend.port ?? '(none given)'}`
    return { problem: 'BackendNotFound', weight, message }
  }
  return { cluster: clusterRef(service, port), weight }
}

export function clusterRef(service: Service, port: ServicePort): ClusterRef {
  return {
    name: clusterName(service.hostname, port.port),
    service: `${service.namespace}/${service.hostname}`,
    port: port.port,
  }
}

function granted(snapshot: Snapshot, route: HttpRoute, backend: BackendRef): boolean {
  for (const key of snapshot.indexes.grants.get(backend.namespace) ?? []) {
    const grant = snapshot.objects.ReferenceGrant.get(key)
    const fromHere = grant?.from.some(
      (from) =>
        from.group === 'gateway.networking.k8s.io' &&
        from.kind === 'HTTPRoute' &&
        from.namespace === route.namespace,
    )
    const toThere = grant?.to.some(
      (to) =>
        to.group === backend.group &&
        to.kind === backend.kind &&
        (to.name === '' || to.name === backend.name),
    )
    if (fromHere === true && toThere === true) return true
  }
  return false
}
