/**
 * Endpoints into groups of one locality and one priority. A proxy uses priority 0 while enough of its
 * endpoints are healthy, then 1, and so on; within a priority, localities share by weight.
 */
import type {
  LoadBalancerSettings,
  Locality,
  LocalityLoadBalancer,
  MeshConfig,
  TrafficDistribution,
} from '../../../model/index.ts'
import type { ProxyView } from '../proxy.ts'
import { compareText } from '../values.ts'
import type { Endpoint } from './collect.ts'

export interface LocalityGroup {
  readonly locality: Locality | undefined
  readonly priority: number
  readonly weight: number
  readonly endpoints: readonly Endpoint[]
}

/** How a cluster treats distance. */
export interface LocalityPolicy {
  readonly setting: LocalityLoadBalancer | undefined
  /** Failover needs a way to notice failure (outlier detection), or an explicit wish to stay near. */
  readonly failover: boolean
  /** Zones share by capacity instead of being ordered by distance. */
  readonly zoneAware: { readonly minClusterSize: number | undefined } | undefined
}

const network = 'topology.istio.io/network'
const region = 'topology.kubernetes.io/region'
const zone = 'topology.kubernetes.io/zone'
const subzone = 'topology.istio.io/subzone'
const hostname = 'kubernetes.io/hostname'
const cluster = 'topology.istio.io/cluster'

const near: Readonly<Record<Exclude<TrafficDistribution, 'any'>, readonly string[]>> = {
  'prefer-zone': [network, region, zone],
  'prefer-node': [network, region, zone, subzone, hostname],
}

/** In this order: the rule's zone-aware setting, its locality setting, the Service's wish, the mesh. */
export function localityPolicy(
  settings: LoadBalancerSettings | undefined,
  distribution: TrafficDistribution,
  mesh: Pick<MeshConfig, 'localityLbSetting' | 'zoneAwareLbSetting'>,
  outlierDetection: boolean,
): LocalityPolicy {
  const off: LocalityPolicy = { setting: undefined, failover: false, zoneAware: undefined }
  const own = settings?.zoneAwareLbSetting
  if (own !== undefined) {
    if (own.enabled === false) return off
    const { minClusterSize } = own
    return { setting: own, failover: outlierDetection, zoneAware: { minClusterSize } }
  }
  const setting = settings?.localityLbSetting
  if (setting !== undefined) {
    if (setting.enabled === false) return off
    return { setting, failover: outlierDetection, zoneAware: undefined }
  }
  if (distribution !== 'any') {
    return {
      setting: { failoverPriority: near[distribution] },
      failover: true,
      zoneAware: undefined,
    }
  }
  const zoneAware = mesh.zoneAwareLbSetting
  if (zoneAware?.enabled === true) {
    const { minClusterSize } = zoneAware
    return { setting: zoneAware, failover: outlierDetection, zoneAware: { minClusterSize } }
  }
  if (mesh.localityLbSetting.enabled === false) return off
  return { setting: mesh.localityLbSetting, failover: outlierDetection, zoneAware: undefined }
}

export function groupEndpoints(
  endpoints: readonly Endpoint[],
  view: ProxyView,
  policy: LocalityPolicy,
): LocalityGroup[] {
  const { setting, failover } = policy
  if (setting === undefined) return grouped(endpoints, () => 0)
  const distribute = setting.distribute ?? []
  if (distribute.length > 0)
    return distributed(
      grouped(endpoints, () => 0),
      view,
      distribute,
    )
  if (!failover) return grouped(endpoints, () => 0)
  const labels = setting.failoverPriority ?? []
  if (labels.length > 0) {
    return compressed(grouped(endpoints, (endpoint) => byLabels(endpoint, view, labels)))
  }
  if (view.locality === undefined) return grouped(endpoints, () => 0)
  const here = view.locality
  return compressed(
    grouped(endpoints, ({ locality }) => {
      const distance = distanceOf(here, locality, policy.zoneAware !== undefined)
      if (distance < 3) return distance
      const target = setting.failover?.find(({ from }) => from === here.region)?.to
      return target === undefined || target === locality?.region ? 3 : 4
    }),
  )
}

function grouped(
  endpoints: readonly Endpoint[],
  priorityOf: (endpoint: Endpoint) => number,
): LocalityGroup[] {
  const groups = new Map<string, { priority: number; endpoints: Endpoint[] }>()
  for (const endpoint of endpoints) {
    const priority = priorityOf(endpoint)
    const key = `${localityText(endpoint.locality)}|${priority}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { priority, endpoints: [endpoint] })
    else group.endpoints.push(endpoint)
  }
  return [...groups]
    .toSorted(
      ([left, one], [right, two]) => one.priority - two.priority || compareText(left, right),
    )
    .map(([, group]) => ({
      locality: group.endpoints[0]?.locality,
      priority: group.priority,
      weight: group.endpoints.reduce((sum, { weight }) => sum + weight, 0),
      endpoints: group.endpoints,
    }))
}

export function localityText(locality: Locality | undefined): string {
  if (locality === undefined) return ''
  return `${locality.region}/${locality.zone}/${locality.subzone}`
}

/** Priorities must have no gaps. */
function compressed(groups: readonly LocalityGroup[]): LocalityGroup[] {
  const levels = [...new Set(groups.map(({ priority }) => priority))].toSorted((a, b) => a - b)
  return groups.map((group) => ({ ...group, priority: levels.indexOf(group.priority) }))
}

/** 0 the same place, 1 the same zone, 2 the same region, 3 elsewhere. */
function distanceOf(here: Locality, there: Locality | undefined, zones: boolean): number {
  if (here.region !== (there?.region ?? '')) return 3
  if (zones) return 0
  if (here.zone !== there?.zone) return 2
  return here.subzone === there.subzone ? 0 : 1
}

/** How many of the labels, counted from the end, are beyond the first that differs. */
function byLabels(endpoint: Endpoint, view: ProxyView, labels: readonly string[]): number {
  for (const [index, entry] of labels.entries()) {
    const equals = entry.indexOf('=')
    const label = equals < 0 ? entry : entry.slice(0, equals)
    const wanted = equals < 0 ? viewLabel(view, label) : entry.slice(equals + 1)
    if ((endpointLabel(endpoint, label) ?? '') !== (wanted ?? '')) return labels.length - index
  }
  return 0
}

function viewLabel(view: ProxyView, label: string): string | undefined {
  return (
    placeLabel(label, view.locality, view.network, view.node, view.clusterId) ?? view.labels[label]
  )
}

function endpointLabel(endpoint: Endpoint, label: string): string | undefined {
  const { locality, network: own, node, labels, workload } = endpoint
  const place = placeLabel(label, locality, own, node, workload?.uid.split('/')[0] ?? '')
  return place ?? labels[label]
}

function placeLabel(
  label: string,
  locality: Locality | undefined,
  networkName: string,
  node: string,
  clusterId: string,
): string | undefined {
  if (label === network) return networkName
  if (label === region) return locality?.region ?? ''
  if (label === zone) return locality?.zone ?? ''
  if (label === subzone) return locality?.subzone ?? ''
  if (label === hostname) return node
  return label === cluster ? clusterId : undefined
}

/** The shares that the setting for our own locality gives; localities it does not name get nothing. */
function distributed(
  groups: readonly LocalityGroup[],
  view: ProxyView,
  distribute: NonNullable<LocalityLoadBalancer['distribute']>,
): LocalityGroup[] {
  if (view.locality === undefined) return [...groups]
  const here = view.locality
  const setting = distribute.find(({ from = '' }) => matchesLocality(here, from))
  if (setting === undefined) return [...groups]
  const shares = Object.entries(setting.to ?? {})
  const patternOf = (group: LocalityGroup): string | undefined =>
    shares
      .map(([pattern]) => pattern)
      .filter((pattern) => matchesLocality(group.locality, pattern))
      .toSorted((left, right) => specificity(right) - specificity(left))[0]
  return shares.flatMap(([pattern, share]) => {
    const members = groups.filter((group) => patternOf(group) === pattern)
    const total = members.reduce((sum, { weight }) => sum + weight, 0)
    if (total === 0 || share === 0) return []
    return members.map((group) => ({
      ...group,
      weight: Math.max(1, Math.ceil((share * group.weight) / total)),
    }))
  })
}

function specificity(pattern: string): number {
  return pattern.split('/').filter((part) => part !== '*').length
}

/** `*`, `region`, `region/zone`, `region/zone/*` or all three parts. */
function matchesLocality(locality: Locality | undefined, pattern: string): boolean {
  const parts = [locality?.region ?? '', locality?.zone ?? '', locality?.subzone ?? '']
  return pattern.split('/').every((part, index) => part === '*' || part === parts[index])
}
