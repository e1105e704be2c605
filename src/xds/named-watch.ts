/** Names subscribed one by one (on-demand workloads, endpoints, routes, secrets). */
import type { EncodedResource } from './contract.ts'
import { type Body, encodeBody } from './encode.ts'
import { answering, type Watch, type WatchOptions } from './watch.ts'

/** A connection that is further behind looks at all its names instead. */
const changedMax = 10_000

export class NamedWatch implements Watch {
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

  changed(names: ReadonlySet<string> | '*'): void {
    if (names === '*' || this.#changed === '*') {
      this.#changed = '*'
      return
    }
    for (const name of names) this.#changed.add(name)
    if (this.#changed.size > changedMax) this.#changed = '*'
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

  take(): Body | undefined {
    const resources = new Map<string, EncodedResource>()
    const removed = new Set<string>()
    for (const [name, force] of this.#asked) {
      const resource = this.#answer(name, force)
      if (resource === undefined) continue
      if (resource === 'none') removed.add(name)
      else resources.set(resource.name, answering(resources.get(resource.name) ?? resource, name))
    }
    this.#asked.clear()
    for (const name of this.#changedNames()) this.#follow(name, resources, removed)
    this.#changed = new Set()
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

  /** What answers a subscription; undefined when the proxy has it already. */
  #answer(name: string, force: boolean): EncodedResource | 'none' | undefined {
    const resource = this.#get(name)
    this.#subscribed.set(name, resource?.name)
    if (resource === undefined) {
      this.#held.delete(name)
      return 'none'
    }
    const { version } = resource
    if (!force && version !== '' && this.#held.get(resource.name) === version) return undefined
    this.#held.set(resource.name, version)
    return resource
  }

  /** `*`: everything that is subscribed or held may have changed. */
  #changedNames(): Iterable<string> {
    if (this.#changed !== '*') return this.#changed
    return new Set([...this.#subscribed.keys(), ...this.#held.keys()])
  }

  /** Brings the proxy up to date with one name of the source. */
  #follow(name: string, resources: Map<string, EncodedResource>, removed: Set<string>): void {
    const resource = this.#get(name)
    const mine = resource === undefined ? [] : this.#subscriptionsOf(resource)
    if (resource !== undefined && mine.length > 0) {
      for (const asked of mine) this.#subscribed.set(asked, resource.name)
      if (this.#held.get(resource.name) === resource.version && resource.version !== '') return
      this.#held.set(resource.name, resource.version)
      resources.set(resource.name, resource)
    }
    if (resource?.name === name || !this.#held.delete(name)) return
    removed.add(name)
    for (const [asked, owner] of this.#subscribed) {
      if (owner === name) this.#subscribed.set(asked, undefined)
    }
  }

  /** The subscribed names that this resource answers to. */
  #subscriptionsOf(resource: EncodedResource): string[] {
    return [resource.name, ...(resource.aliases ?? [])].filter((name) => this.#subscribed.has(name))
  }
}
