/**
 * What one connection watches of one type, and what it lacks. Nothing is queued: what to send is
 * worked out when the connection can send, so a slow one gets the latest state once.
 */
import type { EncodedResource, ProxyNode, ResourceSource } from './contract.ts'
import { type Body, encodeBody } from './encode.ts'
import type { View, Views } from './view.ts'

export type Versions = Readonly<Record<string, string>>

export interface Watch {
  readonly wildcard: boolean
  /** How many names are subscribed one by one. */
  readonly names: number
  /** Changes of the source that this watch was told of. */
  changed(names: ReadonlySet<string> | '*'): void
  subscribe(names: readonly string[]): void
  unsubscribe(names: readonly string[]): void
  /** What to send now, or undefined. Taking it counts as having sent it. */
  take(): Body | undefined
  close(): void
}

export interface WatchOptions {
  readonly source: ResourceSource
  readonly typeUrl: string
  readonly proxy: ProxyNode
  /** What the proxy says it has. */
  readonly initial: Versions
}

/** Everything of a type. Constant size: a revision, and names asked for besides. */
export class WildcardWatch implements Watch {
  readonly wildcard = true
  readonly names = 0
  readonly #options: WatchOptions
  readonly #views: Views
  #view: View
  #initial: Versions | undefined
  #asked = new Set<string>()
  sentRevision: number

  constructor(options: WatchOptions, views: Views, revision: number) {
    this.#options = options
    this.#views = views
    this.#initial = options.initial
    this.#view = views.of(options.typeUrl, options.proxy, revision)
    this.sentRevision = this.#view.revision
    this.#view.users.add(this)
  }

  changed(): void {}

  /** Names asked for on top: answered, then covered by the wildcard. */
  subscribe(names: readonly string[]): void {
    for (const name of names) this.#asked.add(name)
  }

  unsubscribe(names: readonly string[]): void {
    for (const name of names) this.#asked.delete(name)
  }

  take(): Body | undefined {
    if (this.#initial !== undefined) {
      const versions = this.#initial
      this.#initial = undefined
      this.#asked.clear()
      this.sentRevision = this.#view.revision
      return Object.keys(versions).length === 0 ? this.#view.full() : this.#view.against(versions)
    }
    if (this.#asked.size > 0) {
      const names = this.#asked
      this.#asked = new Set()
      return answerNames(this.#options, names)
    }
    return this.#moved() ?? this.#delta()
  }

  close(): void {
    this.#views.leave(this.#view, this)
  }

  #delta(): Body | undefined {
    const body = this.#view.since(this.sentRevision)
    this.sentRevision = this.#view.revision
    return body
  }

  /** The proxy belongs to another view now (its labels changed ...): send the difference of the two. */
  #moved(): Body | undefined {
    const { source, typeUrl, proxy } = this.#options
    const old = this.#view
    if (this.sentRevision === old.revision || source.viewKey(typeUrl, proxy) === old.key)
      return undefined
    const next = this.#views.of(typeUrl, proxy, old.revision)
    const names = old.namesSince(this.sentRevision)
    for (const [name, version] of old.versions())
      if (next.versions().get(name) !== version) names.add(name)
    for (const name of next.versions().keys()) if (!old.versions().has(name)) names.add(name)
    this.#views.leave(old, this)
    this.#view = next
    this.sentRevision = next.revision
    next.users.add(this)
    const body = next.encode(names)
    return body.resources + body.removed === 0 ? undefined : body
  }
}

/** The resources of these names or aliases; a name that there is not is listed as removed. */
function answerNames(options: WatchOptions, names: Iterable<string>): Body {
  const resources = new Map<string, EncodedResource>()
  const removed: string[] = []
  for (const name of names) {
    const resource = options.source.get(options.typeUrl, name, options.proxy)
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
