/**
 * What all wildcard subscribers of one view key see of one type. The view knows names and versions
 * once for all of them; a connection only knows up to which revision it has been told.
 */
import type { EncodedResource, ProxyNode, ResourceSource } from './contract.ts'
import { type Body, encodeBody } from './encode.ts'

interface Round {
  readonly revision: number
  readonly names: ReadonlySet<string>
}

export class View {
  readonly typeUrl: string
  readonly key: string
  readonly #source: ResourceSource
  /** Any proxy of this key sees the same; this one asks for all. */
  readonly #proxy: ProxyNode
  readonly #roundsMax: number
  readonly #held = new Map<string, string>()
  /** Sent to somebody in another state than `#held` says; the next round must not leave them out. */
  readonly #touched = new Set<string>()
  #rounds: Round[] = []
  #full: Body | undefined
  readonly #deltas = new Map<number, Body>()
  revision: number
  /** Connections that use this view. */
  readonly users = new Set<{ readonly sentRevision: number }>()

  constructor(options: {
    readonly source: ResourceSource
    readonly typeUrl: string
    readonly key: string
    readonly proxy: ProxyNode
    readonly revision: number
    readonly roundsMax: number
  }) {
    this.#source = options.source
    this.typeUrl = options.typeUrl
    this.key = options.key
    this.#proxy = options.proxy
    this.#roundsMax = options.roundsMax
    this.revision = options.revision
    for (const { name, version } of this.#list()) this.#held.set(name, version)
  }

  /** Moves on to a revision in which these names may have changed. */
  update(names: ReadonlySet<string> | '*', revision: number): void {
    const changed = names === '*' ? this.#compareAll() : this.#compare(names)
    for (const name of this.#touched) changed.add(name)
    this.#touched.clear()
    this.revision = revision
    if (changed.size === 0) return
    this.#full = undefined
    this.#deltas.clear()
    this.#rounds.push({ revision, names: changed })
    this.#prune()
  }

  /** Everything, for a connection that has nothing. */
  full(): Body {
    if (this.#full === undefined) {
      const resources = [...this.#list()]
      this.#noteDifferences(resources)
      this.#full = encodeBody(resources, [], false)
    }
    return this.#full
  }

  /** What a connection that was told everything up to `revision` lacks; undefined when nothing. */
  since(revision: number): Body | undefined {
    if (revision >= this.revision) return undefined
    let body = this.#deltas.get(revision)
    if (body === undefined) {
      body = this.encode(this.namesSince(revision))
      this.#deltas.set(revision, body)
    }
    return body.resources + body.removed === 0 ? undefined : body
  }

  namesSince(revision: number): Set<string> {
    const names = new Set<string>()
    for (const round of this.#rounds) {
      if (round.revision > revision) for (const name of round.names) names.add(name)
    }
    return names
  }

  /** What a connection lacks that comes with these versions of these names. */
  against(versions: Readonly<Record<string, string>>): Body {
    const resources: EncodedResource[] = []
    const all = [...this.#list()]
    this.#noteDifferences(all)
    const names = new Set<string>()
    for (const resource of all) {
      names.add(resource.name)
      if (!isSame(versions[resource.name], resource.version)) resources.push(resource)
    }
    const removed = Object.keys(versions).filter((name) => !names.has(name))
    return encodeBody(resources, removed, false)
  }

  /** Names with whatever state they have now: a resource, or removed. */
  encode(names: Iterable<string>): Body {
    const resources: EncodedResource[] = []
    const removed: string[] = []
    for (const name of names) {
      const resource = this.#get(name)
      if (resource === undefined) removed.push(name)
      else resources.push(resource)
      if (this.#held.get(name) !== resource?.version) this.#touched.add(name)
    }
    return encodeBody(resources, removed, false)
  }

  /** Names and versions, to compare with another view. */
  versions(): ReadonlyMap<string, string> {
    return this.#held
  }

  #compare(names: ReadonlySet<string>): Set<string> {
    const changed = new Set<string>()
    for (const name of names) {
      const version = this.#get(name)?.version
      if (isSame(this.#held.get(name), version)) continue
      if (version === undefined) this.#held.delete(name)
      else this.#held.set(name, version)
      changed.add(name)
    }
    return changed
  }

  #compareAll(): Set<string> {
    const changed = new Set<string>()
    const present = new Set<string>()
    for (const { name, version } of this.#list()) {
      present.add(name)
      if (!isSame(this.#held.get(name), version)) changed.add(name)
      this.#held.set(name, version)
    }
    for (const name of this.#held.keys()) {
      if (present.has(name)) continue
      this.#held.delete(name)
      changed.add(name)
    }
    return changed
  }

  /** The source may be ahead of this view's revision; whoever gets that is told again. */
  #noteDifferences(resources: readonly EncodedResource[]): void {
    const present = new Set<string>()
    for (const { name, version } of resources) {
      present.add(name)
      if (this.#held.get(name) !== version) this.#touched.add(name)
    }
    for (const name of this.#held.keys()) if (!present.has(name)) this.#touched.add(name)
  }

  /** Forgets rounds that everybody has; merges the oldest ones when somebody is far behind. */
  #prune(): void {
    let oldest = this.revision
    for (const { sentRevision } of this.users) oldest = Math.min(oldest, sentRevision)
    this.#rounds = this.#rounds.filter((round) => round.revision > oldest)
    while (this.#rounds.length > this.#roundsMax) {
      const [first, second, ...rest] = this.#rounds
      if (first === undefined || second === undefined) return
      this.#rounds = [
        { revision: second.revision, names: first.names.union(second.names) },
        ...rest,
      ]
    }
  }

  #list(): Iterable<EncodedResource> {
    return this.#source.list(this.typeUrl, this.#proxy)
  }

  /** By name only: an answer under another name came through an alias. */
  #get(name: string): EncodedResource | undefined {
    const resource = this.#source.get(this.typeUrl, name, this.#proxy)
    return resource?.name === name ? resource : undefined
  }
}

/** Two absences are the same; two empty versions are not: those resources are always sent. */
function isSame(one: string | undefined, two: string | undefined): boolean {
  return one === two && one !== ''
}

/** The views in use, by type and key. */
export class Views {
  readonly #source: ResourceSource
  readonly #roundsMax: number
  readonly #views = new Map<string, View>()

  constructor(source: ResourceSource, roundsMax: number) {
    this.#source = source
    this.#roundsMax = roundsMax
  }

  /** The view of a proxy; made when nobody uses it yet. */
  of(typeUrl: string, proxy: ProxyNode, revision: number): View {
    const key = this.#source.viewKey(typeUrl, proxy)
    const id = `${typeUrl}\0${key}`
    let view = this.#views.get(id)
    if (view === undefined) {
      view = new View({
        source: this.#source,
        typeUrl,
        key,
        proxy,
        revision,
        roundsMax: this.#roundsMax,
      })
      this.#views.set(id, view)
    }
    return view
  }

  leave(view: View, user: { readonly sentRevision: number }): void {
    view.users.delete(user)
    if (view.users.size === 0) this.#views.delete(`${view.typeUrl}\0${view.key}`)
  }

  update(names: ReadonlyMap<string, ReadonlySet<string> | '*'>, revision: number): void {
    for (const view of this.#views.values()) {
      view.update(names.get(view.typeUrl) ?? new Set(), revision)
    }
  }

  get size(): number {
    return this.#views.size
  }
}
