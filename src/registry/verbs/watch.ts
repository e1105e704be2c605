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
import type { View } from './view.ts'

type EventType = ObjectEvent['type']

export interface WatchOptions {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: () => number
  /** Streams that are open, so that a stopping server can end them. */
  readonly open: Set<Watch>
}

/** The serialised events of plain views, shared by all who watch the same version. */
const shared = new WeakMap<Entry, Map<string, Buffer>>()

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
      this.#held = []
      this.#subscribe()
      void this.#sendInitial(entries, start.endMark ? revision : undefined)
      return
    }
    const missed = target.bucket.since(start.from)
    if (missed === undefined) {
      const { status } = tooOldResourceVersion(String(start.from), String(target.bucket.floor))
      this.#write(frame('ERROR', Buffer.from(JSON.stringify(status))))
      this.#exchange.response.end()
      return
    }
    this.#subscribe()
    for (const event of missed) this.#offer(event)
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
    this.#stopListening = this.#subject.target.bucket.listen((event) => this.#offer(event))
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
    for (const entry of entries) {
      if (this.#ended) return
      if (this.#subject.match !== undefined && !this.#subject.match(entry)) continue
      if (!(await this.#exchange.write(this.#encode('ADDED', entry)))) return
    }
    if (this.#ended) return
    if (endRevision !== undefined)
      this.#exchange.response.write(this.#bookmarkFrame(endRevision, true))
    const held = this.#held ?? []
    this.#held = undefined
    for (const chunk of held) this.#write(chunk)
  }

  /** Sends an event in the sense of the selectors: entering is ADDED, leaving is DELETED. */
  #offer(event: ObjectEvent): void {
    const { match, target } = this.#subject
    if (target.namespace !== undefined && event.entry.namespace !== target.namespace) return
    const type = match === undefined ? event.type : transition(event, match)
    if (type !== undefined) this.#push(this.#encode(type, event.entry))
  }

  #push(chunk: Buffer): void {
    if (this.#held === undefined) return this.#write(chunk)
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes > limits.watchBufferBytesMax) this.#cut()
  }

  #write(chunk: Buffer): void {
    if (this.#ended || this.#exchange.response.destroyed) return
    this.#exchange.response.write(chunk)
    if (this.#exchange.unsentBytes > limits.watchBufferBytesMax) this.#cut()
  }

  #cut(): void {
    this.#close()
    this.#exchange.destroy()
  }

  #encode(type: EventType, entry: Entry): Buffer {
    const { view, target } = this.#subject
    if (!view.plain) return frame(type, view.event(entry))
    let frames = shared.get(entry)
    if (frames === undefined) {
      frames = new Map()
      shared.set(entry, frames)
    }
    const key = `${type} ${target.type.group}/${target.type.version}`
    let bytes = frames.get(key)
    if (bytes === undefined) {
      bytes = frame(type, view.event(entry))
      // Kept for this turn only, in which a live event goes to every watcher.
      if (frames.size === 0) setImmediate(() => shared.delete(entry))
      frames.set(key, bytes)
    }
    return bytes
  }

  #bookmark(): void {
    this.#push(this.#bookmarkFrame(this.#options.store.revision, false))
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
