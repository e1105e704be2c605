/**
 * The state of the mesh at one revision. Immutable: whoever holds one (a push in progress, a
 * question of an operator) keeps seeing the same mesh while newer snapshots appear.
 */
import type { Kind, Kinds } from './events.ts'
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
  /** Namespace → keys of its ReferenceGrants. */
  readonly grants: KeyIndex
}

export interface Snapshot {
  readonly revision: number
  readonly settings: MeshSettings
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
    settings,
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
      grants: index,
    },
  }
}
