/** What several kinds read the same way: creation time, waypoint labels, ports, localities. */
import type { ObjectMeta } from '../kube/index.ts'
import type {
  Labels,
  Locality,
  TrafficDistribution,
  WaypointCanary,
  WaypointChoice,
} from '../model/index.ts'

/** Milliseconds; 0 (the oldest) when a file gives no time, so that files need none. */
export function createdAt(metadata: ObjectMeta): number {
  const time = Date.parse(metadata.creationTimestamp ?? '')
  return Number.isNaN(time) ? 0 : time
}

/** Files need no namespace; Kubernetes then uses `default`. */
export function namespaceOf(metadata: ObjectMeta): string {
  return metadata.namespace ?? 'default'
}

export function objectKey(metadata: ObjectMeta): string {
  return `${namespaceOf(metadata)}/${metadata.name}`
}

export function waypointOf(labels: Labels | undefined): WaypointChoice | undefined {
  const name = labels?.['istio.io/use-waypoint']
  if (name === undefined || name === '') return undefined
  return { name, namespace: labels?.['istio.io/use-waypoint-namespace'] }
}

/** The second waypoint of a service and its share, from labels and an annotation. */
export function waypointCanaryOf(metadata: ObjectMeta): WaypointCanary | undefined {
  const { labels, annotations } = metadata
  const name = labels?.['istio.io/use-waypoint-canary']
  if (name === undefined || name === '') return undefined
  const text = annotations?.['istio.io/use-waypoint-canary-weight'] ?? ''
  const weight = Number(text)
  return {
    name,
    namespace: labels?.['istio.io/use-waypoint-canary-namespace'],
    weight: /^\d{1,3}$/.test(text) && weight <= 100 ? weight : undefined,
  }
}

export function ingressUseWaypointOf(labels: Labels | undefined): boolean | undefined {
  const value = labels?.['istio.io/ingress-use-waypoint']
  return value === undefined ? undefined : value === 'true'
}

/** Undefined: nothing said. `any` is a value that takes back what the namespace says. */
export function distributionOf(value: string | undefined): TrafficDistribution | undefined {
  if (value === undefined || value === '') return undefined
  if (value === 'PreferClose' || value === 'PreferSameZone') return 'prefer-zone'
  return value === 'PreferSameNode' ? 'prefer-node' : 'any'
}

/** `region/zone/subzone`, as in the label `istio-locality` (there with dots) and in entries. */
export function parseLocality(text: string | undefined): Locality | undefined {
  if (text === undefined || text === '') return undefined
  const [region = '', zone = '', subzone = ''] = text.split(text.includes('/') ? '/' : '.')
  return { region, zone, subzone }
}

/** The locality that a pod's or entry's own labels give it, before that of its node. */
export function labelledLocality(labels: Labels): Locality | undefined {
  return parseLocality(labels['istio-locality'] ?? labels['topology.istio.io/locality'])
}

/** The names that telemetry groups by: explicit label, recommended Kubernetes label, `app`, name. */
export function canonicalNames(
  labels: Labels,
  workloadName: string,
): { readonly canonicalName: string; readonly canonicalRevision: string } {
  return {
    canonicalName:
      labels['service.istio.io/canonical-name'] ??
      labels['app.kubernetes.io/name'] ??
      labels.app ??
      workloadName,
    canonicalRevision:
      labels['service.istio.io/canonical-revision'] ??
      labels['app.kubernetes.io/version'] ??
      labels.version ??
      'latest',
  }
}

/** Only text values survive: files may hold numbers where labels must be strings. */
export function textMap(value: unknown): Record<string, string> {
  const result: Record<string, string> = {}
  if (typeof value !== 'object' || value === null) return result
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'string') result[key] = item
  }
  return result
}
