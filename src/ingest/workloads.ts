/** Pods, WorkloadEntries and nodes into the model's values. */
import { parseIp } from '../base/index.ts'
import type { KubeObject, ObjectMeta } from '../kube/index.ts'
import type {
  FixedBinding,
  MeshNode,
  MeshSettings,
  NamedPort,
  Workload,
  WorkloadSource,
} from '../model/index.ts'
import {
  canonicalNames,
  labelledLocality,
  namespaceOf,
  parseLocality,
  textMap,
  waypointOf,
} from './metadata.ts'
import type { ContainerShape, EntryShape, PodShape } from './shapes.ts'

const redirection = 'ambient.istio.io/redirection'
const tunnelLabel = 'networking.istio.io/tunnel'

/** Undefined for pods that are no workload: no address yet, or finished. */
export function workloadOfPod(object: KubeObject, settings: MeshSettings): Workload | undefined {
  // Read defensively below; see shapes.ts.
  const { spec, status } = object as PodShape
  const { metadata } = object
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return undefined
  const addresses = addressesOf(status)
  if (addresses.length === 0) return undefined
  const labels = textMap(metadata.labels)
  const namespace = namespaceOf(metadata)
  const workloadName = controllerName(metadata)
  const ready = status?.conditions?.some((item) => item.type === 'Ready' && item.status === 'True')
  return {
    uid: `${settings.clusterId}//Pod/${namespace}/${metadata.name}`,
    source: 'Pod',
    name: metadata.name,
    namespace,
    labels,
    addresses,
    hostname: '',
    network: undefined,
    serviceAccount: spec?.serviceAccountName ?? 'default',
    node: spec?.nodeName ?? '',
    locality: labelledLocality(labels),
    workloadName,
    ...canonicalNames(labels, workloadName),
    ready: ready === true && metadata.deletionTimestamp === undefined,
    external: false,
    hostNetwork: spec?.hostNetwork === true,
    tunnel: tunnelOf(metadata),
    ports: podPorts(spec),
    weight: undefined,
    waypoint: waypointOf(labels),
    bindings: [],
  }
}

function addressesOf(status: PodShape['status']): string[] {
  const listed = (status?.podIPs ?? []).map((entry) => entry.ip)
  const all = listed.length > 0 ? listed : [status?.podIP]
  return all.filter((ip): ip is string => ip !== undefined && parseIp(ip) !== undefined)
}

function tunnelOf(metadata: ObjectMeta): Workload['tunnel'] {
  if (metadata.annotations?.[redirection] === 'enabled') return 'hbone'
  const own = metadata.labels?.[tunnelLabel]?.split(',').map((item) => item.trim())
  return own?.includes('http') === true ? 'native' : 'none'
}

/** Native sidecars' ports count as well as those of the containers proper. */
function podPorts(spec: PodShape['spec']): NamedPort[] {
  const sidecars = (spec?.initContainers ?? []).filter((item) => item.restartPolicy === 'Always')
  const containers: ContainerShape[] = [...(spec?.containers ?? []), ...sidecars]
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) =>
      port.name === undefined || port.containerPort === undefined
        ? []
        : [{ name: port.name, port: port.containerPort, protocol: port.protocol ?? 'TCP' }],
    ),
  )
}

/** The name people know the workload by: the Deployment, not its ReplicaSet; the CronJob, not its Job. */
function controllerName(metadata: ObjectMeta): string {
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true)
  if (owner === undefined) return metadata.name
  const hash = metadata.labels?.['pod-template-hash']
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return owner.name.slice(0, -hash.length - 1)
  }
  return owner.kind === 'Job' ? owner.name.replace(/-\d{8,}$/, '') : owner.name
}

export interface EntryIdentity {
  readonly uid: string
  readonly source: WorkloadSource
  readonly name: string
  readonly namespace: string
  readonly bindings: readonly FixedBinding[]
  /** Labels of the entry's object, under those of the entry itself. */
  readonly labels: Readonly<Record<string, string>>
  /** Default: yes. */
  readonly ready?: boolean
  /** Default: part of the mesh. */
  readonly external?: boolean
}

/** A WorkloadEntry or an inline endpoint. Its address may be a name, resolved on demand. */
export function workloadOfEntry(entry: EntryShape, identity: EntryIdentity): Workload {
  const labels = { ...identity.labels, ...textMap(entry.labels) }
  const address = entry.address ?? ''
  const isIp = parseIp(address) !== undefined
  return {
    uid: identity.uid,
    source: identity.source,
    name: identity.name,
    namespace: identity.namespace,
    labels,
    addresses: isIp ? [address] : [],
    hostname: isIp ? '' : address,
    network: entry.network ?? labels['topology.istio.io/network'],
    serviceAccount: entry.serviceAccount ?? '',
    node: '',
    locality: labelledLocality(labels) ?? parseLocality(entry.locality),
    workloadName: identity.name,
    ...canonicalNames(labels, identity.name),
    ready: identity.ready ?? true,
    external: identity.external ?? false,
    hostNetwork: false,
    tunnel: labels[tunnelLabel]?.split(',').includes('http') === true ? 'native' : 'none',
    ports: Object.entries(entry.ports ?? {}).map(([name, port]) => ({
      name,
      port,
      protocol: 'TCP',
    })),
    weight: entry.weight,
    waypoint: waypointOf(labels),
    bindings: identity.bindings,
  }
}

export function workloadOfWorkloadEntry(object: KubeObject, settings: MeshSettings): Workload {
  const namespace = namespaceOf(object.metadata)
  const { name } = object.metadata
  // Read defensively; see shapes.ts.
  return workloadOfEntry((object.spec ?? {}) as EntryShape, {
    uid: `${settings.clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`,
    source: 'WorkloadEntry',
    name,
    namespace,
    bindings: [],
    labels: textMap(object.metadata.labels),
    ready: isHealthy(object),
  })
}

/** Entries whose agents report health have it as a condition; the others are taken to be well. */
function isHealthy(object: KubeObject): boolean {
  if (object.metadata.annotations?.['proxy.istio.io/health-checks-enabled'] !== 'true') return true
  const { conditions = [] } = (object.status ?? {}) as NonNullable<PodShape['status']>
  return conditions.some((item) => item.type === 'Healthy' && item.status === 'True')
}

export function meshNode(object: KubeObject): MeshNode {
  const labels = textMap(object.metadata.labels)
  return {
    name: object.metadata.name,
    locality: {
      region: labels['topology.kubernetes.io/region'] ?? '',
      zone: labels['topology.kubernetes.io/zone'] ?? '',
      subzone: labels['topology.istio.io/subzone'] ?? '',
    },
  }
}
