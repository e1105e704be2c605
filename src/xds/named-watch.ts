/**
 * Names subscribed one by one on an incremental stream (on-demand workloads, endpoints, routes, secrets).
 * What belongs to a subscribed resource comes along: a service brings its workloads.
 */
import type { EncodedResource } from './contract.ts'
import { type Body, encodeBody } from './encode.ts'
import type { Part } from './view.ts'
import { answering, type DeltaWatch, type WatchOptions } from './watch.ts'

/** A connection that is further behind looks at all its names instead. */
const changedMax = 10_000

/** The content of one response while it is put together. */
interface Answer {
  readonly resources: Map<string, EncodedResource>
  readonly removed: Set<string>
}

export class NamedWatch implements DeltaWatch {
  readonly wildcard = false
  readonly #options: WatchOptions
  /** Subscribed name or alias → the resource's name; undefined: there is none (and the proxy knows). */
  readonly #subscribed = new Map<string, string | undefined>()
  /** Resource name → version that the proxy has. */
  readonly #held = new Map<string, string>()
  /** Subscribed since the last answer. True: answer also when the proxy has that version. */
  readonly #asked = new Map<string, boolean>()
  #changed: Set<string> | '*' = new Set()
  #first = true

  constructor(options: WatchOptions) {
    this.#options = options
    for (const [name, version] of Object.entries(options.initial)) {
      if (version !== '') this.#held.set(name, version)
      this.#subscribed.set(name, version === '' ? undefined : name)
      this.#asked.set(name, false)
    }
  }

  get names(): number {
    return this.#subscribed.size
  }

  get asked(): boolean {
    return this.#first || this.#asked.size > 0
  }

  subscribed(): Iterable<string> {
    return this.#subscribed.keys()
  }

  watches(name: string): boolean {
    return this.#subscribed.has(name)
  }

  changed(names: ReadonlySet<string> | '*'): void {
    if (names === '*' || this.#changed === '*') {
      this.#changed = '*'
      return
    }
    for (const name of names) this.#changed.add(name)
    if (this.#changed.size > changedMax) this.#changed = '*'
  }

  again(names: readonly string[]): void {
    for (const name of names) if (this.#subscribed.has(name)) this.#asked.set(name, true)
  }

  restart(): void {
    this.again([...this.#subscribed.keys()])
  }

  subscribe(names: readonly string[]): void {
    for (const name of names) {
      if (!this.#subscribed.has(name)) this.#subscribed.set(name, undefined)
      // Asking again means: send it again (xDS, resource_names_subscribe).
      this.#asked.set(name, true)
    }
  }

  /** The proxy drops what it has by itself. */
  unsubscribe(names: readonly string[]): void {
    for (const name of names) {
      const owner = this.#subscribed.get(name)
      this.#subscribed.delete(name)
      this.#asked.delete(name)
      if (owner === name) this.#held.delete(name)
    }
  }

  take(part: Part = 'all'): Body | undefined {
    // Whoever names endpoints one by one drops a cluster before its endpoints: nothing has to wait.
    if (part === 'removed') return undefined
    const answer: Answer = { resources: new Map(), removed: new Set() }
    for (const [name, force] of this.#asked) this.#answer(name, force, answer)
    this.#asked.clear()
    for (const name of this.#changedNames()) this.#follow(name, answer)
    if (this.#changed === '*' || this.#changed.size > 0) this.#changed = new Set()
    const { resources, removed } = answer
    const first = this.#first
    this.#first = false
    if (!first && resources.size + removed.size === 0) return undefined
    return encodeBody([...resources.values()], [...removed], true)
  }

  close(): void {}

  #get(name: string): EncodedResource | undefined {
    const { source, typeUrl, proxy } = this.#options
    return source.get(typeUrl, name, proxy)
  }

  /** Answers a subscription, with absence too; not when the proxy has it already and did not insist. */
  #answer(name: string, force: boolean, answer: Answer): void {
    const resource = this.#get(name)
    this.#subscribed.set(name, resource?.name)
    if (resource === undefined) {
      this.#held.delete(name)
      answer.removed.add(name)
      return
    }
    if (force || !this.#holds(resource)) {
      this.#held.set(resource.name, resource.version)
      const pending = answer.resources.get(resource.name) ?? resource
      answer.resources.set(resource.name, answering(pending, name))
    }
    const { source, typeUrl, proxy } = this.#options
    for (const related of source.related?.(typeUrl, resource.name, proxy) ?? []) {
      if (this.#holds(related)) continue
      this.#held.set(related.name, related.version)
      answer.resources.set(related.name, answer.resources.get(related.name) ?? related)
    }
  }

  #holds(resource: EncodedResource): boolean {
    return resource.version !== '' && this.#held.get(resource.name) === resource.version
  }

  /** `*`: everything that is subscribed or held may have changed. */
  #changedNames(): Iterable<string> {
    if (this.#changed !== '*') return this.#changed
    return new Set([...this.#subscribed.keys(), ...this.#held.keys()])
  }

  /** Brings the proxy up to date with one name of the source. */
  #follow(name: string, answer: Answer): void {
    const { isEarly, typeUrl } = this.#options
    if (isEarly(typeUrl, name)) return
    const resource = this.#get(name)
    const mine = resource === undefined ? [] : this.#subscriptionsOf(resource)
    const concerned = resource !== undefined && (mine.length > 0 || this.#comesAlong(resource))
    if (resource !== undefined && concerned) {
      for (const asked of mine) this.#subscribed.set(asked, resource.name)
      if (!this.#holds(resource)) {
        this.#held.set(resource.name, resource.version)
        answer.resources.set(resource.name, resource)
      }
      if (mine.length > 0) this.#bringRelated(resource, answer)
    }
    if ((resource?.name === name && concerned) || !this.#held.delete(name)) return
    answer.removed.add(name)
    for (const [asked, owner] of this.#subscribed) {
      if (owner === name) this.#subscribed.set(asked, undefined)
    }
  }

  /** A subscribed resource that appeared late has others that belong to it. */
  #bringRelated(resource: EncodedResource, answer: Answer): void {
    const { source, typeUrl, proxy } = this.#options
    for (const related of source.related?.(typeUrl, resource.name, proxy) ?? []) {
      if (this.#holds(related)) continue
      this.#held.set(related.name, related.version)
      answer.resources.set(related.name, related)
    }
  }

  /** The subscribed names that this resource answers to. */
  #subscriptionsOf(resource: EncodedResource): string[] {
    return [resource.name, ...(resource.aliases ?? [])].filter((name) => this.#subscribed.has(name))
  }

  /** It belongs to something subscribed, by whatever name that was asked for. */
  #comesAlong({ belongsTo = [] }: EncodedResource): boolean {
    return belongsTo.some((owner) => this.#held.has(owner))
  }
}
