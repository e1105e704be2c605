/**
 * The mesh as the control plane sees it: small, normalized, immutable values. They hold what the
 * translation needs and nothing else, so that a heartbeat or a status write of an object that
 * changes nothing here is recognised as no change at all.
 */

export type Labels = Readonly<Record<string, string>>

/**
 * What a control plane is told at its start. Trust domain and root namespace are only the defaults of
 * MeshConfig, which may change any time: `snapshot.settings` has them as they are then.
 */
export interface MeshSettings {
  readonly clusterId: string
  readonly trustDomain: string
  /** `cluster.local` */
  readonly domain: string
  /** Where the control plane and its ConfigMaps are: `istio-system`. */
  readonly systemNamespace: string
  /** Policies there hold for the whole mesh; the system namespace, unless MeshConfig says otherwise. */
  readonly rootNamespace: string
  /** Objects with another revision in their label `istio.io/rev` are not ours. */
  readonly revision?: string
  /** A ConfigMap of the system namespace, merged below that of the revision. */
  readonly sharedMeshConfig?: string
  /** Sends dry-run policies to node proxies, marked as such; older ones would enforce them. */
  readonly dryRunPolicies?: boolean
  /** Lets waypoints through the selector policies of the workloads behind them, unasked. */
  readonly autoAllowWaypoints?: boolean
}

export const defaultMeshSettings: MeshSettings = {
  clusterId: 'Kubernetes',
  trustDomain: 'cluster.local',
  domain: 'cluster.local',
  systemNamespace: 'istio-system',
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

/** A second waypoint, which takes a share of a service's traffic. */
export interface WaypointCanary extends WaypointChoice {
  /** Per cent; undefined: what is written is no weight. */
  readonly weight: number | undefined
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
  /** Not part of the mesh: an endpoint of a ServiceEntry that says MESH_EXTERNAL. */
  readonly external: boolean
  readonly hostNetwork: boolean
  readonly tunnel: 'none' | 'hbone' | 'native'
  /** Container ports of pods, or the `ports` of an entry: what named target ports resolve to. */
  readonly ports: readonly NamedPort[]
  readonly weight: number | undefined
  readonly waypoint: WaypointChoice | undefined
  /** Workloads that were derived from one service belong to it whatever their labels. */
  readonly bindings: readonly FixedBinding[]
}

/** Protocols as Istio names them in ports; empty: nothing is declared, so proxies look at the bytes. */
export type DeclaredProtocol =
  | ''
  | 'HTTP'
  | 'HTTP_PROXY'
  | 'HTTP2'
  | 'HTTPS'
  | 'GRPC'
  | 'GRPC-WEB'
  | 'TCP'
  | 'TLS'
  | 'MONGO'
  | 'MYSQL'
  | 'REDIS'
  | 'UDP'
  | 'HBONE'

export type AppProtocol = 'unknown' | 'http' | 'http2' | 'grpc' | 'tcp' | 'tls'

export interface ServicePort {
  readonly name: string
  readonly port: number
  /** A string names a port of the workload. */
  readonly targetPort: number | string
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  /** The coarse form that node proxies know. */
  readonly appProtocol: AppProtocol
  readonly declared: DeclaredProtocol
}

/** `alias`: an ExternalName Service, another name of what `externalName` says. */
export type Resolution = 'none' | 'static' | 'dns' | 'dns-round-robin' | 'dynamic-dns' | 'alias'
export type TrafficDistribution = 'any' | 'prefer-zone' | 'prefer-node'

/** A Kubernetes Service or one host of a ServiceEntry. The key is `<namespace>/<hostname>`. */
export interface Service {
  readonly source: 'Service' | 'ServiceEntry'
  readonly name: string
  readonly namespace: string
  readonly hostname: string
  readonly labels: Labels
  readonly createdAt: number
  readonly generation: number
  /** `external`: outside the mesh, so that no mutual TLS is expected there. */
  readonly location: 'internal' | 'external'
  /** Of resolution `alias`, else empty. */
  readonly externalName: string
  /** Namespaces, `.`, `*` or `~`; undefined: the mesh's default. */
  readonly exportTo: readonly string[] | undefined
  /** No virtual IP by intent: clients pick an endpoint's address. */
  readonly headless: boolean
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
  /** Further accounts its servers may have: `<namespace>/<account>` or a whole identity. */
  readonly serviceAccounts: readonly string[]
  readonly waypoint: WaypointChoice | undefined
  readonly waypointCanary: WaypointCanary | undefined
  readonly ingressUseWaypoint: boolean | undefined
  /** Services of waypoints never get a waypoint themselves. */
  readonly ofWaypoint: boolean
}

/** A ServiceEntry as the services and workloads it stands for. */
export interface ServiceEntry {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly generation: number
  /** Virtual IPs that were chosen for it before, from its status. */
  readonly allocated: readonly { readonly host: string; readonly value: string }[]
  /** Whether it wants virtual IPs chosen: none are given, and it has not opted out. */
  readonly wantsAddresses: boolean
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
  /** Going away, but still serving: only for clients that must keep to it. */
  readonly draining?: true
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
  readonly annotations: Labels
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
