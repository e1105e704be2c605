/**
 * What one connection watches of one type, and what it lacks. Nothing is queued: what to send is
 * worked out when the connection can send, so a slow one gets the latest state once.
 */
import type { EncodedResource, ProxyNode, ResourceSource } from './contract.ts'
import { type Body, encodeBody } from './encode.ts'
import type { Part, View, Views, ViewUser } from './view.ts'

export type Versions = Readonly<Record<string, string>>

export interface Watch {
  readonly wildcard: boolean
  /** How many names are subscribed one by one. */
  readonly names: number
  subscribed(): Iterable<string>
  watches(name: string): boolean
  /**
   * A request waits for an answer, which goes out even while an earlier response is not acknowledged.
   */
  readonly asked: boolean
  /** Changes of the source that this watch was told of. */
  changed(names: ReadonlySet<string> | '*'): void
  /** The proxy needs these resources again, if it is subscribed to them. */
  again(names: readonly string[]): void
  /** The proxy needs everything again. */
  restart(): void
  /**
   * What to send now, or undefined. Taking it counts as having sent it.
   * @param part `present` leaves out removals, `removed` gives what `present` left out
   */
  take(part?: Part): Body | undefined
  close(): void
}

/** Watches of incremental streams, where names come and go one by one. */
export interface DeltaWatch extends Watch {
  subscribe(names: readonly string[]): void
  unsubscribe(names: readonly string[]): void
}

export interface WatchOptions {
  readonly source: ResourceSource
  readonly typeUrl: string
  readonly proxy: ProxyNode
  /** What the proxy says it has. */
  readonly initial: Versions
  /** The source holds a state of this name that is not due yet: its round comes later, with all else of it. */
  readonly isEarly: (typeUrl: string, name: string) => boolean
}

/** Everything of a type. Constant size: two revisions, and names asked for besides. */
export class WildcardWatch implements DeltaWatch, ViewUser {
  readonly wildcard = true
  readonly names = 0
  readonly #options: WatchOptions
  readonly #views: Views
  #view: View
  #initial: Versions | undefined
  #asked = new Set<string>()
  /** Up to here additions and changes were sent ... */
  #sentRevision: number
  /** ... and up to here removals. */
  #removedRevision: number

  constructor(options: WatchOptions, views: Views, revision: number) {
    this.#options = options
    this.#views = views
    this.#initial = options.initial
    this.#view = views.of(options.typeUrl, options.proxy, revision)
    this.#sentRevision = this.#view.revision
    this.#removedRevision = this.#view.revision
    this.#view.users.add(this)
  }

  get toldRevision(): number {
    return Math.min(this.#sentRevision, this.#removedRevision)
  }

  get asked(): boolean {
    return this.#initial !== undefined || this.#asked.size > 0
  }

  subscribed(): Iterable<string> {
    return []
  }

  watches(): boolean {
    return true
  }

  changed(): void {}

  again(): void {}

  restart(): void {
    // It may hold what the view has and what it was not told of: names that are no more get removed.
    const names = this.#view.namesSince(this.toldRevision)
    for (const name of this.#view.held().keys()) names.add(name)
    this.#initial = Object.fromEntries([...names].map((name) => [name, '']))
  }

  /** Names asked for on top: answered, then covered by the wildcard. */
  subscribe(names: readonly string[]): void {
    for (const name of names) this.#asked.add(name)
  }

  unsubscribe(names: readonly string[]): void {
    for (const name of names) this.#asked.delete(name)
  }

  take(part: Part = 'all'): Body | undefined {
    if (this.#initial !== undefined) {
      const versions = this.#initial
      this.#initial = undefined
      this.#asked.clear()
      this.#sentRevision = this.#view.revision
      this.#removedRevision = this.#view.revision
      return Object.keys(versions).length === 0 ? this.#view.full() : this.#view.against(versions)
    }
    if (this.#asked.size > 0) {
      const names = this.#asked
      this.#asked = new Set()
      return answerNames(this.#options, names)
    }
    return this.#moved() ?? this.#delta(part)
  }

  close(): void {
    this.#views.leave(this.#view, this)
  }

  #delta(part: Part): Body | undefined {
    const { revision } = this.#view
    const since = part === 'removed' ? this.#removedRevision : this.#sentRevision
    const body = this.#view.since(since, part)
    if (part !== 'removed') this.#sentRevision = revision
    if (part !== 'present') this.#removedRevision = revision
    return body
  }

  /** The proxy belongs to another view now (its labels changed ...): send the difference of the two. */
  #moved(): Body | undefined {
    const { source, typeUrl, proxy } = this.#options
    const old = this.#view
    if (this.#sentRevision === old.revision || source.viewKey(typeUrl, proxy) === old.key)
      return undefined
    const next = this.#views.of(typeUrl, proxy, old.revision)
    const names = old.namesSince(this.toldRevision)
    for (const [name, { version }] of old.held())
      if (next.held().get(name)?.version !== version) names.add(name)
    for (const name of next.held().keys()) if (!old.held().has(name)) names.add(name)
    this.#views.leave(old, this)
    this.#view = next
    this.#sentRevision = next.revision
    this.#removedRevision = next.revision
    next.users.add(this)
    const body = next.encode(names)
    return body.resources + body.removed === 0 ? undefined : body
  }
}

/** The resources of these names or aliases; a name that there is not is listed as removed. */
function answerNames(options: WatchOptions, names: Iterable<string>): Body {
  const { source, typeUrl, proxy } = options
  const resources = new Map<string, EncodedResource>()
  const removed: string[] = []
  for (const name of names) {
    const resource = source.get(typeUrl, name, proxy)
    if (resource === undefined) removed.push(name)
    else resources.set(resource.name, answering(resources.get(resource.name) ?? resource, name))
  }
  return encodeBody([...resources.values()], removed, true)
}

/** The resource with the asked name among its aliases: the asker waits for that name. */
export function answering(resource: EncodedResource, asked: string): EncodedResource {
  const { name, aliases = [] } = resource
  return name === asked || aliases.includes(asked)
    ? resource
    : { ...resource, aliases: [...aliases, asked] }
}
