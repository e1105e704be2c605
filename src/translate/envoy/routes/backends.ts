/** Backend references of Gateway API → services, with the reasons why one can't be used. */
import type { ObjectReferenceSpec, Service, ServicePort } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'

export type BackendProblem = 'InvalidKind' | 'RefNotPermitted' | 'BackendNotFound'

export type ResolvedBackend =
  | { readonly service: Service; readonly port: ServicePort; readonly problem?: undefined }
  | { readonly problem: BackendProblem; readonly message: string }

/** Who refers: its kind and namespace decide whether a grant is needed. */
export interface Referrer {
  readonly kind: string
  readonly namespace: string
}

const istioGroup = 'networking.istio.io'

/** A Kubernetes Service, a ServiceEntry by its name, or any service of the mesh by its host name. */
export function resolveBackend(
  reader: Reader,
  from: Referrer,
  backend: ObjectReferenceSpec,
): ResolvedBackend {
  const { group = '', kind = 'Service', name = '' } = backend
  const namespace = backend.namespace ?? from.namespace
  const target = `${kind} ${namespace}/${name}`
  const isHostname = group === istioGroup && kind === 'Hostname'
  const isKnown =
    (group === '' && kind === 'Service') ||
    isHostname ||
    (group === istioGroup && kind === 'ServiceEntry')
  if (!isKnown) {
    const message = `backend kind ${group}/${kind} is not supported; use a Service`
    return { problem: 'InvalidKind', message }
  }
  // A host name belongs to no namespace; whoever sees the service may name it.
  if (!isHostname && namespace !== from.namespace && !granted(reader, from, backend, namespace)) {
    const message = `${target} is in another namespace and no ReferenceGrant there allows it`
    return { problem: 'RefNotPermitted', message }
  }
  const service = serviceOf(reader, from, { kind, namespace, name, isHostname })
  const port = service?.ports.find((candidate) => candidate.port === backend.port)
  if (service !== undefined && port !== undefined) return { service, port }
  const message =
    service === undefined
      ? `${target} not found`
      : `${target} has no port ${backend.port ?? '(none given)'}`
  return { problem: 'BackendNotFound', message }
}

function serviceOf(
  reader: Reader,
  from: Referrer,
  target: {
    readonly kind: string
    readonly namespace: string
    readonly name: string
    readonly isHostname: boolean
  },
): Service | undefined {
  const { kind, namespace, name, isHostname } = target
  if (isHostname) {
    const found = reader.servicesByHost(name)
    return found.find((service) => service.namespace === from.namespace) ?? found[0]
  }
  if (kind === 'Service') return reader.kubernetesService(namespace, name)
  return reader.serviceEntryHosts(namespace, name)[0]
}

function granted(
  reader: Reader,
  from: Referrer,
  backend: ObjectReferenceSpec,
  namespace: string,
): boolean {
  return reader.grants(namespace).some((grant) => {
    const fromHere = grant.from.some(
      (entry) =>
        entry.group === 'gateway.networking.k8s.io' &&
        entry.kind === from.kind &&
        entry.namespace === from.namespace,
    )
    const toThere = grant.to.some(
      (entry) =>
        entry.group === (backend.group ?? '') &&
        entry.kind === (backend.kind ?? 'Service') &&
        (entry.name === '' || entry.name === backend.name),
    )
    return fromHere && toThere
  })
}
