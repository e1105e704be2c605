/**
 * State of the world: every request lists all names it wants, a response has no removals. Of listeners, clusters
 * and the like each response is the whole of what is wanted; of endpoints, routes, secrets and
 * extension configurations (which a listener or cluster names) it is what changed.
 */
import { typeUrl as urls } from '../proto/index.ts'
import { endpointNameOf } from './cluster-fields.ts'
import type { EncodedResource } from './contract.ts'
import { type Body, emptyNamed, encodeState } from './encode.ts'
import type { Part, View, Views, ViewUser } from './view.ts'
import type { Watch, WatchOptions } from './watch.ts'

/** Types that are asked for by name only: an empty list is nothing, not everything. */
const partialTypes: ReadonlySet<string> = new Set([
  urls.endpoint,
  urls.route,
  urls.secret,
  urls.extensionConfig,
])

/** Types whose absence is said with an empty resource. */
const emptiedTypes: ReadonlySet<string> = new Set([urls.endpoint, urls.route])

/** What a request says besides its names. */
export type RequestKind =
  /** The first of its type on the stream, or one without a nonce. */
  | 'first'
  /** The answer to the last response. */
  | 'settles'
  /** One more with the nonce of a response that is settled: the proxy wants something. */
  | 'again'

export class StateWatch implements Watch, ViewUser {
  readonly #options: Omit<WatchOptions, 'initial'>
  readonly #views: Views
  readonly #revision: () => number
  readonly #partial: boolean
  #view: View | undefined
  toldRevision = 0
  /** It has named something, so that from now on an empty list means nothing. */
  #everNamed = false
  /** Subscribed name → version that was sent. */
  readonly #sent = new Map<string, string | undefined>()
  #changed: Set<string> | '*' = new Set()
  /** Names to answer; `*`: all that are subscribed. */
  #asked: Set<string> | '*' = new Set()
  /** What clusters sent lately need again; Envoy asks for it with one request too many. */
  readonly #needed = new Set<string>()
  /** A request came with a nonce that was overtaken by a response: it may have dropped names and taken them up again. */
  #overtaken = false

  constructor(options: Omit<WatchOptions, 'initial'>, views: Views, revision: () => number) {
    this.#options = options
    this.#views = views
    this.#revision = revision
    this.#partial = partialTypes.has(options.typeUrl)
  }

  get wildcard(): boolean {
    return this.#view !== undefined
  }

  get names(): number {
    return this.#sent.size
  }

  get asked(): boolean {
    return this.#asked === '*' || this.#asked.size > 0
  }

  subscribed(): Iterable<string> {
    return this.#sent.keys()
  }

  watches(name: string): boolean {
    return this.wildcard || this.#sent.has(name)
  }

  changed(names: ReadonlySet<string> | '*'): void {
    if (this.#view !== undefined) return
    if (names === '*' || this.#changed === '*') this.#changed = '*'
    else for (const name of names) if (this.#sent.has(name)) this.#changed.add(name)
  }

  again(names: readonly string[]): void {
    for (const name of names) if (this.#sent.has(name)) this.#needed.add(name)
  }

  restart(): void {
    this.#asked = '*'
  }

  /** The proxy did not know of the last response yet: what it wants is said again with its answer. */
  overtaken(): void {
    this.#overtaken = true
  }

  want(names: readonly string[], kind: RequestKind): void {
    const before = this.asked
    if (this.#wantsAll(names)) this.#watchAll()
    else this.#watchNames(names)
    if (kind === 'settles' && !this.#overtaken) return
    for (const name of this.#needed) {
      if (this.#asked !== '*' && this.#sent.has(name)) this.#asked.add(name)
    }
    this.#needed.clear()
    // A request that changes nothing and acknowledges nothing: the proxy wants everything again. Of a
    // type whose responses are the whole state an empty one says something too.
    const some = this.wildcard || this.#sent.size > 0 || (kind === 'first' && !this.#partial)
    if (some && (this.#overtaken || (!before && !this.asked))) this.#asked = '*'
    this.#overtaken = false
  }

  take(part: Part = 'all'): Body | undefined {
    // A response has no removals, so none can wait.
    if (part === 'removed') return undefined
    return this.#view === undefined ? this.#takeNamed() : this.#takeAll(this.#view)
  }

  close(): void {
    if (this.#view !== undefined) this.#views.leave(this.#view, this)
    this.#view = undefined
  }

  #wantsAll(names: readonly string[]): boolean {
    if (names.length > 0) {
      this.#everNamed = true
      return names.includes('*')
    }
    return !this.#everNamed && !this.#partial
  }

  #watchAll(): void {
    this.#sent.clear()
    if (this.#view !== undefined) return
    const { typeUrl, proxy } = this.#options
    this.#view = this.#views.of(typeUrl, proxy, this.#revision())
    this.#view.users.add(this)
    this.toldRevision = this.#view.revision
    this.#asked = '*'
  }

  #watchNames(names: readonly string[]): void {
    this.close()
    const wanted = new Set(names)
    for (const name of this.#sent.keys()) if (!wanted.has(name)) this.#sent.delete(name)
    for (const name of wanted) {
      if (this.#sent.has(name)) continue
      this.#sent.set(name, undefined)
      if (!this.#partial) this.#asked = '*'
      else if (this.#asked !== '*') this.#asked.add(name)
    }
  }

  #takeAll(view: View): Body | undefined {
    const { source, typeUrl, proxy } = this.#options
    const since = this.toldRevision
    const { asked } = this
    this.#asked = new Set()
    if (!asked && since === view.revision) return undefined
    if (source.viewKey(typeUrl, proxy) !== view.key) {
      this.close()
      this.#watchAll()
      return this.take()
    }
    this.toldRevision = view.revision
    if (asked) return view.state()
    const names = view.namesSince(since)
    if (names.size === 0) return undefined
    const present = view.present(names)
    if (this.#partial) return present.length === 0 ? undefined : encodeState(present)
    if (typeUrl !== urls.cluster) return view.state()
    const endpoints = present.flatMap(({ bytes }) => endpointNameOf(bytes) ?? [])
    return { ...view.state(), endpoints }
  }

  #takeNamed(): Body | undefined {
    const asked = this.#asked
    const changed = this.#changed
    this.#asked = new Set()
    this.#changed = new Set()
    const all = [...this.#sent.keys()]
    const force = (name: string): boolean => asked === '*' || asked.has(name)
    const looked =
      asked === '*' || changed === '*' || !this.#partial ? all : new Set([...asked, ...changed])
    if (asked !== '*' && asked.size === 0 && changed !== '*' && changed.size === 0) return undefined
    const { isEarly, typeUrl } = this.#options
    const resources: EncodedResource[] = []
    let differs = asked === '*'
    for (const name of looked) {
      if (!this.#sent.has(name)) continue
      if (this.#partial && !force(name) && isEarly(typeUrl, name)) continue
      const resource = this.#look(name)
      const version = resource?.version ?? ''
      const isNew = force(name) || version === '' || this.#sent.get(name) !== version
      if (resource !== undefined && (isNew || !this.#partial)) resources.push(resource)
      // Two absences are the same; a resource without a version always differs.
      if (isNew && (resource !== undefined || (this.#sent.get(name) ?? '') !== '')) differs = true
      this.#sent.set(name, resource === undefined ? undefined : version)
    }
    if (!differs || (this.#partial && resources.length === 0)) return undefined
    return encodeState(resources)
  }

  #look(name: string): EncodedResource | undefined {
    const { source, typeUrl, proxy } = this.#options
    const found = source.get(typeUrl, name, proxy)
    if (found !== undefined || !emptiedTypes.has(typeUrl)) return found
    return emptyNamed(typeUrl, name)
  }
}
