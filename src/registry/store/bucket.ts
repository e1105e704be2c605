/** All objects of one resource in memory, the recent changes, and those who watch them. */
import type { Clock } from '../../base/index.ts'
import { limits } from '../limits.ts'
import type { Entry, FieldsOf } from './entry.ts'

export interface ObjectEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly revision: number
  /** For a deletion the last state, carrying the deletion's own version. */
  readonly entry: Entry
  readonly previous: Entry | undefined
}

export type EventListener = (event: ObjectEvent) => void

/** `namespace/name`; the namespace is empty for cluster-scoped objects. */
export function entryKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

export class Bucket {
  /** `group/resource`. */
  readonly id: string
  /** The version of the last change; caches compare it. */
  lastRevision = 0
  /** Changes up to this one are no longer in the history. */
  floor = 0
  fieldsOf: FieldsOf
  readonly #entries = new Map<string, Entry>()
  readonly #pending = new Map<
    string,
    { readonly revision: number; readonly entry: Entry | undefined }
  >()
  readonly #listeners = new Set<EventListener>()
  readonly #clock: Clock
  #history: { readonly event: ObjectEvent; readonly at: number }[] = []
  #historyStart = 0
  #historyBytes = 0
  #sortedKeys: string[] | undefined

  constructor(id: string, clock: Clock, fieldsOf: FieldsOf) {
    this.id = id
    this.#clock = clock
    this.fieldsOf = fieldsOf
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

  /** Committed objects in the order of namespace and name. */
  list(namespace?: string): Entry[] {
    this.#sortedKeys ??= [...this.#entries.keys()].toSorted(byCodeUnits)
    const all: Entry[] = []
    const prefix = namespace === undefined ? '' : `${namespace}/`
    for (
      let index = lowerBound(this.#sortedKeys, prefix);
      index < this.#sortedKeys.length;
      index++
    ) {
      const key = this.#sortedKeys[index] as string
      if (!key.startsWith(prefix)) break
      all.push(this.#entries.get(key) as Entry)
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
    if (next === undefined) this.#entries.delete(key)
    else this.#entries.set(key, next)
    if (event.type !== 'MODIFIED') this.#sortedKeys = undefined
    if (this.#pending.get(key)?.revision === event.revision) this.#pending.delete(key)
    this.lastRevision = event.revision
    this.#history.push({ event, at: this.#clock.now() })
    this.#historyBytes += event.entry.bytes.length
    this.#trimHistory()
    for (const listener of this.#listeners) listener(event)
  }

  /** The changes after `revision`, or undefined when some of them are forgotten. */
  since(revision: number): ObjectEvent[] | undefined {
    if (revision < this.floor) return undefined
    const events: ObjectEvent[] = []
    for (let index = this.#history.length - 1; index >= this.#historyStart; index--) {
      const { event } = this.#history[index] as { event: ObjectEvent }
      if (event.revision <= revision) break
      events.push(event)
    }
    return events.reverse()
  }

  listen(listener: EventListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #trimHistory(): void {
    const oldest = this.#clock.now() - limits.continuationAgeMs
    while (this.#historyStart < this.#history.length) {
      const first = this.#history[this.#historyStart] as { event: ObjectEvent; at: number }
      const count = this.#history.length - this.#historyStart
      if (
        first.at >= oldest &&
        count <= limits.historyEventsMax &&
        this.#historyBytes <= limits.historyBytesMax
      ) {
        break
      }
      this.#historyBytes -= first.event.entry.bytes.length
      this.floor = first.event.revision
      this.#historyStart++
    }
    // Compacting only now and then keeps the cost of a change constant.
    if (this.#historyStart > 1024 && this.#historyStart * 2 > this.#history.length) {
      this.#history = this.#history.slice(this.#historyStart)
      this.#historyStart = 0
    }
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
