/**
 * The resources of gateways: listeners and routes belong to one Gateway; clusters and endpoints are
 * the same for all who use them, so they are encoded once and shared by reference count.
 */
import type { Snapshot, Touched } from '../model/index.ts'
import { typeUrl } from '../proto/index.ts'
import {
  type ClusterRef,
  type TranslatedResource,
  translateCluster,
  translateEndpoints,
  translateGateway,
} from '../translate/index.ts'
import type { ChangeLog } from './resource-table.ts'

interface View {
  readonly listeners: ReadonlyMap<string, TranslatedResource>
  readonly routes: ReadonlyMap<string, TranslatedResource>
  readonly clusters: ReadonlyMap<string, ClusterRef>
}

interface SharedCluster {
  readonly ref: ClusterRef
  users: number
  cluster: TranslatedResource | undefined
  endpoints: TranslatedResource | undefined
}

const emptyView: View = { listeners: new Map(), routes: new Map(), clusters: new Map() }

export class GatewayViews {
  readonly #views = new Map<string, View>()
  readonly #clusters = new Map<string, SharedCluster>()
  /** Service key → cluster names in use. */
  readonly #byService = new Map<string, Set<string>>()

  list(type: string, gateway: string): Iterable<TranslatedResource> {
    const view = this.#views.get(gateway) ?? emptyView
    if (type === typeUrl.listener) return view.listeners.values()
    if (type === typeUrl.route) return view.routes.values()
    const found: TranslatedResource[] = []
    for (const name of view.clusters.keys()) {
      const resource = this.#shared(type, name)
      if (resource !== undefined) found.push(resource)
    }
    return found
  }

  get(type: string, gateway: string, name: string): TranslatedResource | undefined {
    const view = this.#views.get(gateway) ?? emptyView
    if (type === typeUrl.listener) return view.listeners.get(name)
    if (type === typeUrl.route) return view.routes.get(name)
    return view.clusters.has(name) ? this.#shared(type, name) : undefined
  }

  update(snapshot: Snapshot, touched: Touched, log: ChangeLog): void {
    // Clusters first, so that those which a Gateway newly uses find current endpoints.
    for (const service of new Set([...touched.services, ...touched.endpoints])) {
      for (const name of this.#byService.get(service) ?? []) {
        const shared = this.#clusters.get(name)
        if (shared !== undefined) this.#refresh(snapshot, shared, log)
      }
    }
    for (const key of touched.gateways) this.#updateView(snapshot, key, log)
  }

  #updateView(snapshot: Snapshot, key: string, log: ChangeLog): void {
    const previous = this.#views.get(key) ?? emptyView
    const translated = translateGateway(snapshot, key)
    const next: View =
      translated === undefined
        ? emptyView
        : {
            listeners: new Map(translated.listeners.map((item) => [item.name, item])),
            routes: new Map(translated.routes.map((item) => [item.name, item])),
            clusters: new Map(translated.clusters.map((ref) => [ref.name, ref])),
          }
    if (translated === undefined) this.#views.delete(key)
    else this.#views.set(key, next)
    logDifferences(typeUrl.listener, previous.listeners, next.listeners, log)
    logDifferences(typeUrl.route, previous.routes, next.routes, log)
    for (const ref of next.clusters.values()) {
      if (!previous.clusters.has(ref.name)) this.#use(snapshot, ref, log)
    }
    for (const ref of previous.clusters.values()) {
      if (!next.clusters.has(ref.name)) this.#release(ref, log)
    }
  }

  #use(snapshot: Snapshot, ref: ClusterRef, log: ChangeLog): void {
    let shared = this.#clusters.get(ref.name)
    if (shared === undefined) {
      shared = { ref, users: 0, cluster: undefined, endpoints: undefined }
      this.#clusters.set(ref.name, shared)
      const names = this.#byService.get(ref.service) ?? new Set()
      this.#byService.set(ref.service, names.add(ref.name))
      this.#refresh(snapshot, shared, log)
    }
    shared.users++
    // It may have existed for others: for this Gateway it is new.
    log.add(typeUrl.cluster, ref.name)
    log.add(typeUrl.endpoint, ref.name)
  }

  #release(ref: ClusterRef, log: ChangeLog): void {
    log.add(typeUrl.cluster, ref.name)
    log.add(typeUrl.endpoint, ref.name)
    const shared = this.#clusters.get(ref.name)
    if (shared === undefined || --shared.users > 0) return
    this.#clusters.delete(ref.name)
    const names = this.#byService.get(ref.service)
    names?.delete(ref.name)
    if (names?.size === 0) this.#byService.delete(ref.service)
  }

  #refresh(snapshot: Snapshot, shared: SharedCluster, log: ChangeLog): void {
    const { ref } = shared
    const cluster = translateCluster(snapshot, ref)
    const endpoints = translateEndpoints(snapshot, ref)
    if (cluster?.version !== shared.cluster?.version) log.add(typeUrl.cluster, ref.name)
    if (endpoints?.version !== shared.endpoints?.version) log.add(typeUrl.endpoint, ref.name)
    shared.cluster = cluster
    shared.endpoints = endpoints
  }

  #shared(type: string, name: string): TranslatedResource | undefined {
    const shared = this.#clusters.get(name)
    return type === typeUrl.cluster ? shared?.cluster : shared?.endpoints
  }
}

function logDifferences(
  type: string,
  previous: ReadonlyMap<string, TranslatedResource>,
  next: ReadonlyMap<string, TranslatedResource>,
  log: ChangeLog,
): void {
  for (const [name, resource] of next) {
    if (previous.get(name)?.version !== resource.version) log.add(type, name)
  }
  for (const name of previous.keys()) if (!next.has(name)) log.add(type, name)
}
