/** WATCH: initial state or replay, live events, bookmarks, and a bound for slow clients. */
import type { Clock, Timer } from '../../base/index.ts'
import { failure, tooOldResourceVersion } from '../../kube/index.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { ObjectEvent } from '../store/bucket.ts'
import type { Entry } from '../store/entry.ts'
import type { ObjectStore } from '../store/objects.ts'
import { type EntryMatcher, matcherOf, versionOf, waitForVersion } from './list.ts'
import type { Target } from './target.ts'
import { TimeSlice, type View } from './view.ts'

type EventType = ObjectEvent['type']

export interface WatchOptions {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: () => number
  /** Streams that are open, so that a stopping server can end them. */
  readonly open: Set<Watch>
}

/** The serialised events of one commit, shared by all who watch the same version of the same resource. */
const sharedBatches = new WeakMap<readonly ObjectEvent[], Map<string, Buffer>>()
const sharedFrames = new WeakMap<Entry, Map<string, Buffer>>()

/** Answers a watch request; returns when the stream has begun. */
export async function watch(
  options: WatchOptions,
  exchange: Exchange,
  target: Target,
  view: View,
): Promise<void> {
  const { query } = exchange
  const wantsInitial = query.get('sendInitialEvents')
  if (wantsInitial !== null && query.get('resourceVersionMatch') !== 'NotOlderThan') {
    const why = 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'
    throw failure(
      422,
      'Invalid',
      `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: ${why}`,
    )
  }
  const match = matcherOf(exchange, target)
  const from = versionOf(exchange)
  await waitForVersion(options.store, from)
  const initial = exchange.flag('sendInitialEvents') || (wantsInitial === null && (from ?? 0) === 0)
  const bookmarks = exchange.flag('allowWatchBookmarks')
  const endMark = bookmarks && (exchange.flag('sendInitialEvents') || from === undefined)
  const stream = new Watch(options, exchange, { target, view, match, bookmarks })
  stream.begin(initial ? { initial: true, endMark } : { initial: false, from: from ?? 0 })
}

interface WatchSubject {
  readonly target: Target
  readonly view: View
  readonly match: EntryMatcher | undefined
  readonly bookmarks: boolean
}

/** One open watch stream. */
export class Watch {
  readonly #options: WatchOptions
  readonly #exchange: Exchange
  readonly #subject: WatchSubject
  readonly #timers: Timer[] = []
  #stopListening: (() => void) | undefined
  /** Events that wait while the initial state is still being written. */
  #held: Buffer[] | undefined
  #heldBytes = 0
  #ended = false

  constructor(options: WatchOptions, exchange: Exchange, subject: WatchSubject) {
    this.#options = options
    this.#exchange = exchange
    this.#subject = subject
  }

  /** Snapshot and subscription happen in one turn, so that no event is lost or doubled. */
  begin(start: { initial: true; endMark: boolean } | { initial: false; from: number }): void {
    const { target } = this.#subject
    const { store } = this.#options
    this.#exchange.head(200, { 'content-type': 'application/json' })
    this.#exchange.response.flushHeaders()
    if (start.initial) {
      const { revision } = store
      const entries = target.bucket.list(target.namespace)
      this.#subscribe()
      void this.#sendInitial(entries, start.endMark ? revision : undefined)
      return
    }
    const missed = target.bucket.since(start.from)
    if (missed === undefined) {
      const { status } = tooOldResourceVersion(String(start.from), String(target.bucket.floor))
      this.#exchange.response.end(frame('ERROR', Buffer.from(JSON.stringify(status))))
      return
    }
    this.#subscribe()
    void this.#sendPast(missed, (event) => this.#framesOf([event]))
  }

  /** Ends the stream in order; the client resumes from the last version it saw. */
  end(): void {
    if (this.#ended) return
    if (this.#subject.bookmarks && this.#held === undefined) this.#bookmark()
    this.#close()
    this.#exchange.response.end()
  }

  #subscribe(): void {
    const { clock, open, random } = this.#options
    this.#stopListening = this.#subject.target.bucket.listenBatches((events) => this.#offer(events))
    open.add(this)
    this.#exchange.onClose(() => this.#close())
    const asked = this.#exchange.integer('timeoutSeconds')
    const seconds =
      asked === undefined || asked === 0
        ? limits.watchTimeoutSeconds * (1 + random())
        : Math.min(asked, limits.watchTimeoutSecondsMax)
    this.#timers.push(clock.after(seconds * 1000, () => this.end(), { background: true }))
    if (this.#subject.bookmarks) {
      const mark = (): void => this.#bookmark()
      this.#timers.push(clock.every(limits.bookmarkPeriodMs, mark, { background: true }))
    }
  }

  #close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#stopListening?.()
    for (const timer of this.#timers) timer.cancel()
    this.#options.open.delete(this)
    this.#held = undefined
  }

  async #sendInitial(entries: readonly Entry[], endRevision: number | undefined): Promise<void> {
    const { match, view } = this.#subject
    const end = endRevision === undefined ? [] : [this.#bookmarkFrame(endRevision, true)]
    const encode = (entry: Entry): Buffer[] =>
      match === undefined || match(entry) ? [frame('ADDED', view.event(entry))] : []
    await this.#sendPast(entries, encode, end)
  }

  /**
   * Sends what was there before the subscription as fast as the client reads, in large pieces, and lets others work
   * in between. Live events wait, so that the order is kept.
   */
  async #sendPast<T>(
    items: readonly T[],
    encode: (item: T) => Buffer[],
    end: readonly Buffer[] = [],
  ): Promise<void> {
    this.#held = []
    const slice = new TimeSlice(this.#options.clock)
    let chunks: Buffer[] = []
    let size = 0
    for (const item of items) {
      for (const bytes of encode(item)) {
        chunks.push(bytes)
        size += bytes.length
      }
      if (slice.over) await slice.next()
      if (this.#ended) return
      if (size < limits.listChunkBytes) continue
      if (!(await this.#exchange.write(Buffer.concat(chunks))) || this.#ended) return
      chunks = []
      size = 0
    }
    const held = this.#held ?? []
    this.#held = undefined
    this.#writeAll([...chunks, ...end, ...held])
  }

  /** Live events: one write for all that a commit changed, made once for all watches of the same kind. */
  #offer(events: readonly ObjectEvent[]): void {
    const { view, match, target } = this.#subject
    if (!view.plain || match !== undefined) return this.#push(this.#framesOf(events))
    let batches = sharedBatches.get(events)
    if (batches === undefined) {
      batches = new Map()
      sharedBatches.set(events, batches)
    }
    const key = `${target.type.group}/${target.type.version} ${target.namespace ?? ''}`
    let batch = batches.get(key)
    if (batch === undefined) {
      batch = Buffer.concat(this.#framesOf(events))
      batches.set(key, batch)
    }
    this.#push([batch])
  }

  /** The events in the sense of the selectors: entering is ADDED, leaving is DELETED. */
  #framesOf(events: readonly ObjectEvent[]): Buffer[] {
    const { match, target } = this.#subject
    const frames: Buffer[] = []
    for (const event of events) {
      if (target.namespace !== undefined && event.entry.namespace !== target.namespace) continue
      const type = match === undefined ? event.type : transition(event, match)
      if (type !== undefined) frames.push(this.#encode(type, event.entry))
    }
    return frames
  }

  #push(frames: readonly Buffer[]): void {
    if (this.#held === undefined) return this.#writeAll(frames)
    for (const bytes of frames) {
      this.#held.push(bytes)
      this.#heldBytes += bytes.length
    }
    this.#checkBehind()
  }

  #writeAll(frames: readonly Buffer[]): void {
    const bytes = frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames)
    if (bytes.length === 0 || this.#ended || this.#exchange.response.destroyed) return
    this.#heldBytes = 0
    this.#exchange.response.write(bytes)
    this.#checkBehind()
  }

  /** Bytes that wait for the client. */
  get behindBytes(): number {
    return this.#heldBytes + this.#exchange.unsentBytes
  }

  /** Cuts a client that can't follow; it resumes from the last version that it saw, or lists again. */
  #checkBehind(): void {
    const { watchBufferBytesMax, watchBehindBytes, watchBuffersTotalBytesMax } = limits
    const behind = this.behindBytes
    if (behind <= watchBehindBytes) return
    const all = (): number => {
      let sum = 0
      for (const watch of this.#options.open) sum += watch.behindBytes
      return sum
    }
    if (behind > watchBufferBytesMax || all() > watchBuffersTotalBytesMax) this.#cut()
  }

  #cut(): void {
    this.#close()
    this.#exchange.destroy()
  }

  #encode(type: EventType, entry: Entry): Buffer {
    const { view, target } = this.#subject
    if (!view.plain) return frame(type, view.event(entry))
    let frames = sharedFrames.get(entry)
    if (frames === undefined) {
      frames = new Map()
      sharedFrames.set(entry, frames)
      // Kept for this turn only, in which a live event goes to every watcher.
      setImmediate(() => sharedFrames.delete(entry))
    }
    const key = `${type} ${target.type.group}/${target.type.version}`
    let bytes = frames.get(key)
    if (bytes === undefined) {
      bytes = frame(type, view.event(entry))
      frames.set(key, bytes)
    }
    return bytes
  }

  #bookmark(): void {
    this.#push([this.#bookmarkFrame(this.#options.store.revision, false)])
  }

  #bookmarkFrame(revision: number, endsInitial: boolean): Buffer {
    const { type } = this.#subject.target
    const object = {
      kind: type.kind,
      apiVersion: apiVersionOfType(type),
      metadata: {
        resourceVersion: String(revision),
        creationTimestamp: null,
        ...(endsInitial ? { annotations: endAnnotations(type) } : {}),
      },
    }
    return frame('BOOKMARK', Buffer.from(JSON.stringify(object)))
  }
}

function transition(event: ObjectEvent, match: EntryMatcher): EventType | undefined {
  const before = event.previous !== undefined && match(event.previous)
  if (event.type === 'DELETED') return before ? 'DELETED' : undefined
  if (match(event.entry)) return before ? 'MODIFIED' : 'ADDED'
  return before ? 'DELETED' : undefined
}

function endAnnotations(type: ResourceType): Record<string, string> {
  const list = {
    kind: type.listKind,
    apiVersion: apiVersionOfType(type),
    metadata: {},
    items: [],
  }
  return {
    'k8s.io/initial-events-end': 'true',
    'kubernetes.io/initial-events-list-blueprint': Buffer.from(
      `${JSON.stringify(list)}\n`,
    ).toString('base64'),
  }
}

function frame(type: string, object: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, frameEnd])
}

const frameEnd = Buffer.from('}\n')
