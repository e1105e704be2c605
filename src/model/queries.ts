/** The joins of a snapshot: which services, policies and localities belong to a workload. */
import { labelKey, selects } from './labels.ts'
import type { AuthorizationPolicy, PeerAuthentication } from './policy-types.ts'
import type { Snapshot } from './snapshot.ts'
import type { EndpointSlice, Locality, Service, SliceEndpoint, Workload } from './types.ts'

/** The mesh's network: a label of the system namespace; empty means the default network. */
export function networkOf(snapshot: Snapshot): string {
  return snapshot.objects.Namespace.get(snapshot.settings.systemNamespace)?.network ?? ''
}

/** Services that select a workload by its labels, ordered by key. */
export function selectingServices(snapshot: Snapshot, workload: Workload): Service[] {
  if (!isSelectable(workload)) return []
  const found = new Map<string, Service>()
  for (const label in workload.labels) {
    const index = labelKey(workload.namespace, label, workload.labels[label] ?? '')
    for (const key of snapshot.indexes.serviceSelectors.get(index) ?? []) {
      const service = snapshot.services.get(key)
      if (service?.selector === undefined) continue
      if (selects(service.selector, workload.labels)) found.set(key, service)
    }
  }
  return [...found]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([, service]) => service)
}

/** Inline endpoints and plain addresses belong to their service and no other. */
export function isSelectable(workload: Workload): boolean {
  return workload.source === 'Pod' || workload.source === 'WorkloadEntry'
}

/** Workloads that a service's selector picks and that no EndpointSlice tells of, ordered by UID. */
export function selectingWorkloads(snapshot: Snapshot, service: Service): Workload[] {
  const keys = snapshot.indexes.selectedWorkloads.get(`${service.namespace}/${service.hostname}`)
  return (keys ?? []).flatMap((uid) => snapshot.workloads.get(uid) ?? [])
}

/** The pod that an endpoint of a slice stands for; it has the labels and the identity. */
export function podOf(
  snapshot: Snapshot,
  slice: EndpointSlice,
  endpoint: SliceEndpoint,
): Workload | undefined {
  if (endpoint.pod === '') return undefined
  return snapshot.objects.Pod.get(`${slice.namespace}/${endpoint.pod}`)
}

/** Selector policies of the workload's namespace and of the root namespace, ordered by key. */
export function selectorPoliciesOf(snapshot: Snapshot, workload: Workload): AuthorizationPolicy[] {
  const { rootNamespace } = snapshot.settings
  const namespaces = new Set([workload.namespace, rootNamespace])
  const keys = [...namespaces].flatMap((name) => snapshot.indexes.selectorPolicies.get(name) ?? [])
  const policies: AuthorizationPolicy[] = []
  for (const key of keys.toSorted()) {
    const policy = snapshot.objects.AuthorizationPolicy.get(key)
    if (policy?.selector !== undefined && selects(policy.selector, workload.labels)) {
      policies.push(policy)
    }
  }
  return policies
}

export function peerAuthenticationsOf(snapshot: Snapshot, namespace: string): PeerAuthentication[] {
  const keys = snapshot.indexes.peerAuthentications.get(namespace) ?? []
  return keys.flatMap((key) => snapshot.objects.PeerAuthentication.get(key) ?? [])
}

export function localityOf(snapshot: Snapshot, workload: Workload): Locality | undefined {
  return workload.locality ?? snapshot.objects.Node.get(workload.node)?.locality
}

/** The slices of a Kubernetes Service, ordered by key. */
export function slicesOf(snapshot: Snapshot, service: Service): EndpointSlice[] {
  const keys = snapshot.indexes.slices.get(`${service.namespace}/${service.name}`) ?? []
  return keys.flatMap((key) => snapshot.objects.EndpointSlice.get(key) ?? [])
}
