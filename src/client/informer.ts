/**
 * Reflector and cache in one: list in pages, then watch with bookmarks from the list's version.
 * When the version is too old (410) the list is made again and compared with the cache, so that
 * handlers see exactly the differences, deletions included.
 */
import { Backoff, type Clock, type Logger, sleep, toError } from '../base/index.ts'
import {
  ApiError,
  type GroupVersionResource,
  type KubeList,
  type KubeObject,
} from '../kube/index.ts'
import { limits } from './limits.ts'
import type { Informer, InformerHandlers, KubeClient } from './types.ts'

export interface InformerOptions {
  readonly client: KubeClient
  readonly gvr: GroupVersionResource
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  readonly metadataOnly?: boolean
  readonly logger: Logger
  readonly clock: Clock
  /** Cut down objects before they are cached. */
  readonly transform?: (object: KubeObject) => KubeObject
}

/** The cache key of an object: `namespace/name`, or `name`. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

export function createInformer<T extends KubeObject = KubeObject>(
  options: InformerOptions,
): Informer<T> {
  return new ReflectingInformer<T>(options)
}

interface Index<T> {
  readonly keysOf: (object: T) => readonly string[]
  readonly values: Map<string, Map<string, T>>
}

class ReflectingInformer<T extends KubeObject> implements Informer<T> {
  readonly #options: InformerOptions
  readonly #cache = new Map<string, T>()
  readonly #indexes = new Map<string, Index<T>>()
  readonly #handlers = new Set<InformerHandlers<T>>()
  readonly #abort = new AbortController()
  #running: Promise<void> | undefined
  #version = ''
  synced = false

  constructor(options: InformerOptions) {
    this.#options = options
  }

  start(signal?: AbortSignal): Promise<void> {
    signal?.addEventListener('abort', () => this.#abort.abort(), { once: true })
    return new Promise((resolve, reject) => {
      this.#running ??= this.#run(resolve)
      this.#abort.signal.addEventListener('abort', () => reject(this.#abort.signal.reason), {
        once: true,
      })
    })
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#running
  }

  get(key: string): T | undefined {
    return this.#cache.get(key)
  }

  list(): T[] {
    return [...this.#cache.values()]
  }

  on(handlers: InformerHandlers<T>): () => void {
    this.#handlers.add(handlers)
    if (this.synced) for (const object of this.#cache.values()) this.#call(handlers.added, object)
    return () => this.#handlers.delete(handlers)
  }

  addIndex(name: string, keysOf: (object: T) => readonly string[]): void {
    const index: Index<T> = { keysOf, values: new Map() }
    this.#indexes.set(name, index)
    for (const [key, object] of this.#cache) indexObject(index, key, object)
  }

  byIndex(name: string, value: string): T[] {
    return [...(this.#indexes.get(name)?.values.get(value)?.values() ?? [])]
  }

  async #run(onSynced: () => void): Promise<void> {
    const { clock, logger, gvr } = this.#options
    const backoff = new Backoff({ initialMs: limits.backoffInitialMs, maxMs: limits.backoffMaxMs })
    const { signal } = this.#abort
    while (!signal.aborted) {
      try {
        if (this.#version === '') {
          await this.#relist()
          this.synced = true
          onSynced()
        }
        await this.#watch(() => backoff.reset())
      } catch (error) {
        if (signal.aborted) break
        if (error instanceof ApiError && error.status.code === 410) this.#version = ''
        else {
          logger.debug(`watching ${gvr.resource} failed`, { error: toError(error).message })
          await sleep(clock, backoff.next(), signal).catch(() => {})
        }
      }
    }
  }

  async #relist(): Promise<void> {
    const { client, gvr, namespace, labelSelector, fieldSelector, metadataOnly } = this.#options
    const seen = new Set<string>()
    let next: string | undefined
    let page: KubeList<T>
    do {
      page = await client.list<T>(gvr, {
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
        ...(metadataOnly === undefined ? {} : { metadataOnly }),
        ...(next === undefined ? {} : { continue: next }),
        limit: limits.pageSize,
      })
      for (const object of page.items) {
        object.apiVersion ??= page.apiVersion
        object.kind ??= page.kind.replace(/List$/, '')
        seen.add(objectKey(object))
        this.#store(object)
      }
      next = page.metadata.continue
    } while (next !== undefined && next !== '')
    for (const key of this.#cache.keys()) if (!seen.has(key)) this.#remove(key)
    this.#version = page.metadata.resourceVersion ?? ''
  }

  async #watch(onAlive: () => void): Promise<void> {
    const { client, gvr, namespace, labelSelector, fieldSelector, metadataOnly } = this.#options
    const events = client.watch<T>(
      gvr,
      {
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
        ...(metadataOnly === undefined ? {} : { metadataOnly }),
        resourceVersion: this.#version,
        allowWatchBookmarks: true,
      },
      this.#abort.signal,
    )
    for await (const event of events) {
      onAlive()
      if (event.type === 'DELETED') this.#remove(objectKey(event.object), event.object)
      else if (event.type !== 'BOOKMARK') this.#store(event.object)
      this.#version = event.object.metadata.resourceVersion ?? this.#version
    }
  }

  #store(received: T): void {
    const { transform } = this.#options
    // The transform keeps the kind; only fields are dropped.
    const object = transform === undefined ? received : (transform(received) as T)
    const key = objectKey(object)
    const previous = this.#cache.get(key)
    if (previous?.metadata.resourceVersion === object.metadata.resourceVersion && previous) return
    this.#cache.set(key, object)
    for (const index of this.#indexes.values()) {
      if (previous) unindexObject(index, key, previous)
      indexObject(index, key, object)
    }
    // Same name, other uid: the old one was deleted while nobody watched.
    const replaced = previous && previous.metadata.uid !== object.metadata.uid
    for (const handlers of this.#handlers) {
      if (previous && !replaced) this.#call(handlers.updated, object, previous)
      else {
        if (previous) this.#call(handlers.deleted, previous)
        this.#call(handlers.added, object)
      }
    }
  }

  #remove(key: string, last?: T): void {
    const previous = this.#cache.get(key)
    if (previous === undefined) return
    this.#cache.delete(key)
    for (const index of this.#indexes.values()) unindexObject(index, key, previous)
    for (const handlers of this.#handlers) this.#call(handlers.deleted, last ?? previous)
  }

  /** A handler that throws must not stop the stream for the others. */
  #call<A extends unknown[]>(handler: ((...values: A) => void) | undefined, ...values: A): void {
    try {
      handler?.(...values)
    } catch (error) {
      this.#options.logger.error(`a handler of ${this.#options.gvr.resource} failed`, {
        error: toError(error).stack ?? toError(error).message,
      })
    }
  }
}

function indexObject<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.keysOf(object)) {
    let objects = index.values.get(value)
    if (objects === undefined) index.values.set(value, (objects = new Map()))
    objects.set(key, object)
  }
}

function unindexObject<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.keysOf(object)) {
    const objects = index.values.get(value)
    objects?.delete(key)
    if (objects?.size === 0) index.values.delete(value)
  }
}
