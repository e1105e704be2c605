/** For tests: the verbs of a Kubernetes client over a map, with versions, conflicts and watches. */
import type { KubeClient, ListOptions, WatchEvent } from '../client/index.ts'
import {
  failure,
  type GroupVersionResource,
  type KubeList,
  type KubeObject,
} from '../kube/index.ts'

interface Watcher {
  readonly resource: string
  readonly matches: (object: KubeObject) => boolean
  push(event: WatchEvent<KubeObject>): void
}

export class MemoryKube {
  readonly #objects = new Map<string, KubeObject>()
  readonly #watchers = new Set<Watcher>()
  #version = 0

  /** As the client that code under test takes; verbs it does not need are not there. */
  asClient(): KubeClient {
    return this as unknown as KubeClient // see above
  }

  async get<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): Promise<T | undefined> {
    return structuredClone(this.#objects.get(path(gvr, namespace, name))) as T | undefined
  }

  async list<T extends KubeObject>(
    gvr: GroupVersionResource,
    options: ListOptions = {},
  ): Promise<KubeList<T>> {
    const items = [...this.#objects]
      .filter(([key]) => key.startsWith(`${gvr.resource}/`))
      .map(([, item]) => item)
    return {
      apiVersion: 'v1',
      kind: 'List',
      metadata: { resourceVersion: String(this.#version) },
      items: structuredClone(items.filter(selects(options))) as T[],
    }
  }

  async create<T extends KubeObject>(gvr: GroupVersionResource, object: T): Promise<T> {
    const { namespace, name } = object.metadata
    if (this.#objects.has(path(gvr, namespace, name)))
      throw failure(409, 'AlreadyExists', `${name} exists`)
    return this.#store(gvr, object, 'ADDED')
  }

  async update<T extends KubeObject>(gvr: GroupVersionResource, object: T): Promise<T> {
    const { namespace, name, resourceVersion } = object.metadata
    const present = this.#objects.get(path(gvr, namespace, name))
    if (present === undefined) throw failure(404, 'NotFound', `${name} not found`)
    if (resourceVersion !== undefined && resourceVersion !== present.metadata.resourceVersion) {
      throw failure(409, 'Conflict', `${name} was changed`)
    }
    return this.#store(gvr, object, 'MODIFIED')
  }

  async patch<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    _type: string,
    body: Partial<T>,
  ): Promise<T> {
    const present = this.#objects.get(path(gvr, namespace, name))
    if (present === undefined) throw failure(404, 'NotFound', `${name} not found`)
    const metadata = { ...present.metadata, ...body.metadata }
    return this.#store(gvr, { ...present, ...body, metadata } as T, 'MODIFIED')
  }

  async delete(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): Promise<void> {
    const key = path(gvr, namespace, name)
    const present = this.#objects.get(key)
    if (present === undefined) throw failure(404, 'NotFound', `${name} not found`)
    this.#objects.delete(key)
    this.#tell(gvr, 'DELETED', {
      ...present,
      metadata: { ...present.metadata, resourceVersion: this.#next() },
    })
  }

  async *watch<T extends KubeObject>(
    gvr: GroupVersionResource,
    options: ListOptions,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>> {
    const waiting: WatchEvent<KubeObject>[] = []
    let wake = (): void => {}
    const watcher: Watcher = {
      resource: gvr.resource,
      matches: selects(options),
      push: (event) => {
        waiting.push(event)
        wake()
      },
    }
    this.#watchers.add(watcher)
    signal.addEventListener('abort', () => wake(), { once: true })
    while (!signal.aborted) {
      const event = waiting.shift()
      if (event !== undefined) yield event as WatchEvent<T>
      else await new Promise<void>((resolve) => (wake = resolve))
    }
    this.#watchers.delete(watcher)
  }

  #store<T extends KubeObject>(
    gvr: GroupVersionResource,
    object: T,
    type: 'ADDED' | 'MODIFIED',
  ): T {
    const { namespace, name } = object.metadata
    const stored = structuredClone(object)
    stored.metadata.resourceVersion = this.#next()
    stored.metadata.uid ??= `uid-${stored.metadata.resourceVersion}`
    this.#objects.set(path(gvr, namespace, name), stored)
    this.#tell(gvr, type, stored)
    return structuredClone(stored)
  }

  #tell(gvr: GroupVersionResource, type: WatchEvent<KubeObject>['type'], object: KubeObject): void {
    for (const watcher of this.#watchers) {
      if (watcher.resource === gvr.resource && watcher.matches(object)) {
        watcher.push({ type, object: structuredClone(object) })
      }
    }
  }

  #next(): string {
    return String(++this.#version)
  }
}

function path(gvr: GroupVersionResource, namespace: string | undefined, name: string): string {
  return `${gvr.resource}/${namespace ?? ''}/${name}`
}

function selects(options: ListOptions): (object: KubeObject) => boolean {
  const name = /^metadata\.name=(.*)$/.exec(options.fieldSelector ?? '')?.[1]
  return (object) => name === undefined || object.metadata.name === name
}
