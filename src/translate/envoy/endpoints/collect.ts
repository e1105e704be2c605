/** The addresses behind a service port, from slices, pods, WorkloadEntries and ServiceEntries. */
import {
  type Labels,
  type Locality,
  type Service,
  type ServicePort,
  selects,
  type Workload,
} from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import { compareText } from '../values.ts'

export interface Endpoint {
  /** An IP address; a host name for services that are resolved by DNS; or `unix://<path>`. */
  readonly address: string
  readonly port: number
  readonly locality: Locality | undefined
  readonly weight: number
  readonly labels: Labels
  /** Empty: the mesh's own. */
  readonly network: string
  readonly node: string
  readonly workload: Workload | undefined
}

/** Ready endpoints, each once, in a stable order. */
export function endpointsOf(reader: Reader, service: Service, port: ServicePort): Endpoint[] {
  const found = new Map<string, Endpoint>()
  const add = (endpoint: Endpoint): void => {
    const key = `${endpoint.network}|${endpoint.address}|${endpoint.port}`
    if (!found.has(key)) found.set(key, endpoint)
  }
  if (service.resolution === 'alias') add(aliased(service, port))
  else if (service.source === 'Service')
    for (const one of fromSlices(reader, service, port)) add(one)
  for (const one of fromWorkloads(reader, service, port)) add(one)
  return [...found].toSorted(([left], [right]) => compareText(left, right)).map(([, one]) => one)
}

/** An ExternalName that the mesh does not know: whatever DNS says. */
function aliased({ externalName }: Service, { port }: ServicePort): Endpoint {
  return {
    address: externalName,
    port,
    locality: undefined,
    weight: 1,
    labels: {},
    network: '',
    node: '',
    workload: undefined,
  }
}

function* fromSlices(reader: Reader, service: Service, port: ServicePort): Iterable<Endpoint> {
  const { clusterId } = reader.settings
  for (const slice of reader.slices(service)) {
    const target = slice.ports.find(
      (candidate) => candidate.name === port.name && candidate.protocol === port.protocol,
    )
    if (target === undefined) continue
    for (const endpoint of slice.endpoints) {
      if (!endpoint.ready && !service.publishNotReady) continue
      const workload =
        endpoint.pod === ''
          ? undefined
          : reader.workload(`${clusterId}//Pod/${slice.namespace}/${endpoint.pod}`)
      const locality =
        (workload === undefined ? undefined : reader.locality(workload)) ??
        reader.nodeLocality(endpoint.node) ??
        (endpoint.zone === '' ? undefined : { region: '', zone: endpoint.zone, subzone: '' })
      for (const address of endpoint.addresses) {
        yield {
          address,
          port: target.port,
          locality,
          weight: 1,
          labels: workload?.labels ?? {},
          network: workload?.network ?? '',
          node: endpoint.node,
          workload,
        }
      }
    }
  }
}

/** WorkloadEntries that a Service selects; endpoints and selected workloads of a ServiceEntry. */
function* fromWorkloads(reader: Reader, service: Service, port: ServicePort): Iterable<Endpoint> {
  const key = `${service.namespace}/${service.hostname}`
  for (const workload of reader.workloadsOf(service)) {
    if (service.source === 'Service' && workload.source !== 'WorkloadEntry') continue
    if (!workload.ready && !service.publishNotReady) continue
    const target = targetPort(workload, key, service, port)
    if (target === undefined) continue
    const addresses = workload.hostname === '' ? workload.addresses : [workload.hostname]
    for (const address of addresses) {
      yield {
        address,
        port: target,
        locality: reader.locality(workload),
        weight: workload.weight ?? 1,
        labels: workload.labels,
        network: workload.network ?? '',
        node: workload.node,
        workload,
      }
    }
  }
}

/** The port fixed for a derived workload; else the workload's port of that name or number. */
function targetPort(
  workload: Workload,
  key: string,
  service: Service,
  port: ServicePort,
): number | undefined {
  const binding = workload.bindings.find((candidate) => candidate.service === key)
  if (binding !== undefined) {
    return binding.ports.find(({ servicePort }) => servicePort === port.port)?.targetPort
  }
  if (service.selector !== undefined && !selects(service.selector, workload.labels))
    return undefined
  if (workload.source === 'WorkloadEntry') {
    const named = workload.ports.find(({ name }) => name === port.name)
    if (named !== undefined) return named.port
  }
  if (typeof port.targetPort === 'number') return port.targetPort
  return workload.ports.find(({ name }) => name === port.targetPort)?.port
}
