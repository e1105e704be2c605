/**
 * The Kubernetes client's contract. Everything that is not the registry itself (controllers,
 * runtime, node agent, control plane, CLI) sees the registry, or a real cluster, through this.
 */
import type { Component } from '../base/index.ts'
import type { GroupVersionResource, KubeList, KubeObject } from '../kube/index.ts'

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply'

export interface WriteOptions {
  readonly fieldManager?: string
  readonly dryRun?: boolean
  /** Only for patches of type `apply`. */
  readonly force?: boolean
  /** `status`, `scale`, `eviction`, `token` ... */
  readonly subresource?: string
}

export interface ListOptions {
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  readonly limit?: number
  readonly continue?: string
  readonly resourceVersion?: string
  /** Ask for PartialObjectMetadata: enough for those who only look at labels, owners and times. */
  readonly metadataOnly?: boolean
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan'
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string }
}

/** Failures reject with `ApiError`, which carries the server's Status. */
export interface KubeClient {
  /** Undefined when the object does not exist; other failures reject. */
  get<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): Promise<T | undefined>
  list<T extends KubeObject>(gvr: GroupVersionResource, options?: ListOptions): Promise<KubeList<T>>
  /** The namespace comes from `object.metadata.namespace`. */
  create<T extends KubeObject>(
    gvr: GroupVersionResource,
    object: T,
    options?: WriteOptions,
  ): Promise<T>
  update<T extends KubeObject>(
    gvr: GroupVersionResource,
    object: T,
    options?: WriteOptions,
  ): Promise<T>
  patch<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    body: unknown,
    options?: WriteOptions,
  ): Promise<T>
  delete(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): Promise<void>
  /** POST to a subresource such as `token`; returns the answer's object. */
  createSubresource<T>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
  ): Promise<T>
  /**
   * Events from `resourceVersion` on, until the signal aborts or the server ends the stream.
   * An ERROR event rejects with its Status (410 Expired: list again).
   */
  watch<T extends KubeObject>(
    gvr: GroupVersionResource,
    options: ListOptions & { readonly allowWatchBookmarks?: boolean },
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>
  /** A plain request for what the above does not cover (`/version`, `/apis` ...). */
  raw(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<RawAnswer>
}

export interface RawAnswer {
  readonly code: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Buffer
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'
  readonly object: T
}

export interface InformerHandlers<T> {
  readonly added?: (object: T) => void
  readonly updated?: (object: T, previous: T) => void
  readonly deleted?: (object: T) => void
}

/** A cache of one resource, kept true by list and watch. Handlers run synchronously, in order. */
export interface Informer<T extends KubeObject = KubeObject> extends Component {
  /** Resolves in `start` already; true once the first list is in the cache. */
  readonly synced: boolean
  /** `namespace/name`, or `name` for cluster-scoped kinds. */
  get(key: string): T | undefined
  list(): T[]
  /** Handlers added after the sync get `added` for everything cached. Returns the remover. */
  on(handlers: InformerHandlers<T>): () => void
  /** Adds an index; `byIndex` answers with the objects for which `keysOf` named the value. */
  addIndex(name: string, keysOf: (object: T) => readonly string[]): void
  byIndex(name: string, value: string): T[]
}
