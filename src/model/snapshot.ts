/**
 * The state of the mesh at one revision. Immutable: whoever holds one (a push in progress, a
 * question of an operator) keeps seeing the same mesh while newer snapshots appear.
 */
import type { Kind, Kinds } from './events.ts'
import type { MeshConfig } from './istio/index.ts'
import { effectiveMesh } from './mesh-defaults.ts'
import { PersistentMap } from './persistent-map.ts'
import type { MeshSettings, Service, Workload } from './types.ts'

export type ObjectMaps = { readonly [K in Kind]: PersistentMap<Kinds[K]> }

/** From a value to the sorted keys of the objects that have it: the joins of the translation. */
export type KeyIndex = PersistentMap<readonly string[]>

export interface SnapshotIndexes {
  /** `<namespace>|<label>=<value>` → keys of services whose selector has that pair first. */
  readonly serviceSelectors: KeyIndex
  /** Namespace → keys of its AuthorizationPolicies that have a selector. */
  readonly selectorPolicies: KeyIndex
  /** Namespace → keys of its PeerAuthentications. */
  readonly peerAuthentications: KeyIndex
  /** `<namespace>/<service name>` → keys of its EndpointSlices. */
  readonly slices: KeyIndex
  /** Gateway key → keys of the HTTPRoutes that name it as a parent. */
  readonly routes: KeyIndex
  /** Service key → UIDs of workloads that were derived from it (inline endpoints). */
  readonly boundWorkloads: KeyIndex
  /**
   * Service key → UIDs of workloads that its selector picks and that no EndpointSlice tells of:
   * pods and WorkloadEntries for a ServiceEntry, WorkloadEntries for a Kubernetes Service.
   */
  readonly selectedWorkloads: KeyIndex
  /** Namespace → keys of its ReferenceGrants. */
  readonly grants: KeyIndex
  /** `<Kind>|<namespace>` → keys of the configuration objects there, of every kind users write. */
  readonly configsByNamespace: KeyIndex
  /** Exact host (in full) → keys of VirtualServices; those with any wildcard host are under `*`. */
  readonly virtualServicesByHost: KeyIndex
  /** `<namespace>/<name>` of an Istio Gateway, or `mesh` → keys of VirtualServices bound to it. */
  readonly virtualServicesByGateway: KeyIndex
  /** Exact host (in full) → keys of DestinationRules; those of wildcard hosts are under `*`. */
  readonly destinationRulesByHost: KeyIndex
  /** Hostname → keys of the services that have it, in any namespace. */
  readonly servicesByHostname: KeyIndex
  /**
   * `<ParentKind>|<namespace>/<name>` → `<Kind>/<namespace>/<name>` of the routes of Gateway API (all
   * four kinds) and ListenerSets that name it as a parent.
   */
  readonly routesByParent: KeyIndex
  /** `<Kind>|<namespace>/<name>` → `<Kind>/<namespace>/<name>` of policies that target it. */
  readonly policiesByTarget: KeyIndex
}

export interface Snapshot {
  readonly revision: number
  /** With trust domain and root namespace as MeshConfig has them. */
  readonly settings: MeshSettings
  /** With all defaults filled in. */
  readonly mesh: MeshConfig
  /** The inputs, by kind and key. */
  readonly objects: ObjectMaps
  /** Every workload, by UID. */
  readonly workloads: PersistentMap<Workload>
  /** The service which owns each `<namespace>/<hostname>`. */
  readonly services: PersistentMap<Service>
  readonly indexes: SnapshotIndexes
}

/** A mesh with nothing in it. */
export function emptySnapshot(settings: MeshSettings): Snapshot {
  const index = PersistentMap.empty<readonly string[]>()
  return {
    revision: 0,
    ...effectiveMesh(settings, []),
    objects: {
      Pod: PersistentMap.empty(),
      WorkloadEntry: PersistentMap.empty(),
      ServiceEntry: PersistentMap.empty(),
      Service: PersistentMap.empty(),
      EndpointSlice: PersistentMap.empty(),
      Namespace: PersistentMap.empty(),
      Node: PersistentMap.empty(),
      AuthorizationPolicy: PersistentMap.empty(),
      PeerAuthentication: PersistentMap.empty(),
      GatewayClass: PersistentMap.empty(),
      Gateway: PersistentMap.empty(),
      HTTPRoute: PersistentMap.empty(),
      ReferenceGrant: PersistentMap.empty(),
      VirtualService: PersistentMap.empty(),
      DestinationRule: PersistentMap.empty(),
      IstioGateway: PersistentMap.empty(),
      Sidecar: PersistentMap.empty(),
      EnvoyFilter: PersistentMap.empty(),
      ProxyConfig: PersistentMap.empty(),
      WorkloadGroup: PersistentMap.empty(),
      WasmPlugin: PersistentMap.empty(),
      TrafficExtension: PersistentMap.empty(),
      RequestAuthentication: PersistentMap.empty(),
      Telemetry: PersistentMap.empty(),
      GRPCRoute: PersistentMap.empty(),
      TLSRoute: PersistentMap.empty(),
      TCPRoute: PersistentMap.empty(),
      BackendTLSPolicy: PersistentMap.empty(),
      ListenerSet: PersistentMap.empty(),
      Secret: PersistentMap.empty(),
      ConfigMap: PersistentMap.empty(),
      MeshConfig: PersistentMap.empty(),
    },
    workloads: PersistentMap.empty(),
    services: PersistentMap.empty(),
    indexes: {
      serviceSelectors: index,
      selectorPolicies: index,
      peerAuthentications: index,
      slices: index,
      routes: index,
      boundWorkloads: index,
      selectedWorkloads: index,
      grants: index,
      configsByNamespace: index,
      virtualServicesByHost: index,
      virtualServicesByGateway: index,
      destinationRulesByHost: index,
      servicesByHostname: index,
      routesByParent: index,
      policiesByTarget: index,
    },
  }
}
