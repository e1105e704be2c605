/**
 * The objects and the global revision counter: changes get their version at once, are written in
 * groups, and become visible (to readers, watchers and their own writer) only after the commit.
 */
import {
  type Clock,
  type Component,
  type Logger,
  MeshError,
  type Timer,
  toError,
} from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import { limits } from '../limits.ts'
import { Bucket, entryKey, type ObjectEvent } from './bucket.ts'
import { Capacity } from './capacity.ts'
import { Entry, type FieldsOf, ordered } from './entry.ts'
import { trimHistories } from './history.ts'
import type { Change, Durability, Store, StoredObject } from './store.ts'

/** The state that a writer started from is no longer the newest. */
export class StaleWrite extends Error {
  constructor(key: string) {
    super(`${key} was changed meanwhile`)
    this.name = 'StaleWrite'
  }
}

/**
 * Kinds whose writes don't wait for the disk. A lost Event is a lost remark, and a lost renewal of a Lease is one
 * that its holder makes again within seconds; both are written all the time. Everything else is synced.
 */
const relaxedBuckets = new Set(['/events', 'coordination.k8s.io/leases'])

interface Pending {
  readonly bucket: Bucket
  readonly change: Change
  readonly event: ObjectEvent
  readonly next: Entry | undefined
  resolve(entry: Entry): void
  reject(error: Error): void
}

export interface ObjectStoreOptions {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  /** Which fields selectors may ask for, by bucket. */
  readonly fieldsOf: (bucketId: string) => FieldsOf
  /** Beyond it, writes that add something fail; default `limits.stateBytesMax`. */
  readonly stateBytesMax?: number
}

export class ObjectStore implements Component {
  readonly #options: ObjectStoreOptions
  readonly #buckets = new Map<string, Bucket>()
  readonly #capacity: Capacity
  #revision = 0
  #assigned = 0
  #queue: Pending[] = []
  #committing: Promise<void> | undefined
  #broken: MeshError | undefined
  #housekeeping: Timer | undefined
  #revisionWaiters: { readonly revision: number; readonly wake: () => void }[] = []

  constructor(options: ObjectStoreOptions) {
    this.#options = options
    this.#capacity = new Capacity(options.stateBytesMax)
  }

  async start(): Promise<void> {
    const loaded: Entry[] = []
    this.#revision = await this.#options.store.open((objects) => {
      for (const object of objects) loaded.push(this.#load(object))
    })
    this.#assigned = this.#revision
    for (const bucket of this.#buckets.values()) bucket.floor = this.#revision
    this.#capacity.count(this.#buckets.values())
    const keepHouse = (): void => void this.#keepHouse()
    this.#housekeeping = this.#options.clock.every(limits.housekeepingPeriodMs, keepHouse, {
      background: true,
    })
    this.#options.logger.info('the registry is loaded', {
      objects: loaded.length,
      revision: this.#revision,
    })
  }

  async stop(): Promise<void> {
    this.#housekeeping?.cancel()
    await this.#committing
    await this.#options.store.close()
  }

  /** The version of the last committed change. */
  get revision(): number {
    return this.#revision
  }

  bucket(id: string): Bucket {
    let bucket = this.#buckets.get(id)
    if (bucket === undefined) {
      bucket = new Bucket(id, this.#options.clock, this.#options.fieldsOf(id))
      bucket.floor = this.#revision
      this.#buckets.set(id, bucket)
    }
    return bucket
  }

  /** Waits until `revision` is committed; false when that takes too long. */
  async reached(revision: number, waitMs: number): Promise<boolean> {
    if (revision <= this.#revision) return true
    return new Promise((resolve) => {
      const waiter = {
        revision,
        wake: () => {
          timer.cancel()
          resolve(true)
        },
      }
      const timer = this.#options.clock.after(waitMs, () => {
        this.#revisionWaiters = this.#revisionWaiters.filter((other) => other !== waiter)
        resolve(false)
      })
      this.#revisionWaiters.push(waiter)
    })
  }

  /**
   * Replaces `expected` (undefined: creates) by `object` (undefined: deletes). Throws StaleWrite at once when
   * `expected` is not the newest state; resolves with what was stored when it is on disk.
   */
  write(
    bucket: Bucket,
    place: { readonly namespace: string; readonly name: string },
    expected: Entry | undefined,
    object: KubeObject | undefined,
  ): Promise<Entry> {
    if (this.#broken !== undefined) throw this.#broken
    const { namespace, name } = place
    const key = entryKey(namespace, name)
    if (bucket.latest(namespace, name) !== expected) throw new StaleWrite(`${bucket.id}/${key}`)
    if (object === undefined && expected === undefined) throw new StaleWrite(`${bucket.id}/${key}`)
    const revision = this.#assigned + 1
    const state = object ?? (expected as Entry).parse()
    state.metadata.resourceVersion = String(revision)
    const bytes = Buffer.from(JSON.stringify(ordered(state)))
    if (object !== undefined && bytes.length > limits.objectBytesMax)
      throw tooLarge(key, bytes.length)
    this.#capacity.replace(expected, object === undefined ? undefined : bytes)
    this.#assigned = revision
    const entry = new Entry(place, revision, bytes, bucket.fieldsOf).withIndexOf(state)
    const next = object === undefined ? undefined : entry
    const type = object === undefined ? 'DELETED' : expected === undefined ? 'ADDED' : 'MODIFIED'
    bucket.setPending(key, revision, next)
    return new Promise((resolve, reject) => {
      this.#queue.push({
        bucket,
        change: {
          key: `${bucket.id}/${key}`,
          revision,
          bytes: next === undefined ? undefined : bytes,
        },
        event: { type, revision, entry, previous: expected },
        next,
        resolve,
        reject,
      })
      this.#committing ??= this.#commitAll()
    })
  }

  async backup(path: string): Promise<void> {
    await this.#options.store.backup(path)
  }

  async #commitAll(): Promise<void> {
    // One turn of the event loop, so that writers woken together share the first commit.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#queue.length > 0) {
      const batch = this.#nextBatch()
      const last = (batch.at(-1) as Pending).change.revision
      const relaxed = batch.every(({ bucket }) => relaxedBuckets.has(bucket.id))
      const durability: Durability = relaxed ? 'relaxed' : 'synced'
      const changes = batch.map((pending) => pending.change)
      try {
        await this.#options.store.commit(changes, last, durability)
      } catch (error) {
        this.#fail(batch, error)
        continue
      }
      for (const pending of batch) {
        this.#revision = pending.change.revision
        pending.bucket.apply(pending.event, pending.next)
        pending.resolve(pending.event.entry)
      }
      for (const bucket of new Set(batch.map((pending) => pending.bucket))) bucket.endBatch()
      this.#wakeRevisionWaiters()
    }
    this.#committing = undefined
  }

  /** As much of the queue as one transaction may take. */
  #nextBatch(): Pending[] {
    let bytes = 0
    let count = 0
    for (const { change } of this.#queue) {
      bytes += change.bytes?.length ?? 0
      if (count > 0 && (count === limits.commitBatchMax || bytes > limits.commitBytesMax)) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  /** Bounds what only time and other resources' changes can bound: histories, and free space in the file. */
  async #keepHouse(): Promise<void> {
    const histories = [...this.#buckets.values()].map(({ history }) => history)
    trimHistories(histories, this.#options.clock.now())
    try {
      await this.#options.store.compact()
    } catch (error) {
      // Nothing is lost by it: the file stays as large as it is.
      this.#options.logger.warn('the database could not be compacted', {
        error: toError(error).message,
      })
    }
  }

  /** Later changes were built on the lost ones, so all that is queued fails with them. */
  #fail(batch: readonly Pending[], thrown: unknown): void {
    const error = toError(thrown)
    const lost = [...batch, ...this.#queue]
    this.#queue = []
    for (const bucket of this.#buckets.values()) bucket.dropPending()
    this.#capacity.count(this.#buckets.values())
    const full = error instanceof MeshError && error.code === 'REGISTRY_STORAGE_FULL'
    if (!full) {
      // After a failed sync the state on disk is unknown; writing on could hide a loss.
      this.#broken = new MeshError(
        'REGISTRY_BROKEN',
        `the registry can't write: ${error.message}`,
        {
          hint: 'Reads go on. Repair the disk, then restart.',
          cause: error,
        },
      )
    }
    this.#options.logger.error('changes could not be written', {
      count: lost.length,
      error: error.message,
    })
    for (const pending of lost) pending.reject(this.#broken ?? error)
  }

  #wakeRevisionWaiters(): void {
    const waiting = this.#revisionWaiters
    if (waiting.length === 0) return
    this.#revisionWaiters = waiting.filter((waiter) => waiter.revision > this.#revision)
    for (const waiter of waiting) if (waiter.revision <= this.#revision) waiter.wake()
  }

  #load(object: StoredObject): Entry {
    const [group = '', resource = '', namespace = '', name = ''] = object.key.split('/')
    const bucket = this.bucket(`${group}/${resource}`)
    const { buffer, byteOffset, byteLength } = object.bytes
    const bytes = Buffer.from(buffer, byteOffset, byteLength)
    const entry = new Entry({ namespace, name }, object.revision, bytes, bucket.fieldsOf)
    bucket.load(entry)
    return entry
  }
}

function tooLarge(key: string, bytes: number): MeshError {
  return new MeshError(
    'REGISTRY_OBJECT_TOO_LARGE',
    `${key} has ${bytes} bytes; objects may have up to ${limits.objectBytesMax}`,
    { hint: 'Split it, or keep large data in files.' },
  )
}
