/**
 * What the xDS server serves: model and translation put together. Every resource is translated and
 * encoded once, when something it depends on changed, and kept under its name; connections read.
 */
import type { Logger } from '../base/index.ts'
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
  staticStrictKey,
  translatePeerAuthentication,
  translatePolicy,
  translateService,
  translateStaticStrict,
  translateWorkload,
} from '../translate/index.ts'
import type { EncodedResource, ProxyNode, ResourceChange, ResourceSource } from '../xds/index.ts'
import { GatewayViews } from './gateway-views.ts'
import { ChangeLog, ResourceTable } from './resource-table.ts'

export interface MeshChange {
  readonly snapshot: Snapshot
  readonly touched: Touched
}

export interface MeshSourceOptions {
  readonly settings: MeshSettings
  readonly logger: Logger
}

const gatewayTypes: ReadonlySet<string> = new Set([
  typeUrl.listener,
  typeUrl.route,
  typeUrl.cluster,
  typeUrl.endpoint,
])

export class MeshSource implements ResourceSource {
  readonly #model: Model
  readonly #logger: Logger
  readonly #addresses = new ResourceTable(typeUrl.address)
  readonly #authorizations = new ResourceTable(typeUrl.authorization)
  readonly #gateways = new GatewayViews()
  readonly #listeners = new Set<(change: ResourceChange) => void>()
  readonly #meshListeners = new Set<(change: MeshChange) => void>()
  #revision = 0
  #ready = false

  constructor(options: MeshSourceOptions) {
    this.#model = new Model(options.settings)
    this.#logger = options.logger
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
    this.#gateways.update(snapshot, touched, log)
    if (!log.isEmpty) {
      this.#revision++
      const change = { revision: this.#revision, names: log.names }
      for (const listener of this.#listeners) listener(change)
    }
    for (const listener of this.#meshListeners) listener({ snapshot, touched })
    this.#logger.debug('configuration changed', {
      revision: this.#revision,
      events: events.length,
      resources: log.size,
    })
  }

  typeUrls(): readonly string[] {
    return [...gatewayTypes, typeUrl.address, typeUrl.authorization]
  }

  list(type: string, proxy: ProxyNode): Iterable<EncodedResource> {
    if (type === typeUrl.address) return this.#addresses.values()
    if (type === typeUrl.authorization) return this.#authorizations.values()
    return this.#gateways.list(type, gatewayOf(proxy))
  }

  get(type: string, name: string, proxy: ProxyNode): EncodedResource | undefined {
    if (type === typeUrl.address) return this.#addresses.get(name)
    if (type === typeUrl.authorization) return this.#authorizations.get(name)
    return this.#gateways.get(type, gatewayOf(proxy), name)
  }

  viewKey(type: string, proxy: ProxyNode): string {
    return gatewayTypes.has(type) ? `gateway ${gatewayOf(proxy)}` : 'mesh'
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
    if (touched.peerAuthentications.size > 0) {
      this.#authorizations.put(staticStrictKey(snapshot), translateStaticStrict(snapshot), log)
    }
  }
}

const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name'

/**
 * The Gateway that a proxy belongs to: the name from its labels, which it sends itself, in the
 * namespace that its identity proves. Empty for other proxies.
 */
export function gatewayOf(proxy: ProxyNode): string {
  const labels = proxy.metadata.LABELS
  if (typeof labels !== 'object' || labels === null) return ''
  const name: unknown = Reflect.get(labels, gatewayNameLabel)
  return typeof name === 'string' ? `${proxy.namespace}/${name}` : ''
}
