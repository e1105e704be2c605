/** Encoded resources by name and alias, and the record of what one update changed. */
import type { TranslatedResource } from '../translate/index.ts'

/** Names that changed, by type. */
export class ChangeLog {
  readonly names = new Map<string, Set<string>>()

  add(typeUrl: string, name: string): void {
    const names = this.names.get(typeUrl)
    if (names === undefined) this.names.set(typeUrl, new Set([name]))
    else names.add(name)
  }

  get isEmpty(): boolean {
    return this.names.size === 0
  }

  get size(): number {
    let size = 0
    for (const names of this.names.values()) size += names.size
    return size
  }
}

export class ResourceTable {
  readonly #typeUrl: string
  readonly #resources = new Map<string, TranslatedResource>()
  /** Several resources may share an address; the first of them answers to it. */
  readonly #aliases = new Map<string, string[]>()
  /** Names of those that belong to a name: the workloads of a service. */
  readonly #members = new Map<string, Set<string>>()

  constructor(typeUrl: string) {
    this.#typeUrl = typeUrl
  }

  get size(): number {
    return this.#resources.size
  }

  values(): Iterable<TranslatedResource> {
    return this.#resources.values()
  }

  get(name: string): TranslatedResource | undefined {
    const found = this.#resources.get(name)
    if (found !== undefined) return found
    const [target] = this.#aliases.get(name) ?? []
    return target === undefined ? undefined : this.#resources.get(target)
  }

  /** The resources that belong to the one of this name. */
  membersOf(name: string): TranslatedResource[] {
    return [...(this.#members.get(name) ?? [])].flatMap((key) => this.#resources.get(key) ?? [])
  }

  /** Stores or removes a resource; notes the name when its content is not what it was. */
  put(name: string, next: TranslatedResource | undefined, log: ChangeLog): void {
    const previous = this.#resources.get(name)
    if (previous?.version === next?.version) return
    this.#moveAliases(name, previous?.aliases ?? [], next?.aliases ?? [])
    this.#moveMembership(name, previous?.belongsTo ?? [], next?.belongsTo ?? [])
    if (next === undefined) this.#resources.delete(name)
    else this.#resources.set(name, next)
    log.add(this.#typeUrl, name)
  }

  #moveAliases(name: string, previous: readonly string[], next: readonly string[]): void {
    for (const alias of previous) {
      if (next.includes(alias)) continue
      const rest = (this.#aliases.get(alias) ?? []).filter((other) => other !== name)
      if (rest.length === 0) this.#aliases.delete(alias)
      else this.#aliases.set(alias, rest)
    }
    for (const alias of next) {
      const names = this.#aliases.get(alias) ?? []
      if (!names.includes(name)) this.#aliases.set(alias, [...names, name])
    }
  }

  #moveMembership(name: string, previous: readonly string[], next: readonly string[]): void {
    for (const owner of previous) {
      if (next.includes(owner)) continue
      const members = this.#members.get(owner)
      members?.delete(name)
      if (members?.size === 0) this.#members.delete(owner)
    }
    for (const owner of next) {
      const members = this.#members.get(owner) ?? new Set()
      this.#members.set(owner, members.add(name))
    }
  }
}
