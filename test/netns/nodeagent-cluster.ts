/** A registry in memory, as far as the node agent sees one: two informers, `get` and `patch`. */
import assert from 'node:assert'
import type { Informer, InformerHandlers, KubeClient } from '../../src/client/index.ts'
import type { KubeObject } from '../../src/kube/index.ts'
import type { NetnsSource, Pod } from '../../src/nodeagent/index.ts'

class Cache<T extends KubeObject> implements Informer<T> {
  readonly synced = true
  readonly #objects = new Map<string, T>()
  readonly #handlers = new Set<InformerHandlers<T>>()

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  get(key: string): T | undefined {
    return this.#objects.get(key)
  }

  list(): T[] {
    return [...this.#objects.values()]
  }

  on(handlers: InformerHandlers<T>): () => void {
    this.#handlers.add(handlers)
    for (const object of this.#objects.values()) handlers.added?.(object)
    return () => void this.#handlers.delete(handlers)
  }

  addIndex(): void {}
  byIndex(): T[] {
    return []
  }

  store(object: T): void {
    const key = keyOf(object)
    const previous = this.#objects.get(key)
    this.#objects.set(key, object)
    for (const handlers of this.#handlers) {
      if (previous === undefined) handlers.added?.(object)
      else handlers.updated?.(object, previous)
    }
  }

  remove(key: string): void {
    const object = this.#objects.get(key)
    assert.ok(object !== undefined)
    this.#objects.delete(key)
    for (const handlers of this.#handlers) handlers.deleted?.(object)
  }
}

function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`
}

export class Cluster {
  readonly pods = new Cache<Pod>()
  readonly namespaces = new Cache<KubeObject>()
  /** Every write, as `resource/subresource name annotation`. */
  readonly writes: string[] = []
  readonly events: string[] = []

  /** What the agent uses of a client. */
  get client(): KubeClient {
    const get = async (_: unknown, __: unknown, name: string) => this.namespaces.get(name)
    const patch = async (
      gvr: { resource: string },
      namespace: string,
      name: string,
      type: string,
      body: { metadata: { uid: string; annotations: Record<string, string | null> } },
      options: { subresource: string },
    ): Promise<Pod> => {
      assert.strictEqual(type, 'merge')
      const pod = this.pods.get(`${namespace}/${name}`)
      assert.ok(pod !== undefined && pod.metadata.uid === body.metadata.uid)
      const annotations = { ...pod.metadata.annotations }
      for (const [key, value] of Object.entries(body.metadata.annotations)) {
        this.writes.push(`${gvr.resource}/${options.subresource} ${name} ${value}`)
        if (value === null) delete annotations[key]
        else annotations[key] = value
      }
      const changed = { ...pod, metadata: { ...pod.metadata, annotations } }
      this.pods.store(changed)
      return changed
    }
    // Only these two verbs are called.
    return { get, patch } as unknown as KubeClient
  }

  namespace(name: string, labels: Record<string, string> = {}): void {
    this.namespaces.store({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
  }

  /** Creates or changes a pod of namespace `apps`. */
  pod(name: string, metadata: Partial<Pod['metadata']> = {}, phase = 'Running'): Pod {
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'apps', uid: `uid-${name}`, ...metadata },
      spec: { serviceAccountName: `sa-${name}` },
      status: { phase },
    }
    this.pods.store(pod)
    return pod
  }

  redirection(name: string): string | undefined {
    return this.pods.get(`apps/${name}`)?.metadata.annotations?.['ambient.istio.io/redirection']
  }

  record(object: KubeObject, _: string, reason: string, message: string): void {
    this.events.push(`${object.metadata.name} ${reason}: ${message}`)
  }
}

/** The runtime's side: which pod has which namespace. */
export class Sandboxes implements NetnsSource {
  readonly #fds = new Map<string, number>()
  readonly #listeners = new Set<(uid: string) => void>()

  netnsOf(uid: string): { fd: number; path: string } | undefined {
    const fd = this.#fds.get(uid)
    return fd === undefined ? undefined : { fd, path: `/proc/self/fd/${fd}` }
  }

  onChange(listener: (uid: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** @param fd undefined: the sandbox is gone */
  set(uid: string, fd: number | undefined): void {
    if (fd === undefined) this.#fds.delete(uid)
    else this.#fds.set(uid, fd)
    for (const listener of this.#listeners) listener(uid)
  }
}
