/** All objects of one resource in memory, the recent changes, and those who watch them. */
import type { Clock } from '../../base/index.ts'
import type { Entry, FieldsOf } from './entry.ts'
import { History } from './history.ts'

export interface ObjectEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly revision: number
  /** For a deletion the last state, carrying the deletion's own version. */
  readonly entry: Entry
  readonly previous: Entry | undefined
}

export type EventListener = (event: ObjectEvent) => void
/** Gets what one commit changed, in order. The array is never changed, so that work on it can be shared. */
export type BatchListener = (events: readonly ObjectEvent[]) => void

/** `namespace/name`; the namespace is empty for cluster-scoped objects. */
export function entryKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

export class Bucket {
  /** `group/resource`. */
  readonly id: string
  /** The version of the last change; caches compare it. */
  lastRevision = 0
  fieldsOf: FieldsOf
  readonly history = new History()
  readonly #entries = new Map<string, Entry>()
  readonly #pending = new Map<
    string,
    { readonly revision: number; readonly entry: Entry | undefined }
  >()
  readonly #listeners = new Set<EventListener>()
  readonly #batchListeners = new Set<BatchListener>()
  readonly #clock: Clock
  #batch: ObjectEvent[] = []
  /** Made with the first list, then kept in order. */
  #sortedKeys: string[] | undefined

  constructor(id: string, clock: Clock, fieldsOf: FieldsOf) {
    this.id = id
    this.#clock = clock
    this.fieldsOf = fieldsOf
  }

  /** Changes up to this one are no longer in the history. */
  get floor(): number {
    return this.history.floor
  }

  set floor(revision: number) {
    this.history.floor = revision
  }

  /** The committed state, which readers see. */
  get(namespace: string, name: string): Entry | undefined {
    return this.#entries.get(entryKey(namespace, name))
  }

  /** The newest state including changes on their way to the disk; writers build on it. */
  latest(namespace: string, name: string): Entry | undefined {
    const key = entryKey(namespace, name)
    const pending = this.#pending.get(key)
    return pending === undefined ? this.#entries.get(key) : pending.entry
  }

  get size(): number {
    return this.#entries.size
  }

  /** Committed objects in no order. */
  entries(): Iterable<Entry> {
    return this.#entries.values()
  }

  /**
   * Committed objects in the order of namespace and name.
   * @param namespace undefined: of all namespaces
   * @param from the first key of interest
   */
  list(namespace?: string, from = ''): Entry[] {
    this.#sortedKeys ??= [...this.#entries.keys()].toSorted(byCodeUnits)
    const keys = this.#sortedKeys
    const prefix = namespace === undefined ? '' : `${namespace}/`
    const first = lowerBound(keys, from > prefix ? from : prefix)
    // "0" comes right after "/".
    const end = namespace === undefined ? keys.length : lowerBound(keys, `${namespace}0`)
    const all: Entry[] = []
    for (let index = first; index < end; index++) {
      all.push(this.#entries.get(keys[index] as string) as Entry)
    }
    return all
  }

  load(entry: Entry): void {
    this.#entries.set(entryKey(entry.namespace, entry.name), entry)
    this.#sortedKeys = undefined
    this.lastRevision = Math.max(this.lastRevision, entry.revision)
  }

  setPending(key: string, revision: number, entry: Entry | undefined): void {
    this.#pending.set(key, { revision, entry })
  }

  /** Forgets what could not be written. */
  dropPending(): void {
    this.#pending.clear()
  }

  /** Takes over a committed change and tells the listeners. `next` is undefined for a deletion. */
  apply(event: ObjectEvent, next: Entry | undefined): void {
    const key = entryKey(event.entry.namespace, event.entry.name)
    if (event.type !== 'MODIFIED') this.#sortKey(key, next !== undefined)
    if (next === undefined) this.#entries.delete(key)
    else this.#entries.set(key, next)
    if (this.#pending.get(key)?.revision === event.revision) this.#pending.delete(key)
    this.lastRevision = event.revision
    this.history.push(event, this.#clock.now())
    for (const listener of this.#listeners) listener(event)
    if (this.#batchListeners.size > 0) this.#batch.push(event)
  }

  /** The commit is applied as a whole: tells those who take its changes at once. */
  endBatch(): void {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    for (const listener of this.#batchListeners) listener(batch)
  }

  /** The changes after `revision`, or undefined when some of them are forgotten. */
  since(revision: number): ObjectEvent[] | undefined {
    return this.history.since(revision)
  }

  listen(listener: EventListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  listenBatches(listener: BatchListener): () => void {
    this.#batchListeners.add(listener)
    return () => void this.#batchListeners.delete(listener)
  }

  #sortKey(key: string, present: boolean): void {
    const keys = this.#sortedKeys
    if (keys === undefined) return
    const place = lowerBound(keys, key)
    if (present) keys.splice(place, 0, key)
    else keys.splice(place, 1)
  }
}

function byCodeUnits(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

function lowerBound(keys: readonly string[], wanted: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < wanted) low = middle + 1
    else high = middle
  }
  return low
}
