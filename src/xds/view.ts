/**
 * What all wildcard subscribers of one view key see of one type: the resources as they were at the last round.
 * A connection only knows up to which revision it has been told. The source may be ahead: what it holds
 * since goes out with its own round, after the clusters which it may name.
 */
import type { EncodedResource, ProxyNode, ResourceSource } from './contract.ts'
import { type Body, encodeBody, encodeState } from './encode.ts'

interface Round {
  readonly revision: number
  readonly names: ReadonlySet<string>
}

/** A connection that uses a view: all its rounds up to this revision were told. */
export interface ViewUser {
  readonly toldRevision: number
}

/** What a connection lacks, apart: removals may have to wait until nothing refers to them any more. */
export type Part = 'all' | 'present' | 'removed'

export class View {
  readonly typeUrl: string
  readonly key: string
  readonly #source: ResourceSource
  /** Any proxy of this key sees the same; this one asks for all. */
  readonly #proxy: ProxyNode
  readonly #roundsMax: number
  readonly #held = new Map<string, EncodedResource>()
  #rounds: Round[] = []
  #full: Body | undefined
  #state: Body | undefined
  readonly #deltas = new Map<string, Body>()
  revision: number
  readonly users = new Set<ViewUser>()

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
    for (const resource of this.#list()) this.#held.set(resource.name, resource)
  }

  /** Moves on to a revision in which these names may have changed. */
  update(names: ReadonlySet<string> | '*', revision: number): void {
    const changed = names === '*' ? this.#takeAll() : this.#take(names)
    this.revision = revision
    if (changed.size === 0) return
    this.#full = undefined
    this.#state = undefined
    this.#deltas.clear()
    this.#rounds.push({ revision, names: changed })
    this.#prune()
  }

  /** Everything, for a connection that has nothing. */
  full(): Body {
    this.#full ??= encodeBody([...this.#held.values()], [], false)
    return this.#full
  }

  /** Everything, as a state-of-the-world response says it. */
  state(): Body {
    this.#state ??= encodeState([...this.#held.values()])
    return this.#state
  }

  /** What a connection that was told everything up to `revision` lacks; undefined when nothing. */
  since(revision: number, part: Part = 'all'): Body | undefined {
    if (revision >= this.revision) return undefined
    const key = `${part} ${revision}`
    let body = this.#deltas.get(key)
    if (body === undefined) {
      body = this.encode(this.namesSince(revision), part)
      this.#deltas.set(key, body)
    }
    return body.resources + body.removed === 0 ? undefined : body
  }

  /** Those of the names that there are. */
  present(names: Iterable<string>): EncodedResource[] {
    return [...names].flatMap((name) => this.#held.get(name) ?? [])
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
    for (const resource of this.#held.values()) {
      if (!isSame(versions[resource.name], resource.version)) resources.push(resource)
    }
    const removed = Object.keys(versions).filter((name) => !this.#held.has(name))
    return encodeBody(resources, removed, false)
  }

  /** Names with the state they have: a resource, or removed. */
  encode(names: Iterable<string>, part: Part = 'all'): Body {
    const resources: EncodedResource[] = []
    const removed: string[] = []
    for (const name of names) {
      const resource = this.#held.get(name)
      if (resource === undefined) removed.push(name)
      else resources.push(resource)
    }
    return encodeBody(part === 'removed' ? [] : resources, part === 'present' ? [] : removed, false)
  }

  /** To compare with another view. */
  held(): ReadonlyMap<string, EncodedResource> {
    return this.#held
  }

  #take(names: ReadonlySet<string>): Set<string> {
    const changed = new Set<string>()
    for (const name of names) {
      const resource = this.#get(name)
      if (isSame(this.#held.get(name)?.version, resource?.version)) continue
      if (resource === undefined) this.#held.delete(name)
      else this.#held.set(name, resource)
      changed.add(name)
    }
    return changed
  }

  #takeAll(): Set<string> {
    const changed = new Set<string>()
    const gone = new Set(this.#held.keys())
    for (const resource of this.#list()) {
      const { name, version } = resource
      gone.delete(name)
      if (!isSame(this.#held.get(name)?.version, version)) changed.add(name)
      this.#held.set(name, resource)
    }
    for (const name of gone) {
      this.#held.delete(name)
      changed.add(name)
    }
    return changed
  }

  /** Forgets rounds that everybody has; merges the oldest ones when somebody is far behind. */
  #prune(): void {
    let oldest = this.revision
    for (const { toldRevision } of this.users) oldest = Math.min(oldest, toldRevision)
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

  leave(view: View, user: ViewUser): void {
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
