/** Updates by objects that make workloads and services. */
import { isDeepStrictEqual } from 'node:util'
import { touchRouteParents } from './apply-gateways.ts'
import type { Draft } from './draft.ts'
import { waypointOf } from './draft.ts'
import type {
  EndpointSlice,
  FixedBinding,
  MeshNode,
  Namespace,
  Service,
  ServiceEntry,
  Workload,
} from './types.ts'

/** Pods and WorkloadEntries: the object is the workload. */
export function applyWorkload(
  draft: Draft,
  _key: string,
  previous: Workload | undefined,
  next: Workload | undefined,
): void {
  const uid = next?.uid ?? previous?.uid
  if (uid !== undefined) draft.setWorkload(uid, next)
}

export function applyServiceEntry(
  draft: Draft,
  key: string,
  previous: ServiceEntry | undefined,
  next: ServiceEntry | undefined,
): void {
  const kept = new Set(next?.services.map(serviceKey))
  for (const service of previous?.services ?? []) {
    const name = serviceKey(service)
    if (!kept.has(name)) draft.setService(name, `ServiceEntry|${key}`, undefined)
  }
  for (const service of next?.services ?? []) {
    draft.setService(serviceKey(service), `ServiceEntry|${key}`, service)
  }
  const uids = new Set(next?.workloads.map((workload) => workload.uid))
  for (const workload of previous?.workloads ?? []) {
    if (!uids.has(workload.uid)) draft.setWorkload(workload.uid, undefined)
  }
  for (const workload of next?.workloads ?? []) draft.setWorkload(workload.uid, workload)
}

/** `<namespace>/<hostname>` */
export function serviceKey(service: Service): string {
  return `${service.namespace}/${service.hostname}`
}

export function applyService(
  draft: Draft,
  key: string,
  previous: Service | undefined,
  next: Service | undefined,
): void {
  for (const service of [previous, next]) {
    if (service !== undefined) {
      draft.setService(serviceKey(service), `Service|${key}`, next)
    }
  }
  for (const slice of draft.indexes.slices.get(key) ?? []) {
    const value = draft.objects.EndpointSlice.get(slice)
    if (value !== undefined)
      deriveSlice(draft, sliceWorkloadUids(draft, value, previous), value, next)
  }
  for (const route of draft.reverse.routesByBackend.get(key)) touchRouteParents(draft, route)
}

export function applyEndpointSlice(
  draft: Draft,
  key: string,
  previous: EndpointSlice | undefined,
  next: EndpointSlice | undefined,
): void {
  draft.moveIndex('slices', key, serviceOfSlice(previous), serviceOfSlice(next))
  draft.reverse.slicesByNode.move(key, nodesOfSlice(previous), nodesOfSlice(next))
  for (const slice of [previous, next]) if (slice !== undefined) touchSliceEndpoints(draft, slice)
  const serviceOf = (slice: EndpointSlice | undefined): Service | undefined =>
    slice === undefined
      ? undefined
      : draft.objects.Service.get(`${slice.namespace}/${slice.service}`)
  const old = previous === undefined ? [] : sliceWorkloadUids(draft, previous, serviceOf(previous))
  deriveSlice(draft, old, next, serviceOf(next))
}

function serviceOfSlice(slice: EndpointSlice | undefined): string[] {
  return slice === undefined || slice.service === '' ? [] : [`${slice.namespace}/${slice.service}`]
}

function nodesOfSlice(slice: EndpointSlice | undefined): string[] {
  const nodes = new Set(slice?.endpoints.map((endpoint) => endpoint.node))
  nodes.delete('')
  return [...nodes]
}

function touchSliceEndpoints(draft: Draft, slice: EndpointSlice): void {
  const service = draft.objects.Service.get(`${slice.namespace}/${slice.service}`)
  if (service !== undefined) draft.touched.endpoints.add(serviceKey(service))
}

/** UIDs that a slice has given workloads under; those that are no workloads now do no harm. */
function sliceWorkloadUids(
  draft: Draft,
  slice: EndpointSlice,
  service: Service | undefined,
): string[] {
  if (service === undefined || service.selector !== undefined) return []
  return slice.endpoints.flatMap((endpoint) =>
    endpoint.addresses.map((address) => sliceUid(draft.settings.clusterId, slice, address)),
  )
}

function sliceUid(cluster: string, slice: EndpointSlice, address: string): string {
  return `${cluster}/discovery.k8s.io/EndpointSlice/${slice.namespace}/${slice.name}/${address}`
}

/** Workloads for the addresses of a Service without selector, in place of those with `oldUids`. */
function deriveSlice(
  draft: Draft,
  oldUids: readonly string[],
  slice: EndpointSlice | undefined,
  service: Service | undefined,
): void {
  const workloads = new Map<string, Workload>()
  if (slice !== undefined && service !== undefined && service.selector === undefined) {
    const binding = sliceBinding(slice, service)
    for (const endpoint of slice.endpoints) {
      if (endpoint.pod !== '') continue
      for (const address of endpoint.addresses) {
        const uid = sliceUid(draft.settings.clusterId, slice, address)
        workloads.set(uid, sliceWorkload(uid, slice, address, endpoint.ready, binding))
      }
    }
  }
  for (const uid of oldUids) if (!workloads.has(uid)) draft.setWorkload(uid, undefined)
  for (const [uid, workload] of workloads) draft.setWorkload(uid, workload)
}

function sliceBinding(slice: EndpointSlice, service: Service): FixedBinding {
  const ports: { servicePort: number; targetPort: number }[] = []
  for (const port of service.ports) {
    const target = slice.ports.find(
      (candidate) => candidate.protocol === 'TCP' && candidate.name === port.name,
    )
    if (target !== undefined) ports.push({ servicePort: port.port, targetPort: target.port })
  }
  return { service: serviceKey(service), ports }
}

function sliceWorkload(
  uid: string,
  slice: EndpointSlice,
  address: string,
  ready: boolean,
  binding: FixedBinding,
): Workload {
  return {
    uid,
    source: 'EndpointSlice',
    name: slice.name,
    namespace: slice.namespace,
    labels: {},
    addresses: [address],
    hostname: '',
    network: undefined,
    serviceAccount: '',
    node: '',
    locality: undefined,
    workloadName: '',
    canonicalName: '',
    canonicalRevision: '',
    ready,
    external: false,
    hostNetwork: true,
    tunnel: 'none',
    ports: [],
    weight: undefined,
    waypoint: undefined,
    bindings: [binding],
  }
}

export function applyNode(
  draft: Draft,
  key: string,
  _previous: MeshNode | undefined,
  _next: MeshNode | undefined,
): void {
  for (const uid of draft.reverse.workloadsByNode.get(key)) draft.touched.workloads.add(uid)
  for (const slice of draft.reverse.slicesByNode.get(key)) {
    const value = draft.objects.EndpointSlice.get(slice)
    if (value !== undefined) touchSliceEndpoints(draft, value)
  }
}

export function applyNamespace(
  draft: Draft,
  key: string,
  previous: Namespace | undefined,
  next: Namespace | undefined,
): void {
  const { reverse, touched } = draft
  touched.namespaces.add(key)
  const choice = (value: Namespace | undefined): string[] =>
    waypointOf(
      value === undefined ? undefined : { namespace: value.name, waypoint: value.waypoint },
    )
  reverse.waypointUsers.move(`n|${key}`, choice(previous), choice(next))
  if (key === draft.settings.systemNamespace && previous?.network !== next?.network) {
    for (const uid of draft.workloads.keys()) touched.workloads.add(uid)
    for (const service of draft.services.keys()) touched.services.add(service)
  } else if (inherited(previous) !== inherited(next) || admittedByLabel(draft, previous, next)) {
    for (const uid of reverse.workloadsByNamespace.get(key)) touched.workloads.add(uid)
    for (const service of reverse.servicesByNamespace.get(key)) touched.services.add(service)
  }
  for (const gateway of reverse.gatewaysBySelector) touched.gateways.add(gateway)
}

/** The fields that services and workloads inherit, as one comparable text. */
function inherited(namespace: Namespace | undefined): string {
  return JSON.stringify([
    namespace?.waypoint?.name,
    namespace?.waypoint?.namespace,
    namespace?.distribution,
    namespace?.ingressUseWaypoint,
  ])
}

/** Whether a waypoint somewhere may admit the namespace's objects by labels that changed. */
function admittedByLabel(
  draft: Draft,
  previous: Namespace | undefined,
  next: Namespace | undefined,
): boolean {
  return (
    draft.reverse.gatewaysBySelector.size > 0 && !isDeepStrictEqual(previous?.labels, next?.labels)
  )
}
