/** The Store on SQLite: this half lives on the event loop and talks to the worker that owns the file. */
import { Worker } from 'node:worker_threads'
import { MeshError } from '../../base/index.ts'
import { limits } from '../limits.ts'
import type { Reply, Request, WorkerOptions } from './messages.ts'
import type { Change, Durability, Store, StoredObject, StoreStats } from './store.ts'

interface Waiter {
  resolve(result: number | StoreStats | undefined): void
  reject(error: Error): void
}

type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never

export class SqliteStore implements Store {
  readonly #options: WorkerOptions
  readonly #waiting = new Map<number, Waiter>()
  #worker: Worker | undefined
  #nextId = 1
  #onObjects: ((objects: readonly StoredObject[]) => void) | undefined

  /** @param fileBytesMax size of the file beyond which writes fail as on a full disk */
  constructor(
    path: string,
    fileBytesMax: number = limits.stateBytesMax * limits.fileBytesPerStateByte,
  ) {
    this.#options = { path, fileBytesMax, rowsPerMessage: limits.loadRowsMax }
  }

  async open(onObjects: (objects: readonly StoredObject[]) => void): Promise<number> {
    this.#onObjects = onObjects
    const worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), {
      workerData: this.#options,
    })
    this.#worker = worker
    worker.on('message', (reply: Reply) => this.#receive(reply))
    worker.on('error', (error) => this.#fail(error))
    worker.on('exit', () => this.#fail(new MeshError('REGISTRY_CLOSED', 'the store has ended')))
    try {
      return (await this.#ask({ do: 'open' })) as number
    } catch (error) {
      await this.close().catch(() => {})
      throw error
    }
  }

  async commit(
    changes: readonly Change[],
    revision: number,
    durability: Durability,
  ): Promise<void> {
    await this.#ask({ do: 'commit', changes, revision, durability })
  }

  async backup(path: string): Promise<void> {
    await this.#ask({ do: 'backup', path })
  }

  async compact(): Promise<void> {
    await this.#ask({ do: 'compact' })
  }

  async stats(): Promise<StoreStats> {
    return (await this.#ask({ do: 'stats' })) as StoreStats
  }

  async close(): Promise<void> {
    if (this.#worker === undefined) return
    await this.#ask({ do: 'close' })
    const worker = this.#worker
    this.#worker = undefined
    await worker.terminate()
  }

  #ask(body: RequestBody): Promise<number | StoreStats | undefined> {
    const worker = this.#worker
    if (worker === undefined) throw new MeshError('REGISTRY_CLOSED', 'the store is not open')
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      worker.postMessage({ ...body, id })
    })
  }

  #receive(reply: Reply): void {
    if ('objects' in reply) return this.#onObjects?.(reply.objects)
    const waiter = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('failure' in reply) {
      const { code, message, hint } = reply.failure
      waiter?.reject(new MeshError(code, message, hint === undefined ? {} : { hint }))
    } else waiter?.resolve(reply.result)
  }

  #fail(error: Error): void {
    for (const waiter of this.#waiting.values()) waiter.reject(error)
    this.#waiting.clear()
  }
}
