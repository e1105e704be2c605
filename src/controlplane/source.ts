/**
 * What the xDS server serves: model and translation put together. Every resource is translated and
 * encoded once, when something it depends on changed, and kept under its name; connections read.
 */
import type { Clock, Logger } from '../base/index.ts'
import {
  type MeshSettings,
  Model,
  type ModelEvent,
  type Snapshot,
  type Touched,
} from '../model/index.ts'
import { typeUrl } from '../proto/index.ts'
import {
  convertedPolicyName,
  keySetDependency,
  type Problem,
  staticStrictKey,
  touchedKeys,
  translatePeerAuthentication,
  translatePolicy,
  translateService,
  translateStaticStrict,
  translateWaypointAllow,
  translateWorkload,
  waypointAllowName,
} from '../translate/index.ts'
import type { EncodedResource, ProxyNode, ResourceChange, ResourceSource } from '../xds/index.ts'
import { ChangeLog, ResourceTable } from './resource-table.ts'
import { ProxyViews, viewTypes } from './views.ts'
import type { ReviewSecrets } from './views-secrets.ts'

export interface MeshChange {
  readonly snapshot: Snapshot
  readonly touched: Touched
}

export interface MeshSourceOptions {
  readonly settings: MeshSettings
  readonly clock: Clock
  readonly logger: Logger
  /** Absent: no sidecar gets secrets. */
  readonly reviewSecrets?: ReviewSecrets
}

export class MeshSource implements ResourceSource {
  readonly #model: Model
  readonly #logger: Logger
  readonly #addresses = new ResourceTable(typeUrl.address)
  readonly #authorizations = new ResourceTable(typeUrl.authorization)
  readonly #views: ProxyViews
  readonly #keySets = new Map<string, string>()
  readonly #listeners = new Set<(change: ResourceChange) => void>()
  readonly #meshListeners = new Set<(change: MeshChange) => void>()
  #staticStrict = ''
  #revision = 0
  #ready = false

  constructor(options: MeshSourceOptions) {
    this.#model = new Model(options.settings)
    this.#logger = options.logger
    this.#views = new ProxyViews(this.#model.snapshot, this.#keySets, {
      clock: options.clock,
      logger: options.logger,
      reviewSecrets: options.reviewSecrets ?? (async () => false),
      changed: (log) => this.#publish(log),
    })
  }

  get revision(): number {
    return this.#revision
  }

  get ready(): boolean {
    return this.#ready
  }

  get snapshot(): Snapshot {
    return this.#model.snapshot
  }

  /** Takes a batch of events, translates what they touched and tells the listeners. */
  apply(events: readonly ModelEvent[]): void {
    const { snapshot, touched, changed } = this.#model.update(events)
    const first = !this.#ready
    this.#ready = true
    if (!changed && !first) return
    const log = new ChangeLog()
    this.#translateAmbient(snapshot, touched, log)
    this.#views.update(snapshot, this.#keySets, touchedKeys(touched), log)
    this.#publish(log)
    for (const listener of this.#meshListeners) listener({ snapshot, touched })
    this.#logger.debug('configuration changed', {
      revision: this.#revision,
      events: events.length,
      resources: log.size,
    })
  }

  /** Takes key sets that were fetched, or (without a text) lost, by where they come from. */
  applyKeySets(sets: ReadonlyMap<string, string | undefined>): void {
    const keys = new Set<string>()
    for (const [source, text] of sets) {
      if (this.#keySets.get(source) === text) continue
      if (text === undefined) this.#keySets.delete(source)
      else this.#keySets.set(source, text)
      keys.add(keySetDependency(source))
    }
    if (keys.size === 0) return
    const log = new ChangeLog()
    this.#views.update(this.#model.snapshot, this.#keySets, keys, log)
    this.#publish(log)
  }

  /** What the authors of objects should be told, as the proxies that are connected see it. */
  get problems(): readonly Problem[] {
    return this.#views.problems
  }

  /** How many different configurations there are, and how much is remembered for them. */
  get viewStatistics(): { readonly views: number; readonly remembered: number } {
    return { views: this.#views.size, remembered: this.#views.memoSize }
  }

  typeUrls(): readonly string[] {
    return [...viewTypes.keys(), typeUrl.address, typeUrl.authorization]
  }

  list(type: string, proxy: ProxyNode): Iterable<EncodedResource> {
    if (type === typeUrl.address) return this.#addresses.values()
    if (type === typeUrl.authorization) return this.#authorizations.values()
    return this.#views.list(type, proxy)
  }

  get(type: string, name: string, proxy: ProxyNode): EncodedResource | undefined {
    if (type === typeUrl.address) return this.#addresses.get(name)
    if (type === typeUrl.authorization) return this.#authorizations.get(name)
    return this.#views.get(type, name, proxy)
  }

  related(type: string, name: string): Iterable<EncodedResource> {
    return type === typeUrl.address ? this.#addresses.membersOf(name) : []
  }

  viewKey(type: string, proxy: ProxyNode): string {
    return viewTypes.has(type) ? `view ${this.#views.keyOf(proxy)}` : 'mesh'
  }

  joined(proxy: ProxyNode): void {
    this.#views.joined(proxy)
  }

  left(proxy: ProxyNode): void {
    this.#views.left(proxy)
  }

  /** Connected proxies whose pods are no longer what they were: they must come again to get what they are due. */
  movedProxies(touched: Touched): ProxyNode[] {
    for (const config of touched.configs) {
      // They decide which metadata of a node makes a difference.
      if (config.startsWith('EnvoyFilter/')) return this.#views.moved()
    }
    return this.#views.moved(touched.workloads)
  }

  onChange(listener: (change: ResourceChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** For those who act on the mesh itself, such as writers of status; after the proxies' push. */
  onMeshChange(listener: (change: MeshChange) => void): () => void {
    this.#meshListeners.add(listener)
    return () => this.#meshListeners.delete(listener)
  }

  #publish(log: ChangeLog): void {
    if (log.isEmpty) return
    this.#revision++
    const change = { revision: this.#revision, names: log.names }
    for (const listener of this.#listeners) listener(change)
  }

  #translateAmbient(snapshot: Snapshot, touched: Touched, log: ChangeLog): void {
    for (const key of touched.services) {
      this.#addresses.put(key, translateService(snapshot, key), log)
    }
    for (const uid of touched.workloads) {
      this.#addresses.put(uid, translateWorkload(snapshot, uid), log)
    }
    for (const key of touched.policies) {
      this.#authorizations.put(key, translatePolicy(snapshot, key), log)
    }
    for (const key of touched.peerAuthentications) {
      const name = convertedPolicyName(key)
      this.#authorizations.put(name, translatePeerAuthentication(snapshot, key), log)
    }
    for (const key of touched.gateways) {
      const allow = translateWaypointAllow(snapshot, key)
      this.#authorizations.put(waypointAllowName(key), allow, log)
    }
    if (touched.peerAuthentications.size > 0) {
      const key = staticStrictKey(snapshot)
      // It is in the root namespace, which MeshConfig may have moved.
      if (key !== this.#staticStrict) this.#authorizations.put(this.#staticStrict, undefined, log)
      this.#staticStrict = key
      this.#authorizations.put(key, translateStaticStrict(snapshot), log)
    }
  }
}
