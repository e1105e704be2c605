/**
 * One update in progress: the maps of the next snapshot, what was touched so far, and the moves
 * that keep indexes true. Appliers (one file per group of kinds) work on it.
 */
import type { Kind, Kinds } from './events.ts'
import type { MeshConfig } from './istio/index.ts'
import { labelKey, selectorKey, selects } from './labels.ts'
import { Edit, type PersistentMap } from './persistent-map.ts'
import { isSelectable } from './queries.ts'
import type { ReverseIndexes } from './reverse.ts'
import type { Snapshot, SnapshotIndexes } from './snapshot.ts'
import type { Labels, MeshSettings, Service, WaypointChoice, Workload } from './types.ts'

/** Competing definitions of one service, by where they come from (`Service|ns/name` ...). */
export type Candidates = Map<string, Map<string, Service>>

export interface Owned {
  /** As they were given, before any MeshConfig. */
  readonly settings: MeshSettings
  readonly reverse: ReverseIndexes
  readonly candidates: Candidates
}

export class Draft {
  readonly base: MeshSettings
  settings: MeshSettings
  mesh: MeshConfig
  readonly reverse: ReverseIndexes
  readonly edit = new Edit()
  readonly objects: { -readonly [K in keyof Snapshot['objects']]: Snapshot['objects'][K] }
  readonly indexes: { -readonly [K in keyof SnapshotIndexes]: SnapshotIndexes[K] }
  workloads: PersistentMap<Workload>
  services: PersistentMap<Service>
  readonly touched = {
    workloads: new Set<string>(),
    services: new Set<string>(),
    endpoints: new Set<string>(),
    policies: new Set<string>(),
    peerAuthentications: new Set<string>(),
    gateways: new Set<string>(),
    parents: new Set<string>(),
    configs: new Set<string>(),
    namespaces: new Set<string>(),
    secrets: new Set<string>(),
    mesh: false,
  }
  /** Lists of indexes that were made in this update, so that nobody else has them yet. */
  readonly #ownLists = new WeakMap<readonly string[], string[]>()
  readonly #revision: number
  readonly #candidates: Candidates

  constructor(base: Snapshot, owned: Owned) {
    this.base = owned.settings
    this.settings = base.settings
    this.mesh = base.mesh
    this.reverse = owned.reverse
    this.#candidates = owned.candidates
    this.objects = { ...base.objects }
    this.indexes = { ...base.indexes }
    this.workloads = base.workloads
    this.services = base.services
    this.#revision = base.revision + 1
  }

  finish(): Snapshot {
    const { settings, mesh, objects, workloads, services, indexes } = this
    return { revision: this.#revision, settings, mesh, objects, workloads, services, indexes }
  }

  put<K extends Kind>(kind: K, key: string, value: Kinds[K] | undefined): void {
    const map: PersistentMap<Kinds[K]> = this.objects[kind]
    const next = value === undefined ? map.delete(key, this.edit) : map.set(key, value, this.edit)
    // TypeScript can't see that the kind of the slot and of the value agree.
    this.objects[kind] = next as Draft['objects'][K]
  }

  /** Moves `key` between the values of a snapshot index. */
  moveIndex(
    name: keyof SnapshotIndexes,
    key: string,
    previous: readonly string[],
    next: readonly string[],
  ): void {
    for (const value of previous) {
      if (next.includes(value)) continue
      const [keys, at] = this.#place(name, value, key)
      if (keys[at] !== key) continue
      if (keys.length === 1) this.indexes[name] = this.indexes[name].delete(value, this.edit)
      else this.#owned(name, value, keys).splice(at, 1)
    }
    for (const value of next) {
      if (previous.includes(value)) continue
      const [keys, at] = this.#place(name, value, key)
      if (keys[at] !== key) this.#owned(name, value, keys).splice(at, 0, key)
    }
  }

  /** The sorted keys of a value, and where the key is or belongs. */
  #place(name: keyof SnapshotIndexes, value: string, key: string): [readonly string[], number] {
    const keys = this.indexes[name].get(value) ?? []
    let [low, high] = [0, keys.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((keys[middle] ?? '') < key) low = middle + 1
      else high = middle
    }
    return [keys, low]
  }

  /** The list as one that may be changed: copied once in an update, not once for each key. */
  #owned(name: keyof SnapshotIndexes, value: string, keys: readonly string[]): string[] {
    const own = this.#ownLists.get(keys)
    if (own !== undefined) return own
    const copy = [...keys]
    this.#ownLists.set(copy, copy)
    this.indexes[name] = this.indexes[name].set(value, copy, this.edit)
    return copy
  }

  /** Replaces one workload, whatever object it comes from. */
  setWorkload(uid: string, next: Workload | undefined): void {
    const previous = this.workloads.get(uid)
    if (previous === undefined && next === undefined) return
    this.workloads =
      next === undefined
        ? this.workloads.delete(uid, this.edit)
        : this.workloads.set(uid, next, this.edit)
    const { reverse } = this
    reverse.workloadsByNamespace.move(uid, namespaceOf(previous), namespaceOf(next))
    reverse.workloadsByLabel.move(uid, labelKeys(previous), labelKeys(next))
    reverse.workloadsByNode.move(uid, nodeOf(previous), nodeOf(next))
    reverse.waypointUsers.move(`w|${uid}`, waypointOf(previous), waypointOf(next))
    this.moveIndex('boundWorkloads', uid, boundTo(previous), boundTo(next))
    const [before, after] = [this.#selectingKeys(previous), this.#selectingKeys(next)]
    this.moveIndex('selectedWorkloads', uid, before, after)
    this.touched.workloads.add(uid)
    for (const keys of [boundTo(previous), boundTo(next), before, after]) {
      for (const key of keys) this.touched.endpoints.add(key)
    }
  }

  /** Services that take this workload as an endpoint by its labels alone, without slices. */
  #selectingKeys(workload: Workload | undefined): string[] {
    if (workload === undefined || !isSelectable(workload)) return []
    const found: string[] = []
    for (const label in workload.labels) {
      const value = workload.labels[label] ?? ''
      const index = labelKey(workload.namespace, label, value)
      for (const key of this.indexes.serviceSelectors.get(index) ?? []) {
        const service = this.services.get(key)
        if (service?.selector === undefined || !picks(service, workload)) continue
        if (selects(service.selector, workload.labels)) found.push(key)
      }
    }
    return found
  }

  /** Replaces what one origin says about the service `key`, and settles who owns the name. */
  setService(key: string, origin: string, next: Service | undefined): void {
    const candidates = this.#candidates.get(key) ?? new Map<string, Service>()
    if (next === undefined) candidates.delete(origin)
    else candidates.set(origin, next)
    if (candidates.size === 0) this.#candidates.delete(key)
    else this.#candidates.set(key, candidates)
    this.#setOwner(key, winner(candidates))
  }

  #setOwner(key: string, next: Service | undefined): void {
    const previous = this.services.get(key)
    if (previous === next) return
    this.services =
      next === undefined
        ? this.services.delete(key, this.edit)
        : this.services.set(key, next, this.edit)
    const { reverse, touched } = this
    reverse.servicesByNamespace.move(key, namespaceOf(previous), namespaceOf(next))
    this.moveIndex('servicesByHostname', key, hostnameOf(previous), hostnameOf(next))
    reverse.waypointUsers.move(`s|${key}`, waypointsOf(previous), waypointsOf(next))
    this.moveIndex('serviceSelectors', key, selectorOf(previous), selectorOf(next))
    touched.services.add(key)
    touched.endpoints.add(key)
    this.#selectAnew(key, next)
    for (const service of [previous, next]) {
      if (service?.selector === undefined) continue
      for (const uid of this.selected(service.namespace, service.selector)) {
        touched.workloads.add(uid)
      }
    }
  }

  /** The workloads that a service which has changed picks now. */
  #selectAnew(key: string, service: Service | undefined): void {
    const uids: string[] = []
    if (service?.selector !== undefined && selectorOf(service).length > 0) {
      for (const uid of this.selected(service.namespace, service.selector)) {
        const workload = this.workloads.get(uid)
        if (workload !== undefined && isSelectable(workload) && picks(service, workload)) {
          uids.push(uid)
        }
      }
    }
    const { selectedWorkloads: index } = this.indexes
    this.indexes.selectedWorkloads =
      uids.length === 0 ? index.delete(key, this.edit) : index.set(key, uids.toSorted(), this.edit)
  }

  /** UIDs of the workloads of a namespace that a selector selects. */
  *selected(namespace: string, selector: Labels): IterableIterator<string> {
    let smallest: ReadonlySet<string> = this.reverse.workloadsByNamespace.get(namespace)
    for (const label in selector) {
      const set = this.reverse.workloadsByLabel.get(
        labelKey(namespace, label, selector[label] ?? ''),
      )
      if (set.size < smallest.size) smallest = set
    }
    for (const uid of smallest) {
      const workload = this.workloads.get(uid)
      if (workload !== undefined && selects(selector, workload.labels)) yield uid
    }
  }
}

/** A Kubernetes Service beats ServiceEntries; among these the oldest wins, then the first by name. */
function winner(candidates: ReadonlyMap<string, Service>): Service | undefined {
  let best: Service | undefined
  for (const service of candidates.values()) {
    if (best === undefined || compareServices(service, best) < 0) best = service
  }
  return best
}

function compareServices(left: Service, right: Service): number {
  if (left.source !== right.source) return left.source === 'Service' ? -1 : 1
  if (left.createdAt !== right.createdAt) return left.createdAt - right.createdAt
  return left.name < right.name ? -1 : 1
}

function namespaceOf(value: { readonly namespace: string } | undefined): string[] {
  return value === undefined ? [] : [value.namespace]
}

/** Pods of a Kubernetes Service come with its EndpointSlices. */
function picks(service: Service, workload: Workload): boolean {
  return service.source === 'ServiceEntry' || workload.source === 'WorkloadEntry'
}

function hostnameOf(service: Service | undefined): string[] {
  return service === undefined ? [] : [service.hostname]
}

function nodeOf(workload: Workload | undefined): string[] {
  return workload === undefined || workload.node === '' ? [] : [workload.node]
}

function labelKeys(workload: Workload | undefined): string[] {
  if (workload === undefined) return []
  return Object.entries(workload.labels).map(([label, value]) =>
    labelKey(workload.namespace, label, value),
  )
}

function boundTo(workload: Workload | undefined): string[] {
  return workload?.bindings.map((binding) => binding.service) ?? []
}

function selectorOf(service: Service | undefined): string[] {
  if (service?.selector === undefined) return []
  const key = selectorKey(service.namespace, service.selector)
  return key === undefined ? [] : [key]
}

/** The key of the waypoint an object names itself. */
export function waypointOf(
  value: { readonly namespace: string; readonly waypoint: WaypointChoice | undefined } | undefined,
): string[] {
  const choice = value?.waypoint
  if (value === undefined || choice === undefined || choice.name === 'none') return []
  return [`${choice.namespace ?? value.namespace}/${choice.name}`]
}

/** The waypoint of a service and its canary. */
function waypointsOf(service: Service | undefined): string[] {
  if (service === undefined) return []
  const { namespace, waypointCanary } = service
  return [
    ...new Set([...waypointOf(service), ...waypointOf({ namespace, waypoint: waypointCanary })]),
  ]
}
