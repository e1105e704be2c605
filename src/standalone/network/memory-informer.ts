/** An informer without a server, for tests of what reads informers. */
import type { Informer, InformerHandlers } from '../../client/index.ts'
import { objectKey } from '../../client/index.ts'
import type { KubeObject } from '../../kube/index.ts'

export class MemoryInformer<T extends KubeObject> implements Informer<T> {
  readonly synced = true
  readonly #objects = new Map<string, T>()
  readonly #handlers = new Set<InformerHandlers<T>>()
  readonly #indexes = new Map<string, (object: T) => readonly string[]>()

  constructor(...objects: T[]) {
    for (const object of objects) this.set(object)
  }

  set(object: T): void {
    const key = objectKey(object)
    const previous = this.#objects.get(key)
    this.#objects.set(key, object)
    for (const handlers of this.#handlers) {
      if (previous === undefined) handlers.added?.(object)
      else handlers.updated?.(object, previous)
    }
  }

  remove(key: string): void {
    const object = this.#objects.get(key)
    this.#objects.delete(key)
    if (object !== undefined) for (const handlers of this.#handlers) handlers.deleted?.(object)
  }

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
    return () => this.#handlers.delete(handlers)
  }

  addIndex(name: string, keysOf: (object: T) => readonly string[]): void {
    this.#indexes.set(name, keysOf)
  }

  byIndex(name: string, value: string): T[] {
    const keysOf = this.#indexes.get(name)
    return this.list().filter((object) => keysOf?.(object).includes(value) === true)
  }
}
