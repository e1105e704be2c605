/**
 * The mesh as the control plane sees it: small, normalized, immutable values. They hold what the
 * translation needs and nothing else, so that a heartbeat or a status write of an object that
 * changes nothing here is recognised as no change at all.
 */

export type Labels = Readonly<Record<string, string>>

/** Fixed for the life of a control plane; network names come from the system namespace's label. */
export interface MeshSettings {
  readonly clusterId: string
  readonly trustDomain: string
  /** `cluster.local` */
  readonly domain: string
  /** The system namespace is also the root namespace for policies: `istio-system`. */
  readonly rootNamespace: string
}

export const defaultMeshSettings: MeshSettings = {
  clusterId: 'Kubernetes',
  trustDomain: 'cluster.local',
  domain: 'cluster.local',
  rootNamespace: 'istio-system',
}

/** Where an object came from: what provenance and messages print. */
export interface ObjectRef {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

export interface Locality {
  readonly region: string
  readonly zone: string
  readonly subzone: string
}

/** Which waypoint an object asks for by its labels. */
export interface WaypointChoice {
  /** `none` opts out and stops the inheritance from the namespace. */
  readonly name: string
  /** Undefined: the object's own namespace. */
  readonly namespace: string | undefined
}

export type WorkloadSource = 'Pod' | 'WorkloadEntry' | 'ServiceEntry' | 'EndpointSlice'

export interface NamedPort {
  readonly name: string
  readonly port: number
  readonly protocol: string
}

/** Ports of one service as a derived workload (ServiceEntry endpoint, EndpointSlice) serves them. */
export interface FixedBinding {
  /** `<namespace>/<hostname>` */
  readonly service: string
  readonly ports: readonly { readonly servicePort: number; readonly targetPort: number }[]
}

/** Anything that traffic can end at: a pod, a WorkloadEntry or an address of a service. */
export interface Workload {
  readonly uid: string
  readonly source: WorkloadSource
  readonly name: string
  readonly namespace: string
  readonly labels: Labels
  readonly addresses: readonly string[]
  /** Resolved on demand, when there is no address. */
  readonly hostname: string
  /** Overrides the mesh's network. */
  readonly network: string | undefined
  readonly serviceAccount: string
  readonly node: string
  /** Overrides the node's locality. */
  readonly locality: Locality | undefined
  readonly workloadName: string
  readonly canonicalName: string
  readonly canonicalRevision: string
  readonly ready: boolean
  readonly hostNetwork: boolean
  readonly tunnel: 'none' | 'hbone' | 'native'
  /** Container ports of pods, or the `ports` of an entry: what named target ports resolve to. */
  readonly ports: readonly NamedPort[]
  readonly weight: number | undefined
  readonly waypoint: WaypointChoice | undefined
  /** Workloads that were derived from one service belong to it whatever their labels. */
  readonly bindings: readonly FixedBinding[]
}

export type AppProtocol = 'unknown' | 'http' | 'http2' | 'grpc' | 'tcp' | 'tls'

export interface ServicePort {
  readonly name: string
  readonly port: number
  /** A string names a port of the workload. */
  readonly targetPort: number | string
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  readonly appProtocol: AppProtocol
}

export type Resolution = 'none' | 'static' | 'dns' | 'dns-round-robin'
export type TrafficDistribution = 'any' | 'prefer-zone' | 'prefer-node'

/** A Kubernetes Service or one host of a ServiceEntry. The key is `<namespace>/<hostname>`. */
export interface Service {
  readonly source: 'Service' | 'ServiceEntry'
  readonly name: string
  readonly namespace: string
  readonly hostname: string
  readonly createdAt: number
  /** Virtual IPs, or ranges in CIDR form; none for a headless service. */
  readonly addresses: readonly string[]
  readonly ports: readonly ServicePort[]
  /** Undefined: endpoints are given explicitly. */
  readonly selector: Labels | undefined
  readonly publishNotReady: boolean
  readonly internalTrafficLocal: boolean
  /** Undefined: the namespace decides. */
  readonly distribution: TrafficDistribution | undefined
  readonly ipFamilies: 'automatic' | 'ipv4' | 'ipv6' | 'dual'
  readonly resolution: Resolution
  readonly subjectAltNames: readonly string[]
  readonly visibility: 'public' | 'namespace'
  readonly waypoint: WaypointChoice | undefined
  readonly ingressUseWaypoint: boolean | undefined
  /** Services of waypoints never get a waypoint themselves. */
  readonly ofWaypoint: boolean
}

/** A ServiceEntry as the services and workloads it stands for. */
export interface ServiceEntry {
  readonly name: string
  readonly namespace: string
  readonly services: readonly Service[]
  readonly workloads: readonly Workload[]
}

export interface SliceEndpoint {
  readonly addresses: readonly string[]
  readonly ready: boolean
  readonly node: string
  readonly zone: string
  /** Name of the pod it points at; empty for a plain address. */
  readonly pod: string
}

export interface EndpointSlice {
  readonly name: string
  readonly namespace: string
  /** Name of the Service it belongs to; empty when it belongs to none. */
  readonly service: string
  readonly ports: readonly NamedPort[]
  readonly endpoints: readonly SliceEndpoint[]
}

export interface Namespace {
  readonly name: string
  readonly labels: Labels
  /** `topology.istio.io/network`; only the system namespace's counts. */
  readonly network: string
  readonly waypoint: WaypointChoice | undefined
  readonly distribution: TrafficDistribution | undefined
  readonly ingressUseWaypoint: boolean | undefined
}

export interface MeshNode {
  readonly name: string
  readonly locality: Locality
}
