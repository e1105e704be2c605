/**
 * Units that are the same for many views: clusters, endpoints. Which fields of its view a unit reads is noted while it
 * is made; every view that is equal in these gets the same result, made and encoded once. A unit may only
 * be shared when its key says all that went into it besides the view and the mesh.
 */
import { DependencyIndex } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import type { ProxyView } from './proxy.ts'
import type { MadeUnit, Unit } from './unit.ts'

type Field = keyof ProxyView

export interface SharedUnit {
  readonly id: string
  readonly unit: string
  readonly made: MadeUnit
  /** How many views hold it. */
  users: number
}

export class SharedUnits {
  readonly #entries = new Map<string, SharedUnit>()
  readonly #index = new DependencyIndex()
  /** Sets of fields that were read by the units of a key; few, and mostly one. */
  readonly #fieldSets = new Map<string, readonly (readonly Field[])[]>()
  readonly #interned = new Map<string, readonly (readonly Field[])[]>()
  readonly #signatures = new WeakMap<ProxyView, Map<readonly Field[], string>>()
  readonly #numbers = new Map<string, string>()
  /** The latest content of each name. */
  readonly #contents = new Map<string, TranslatedResource>()
  #stale: readonly SharedUnit[] = []

  /** What the last change made obsolete; views that hold any of these make it again. */
  get stale(): readonly SharedUnit[] {
    return this.#stale
  }

  get size(): number {
    return this.#entries.size
  }

  /** Must be called with the keys of every update before any view follows it. */
  invalidate(keys: Iterable<string>): void {
    this.#stale = [...this.#index.stale(keys)].flatMap((id) => this.#entries.get(id) ?? [])
    for (const { id } of this.#stale) this.#forget(id)
  }

  get(unit: Unit, view: ProxyView): SharedUnit | undefined {
    for (const fields of this.#fieldSets.get(unit.key) ?? []) {
      const found = this.#entries.get(this.#id(unit, view, fields))
      if (found !== undefined) return found
    }
    return undefined
  }

  put(unit: Unit, view: ProxyView, read: ReadonlySet<Field>, made: MadeUnit): SharedUnit {
    const fields = this.#fieldsOf(unit, [...read].toSorted())
    const id = this.#id(unit, view, fields)
    const resources = made.resources.map((resource) => this.#onlyOne(resource))
    const entry: SharedUnit = { id, unit: unit.key, made: { ...made, resources }, users: 0 }
    this.#entries.set(id, entry)
    this.#index.set(id, made.dependencies)
    return entry
  }

  /** A view lets go of an entry that it held. */
  release(entry: SharedUnit): void {
    entry.users--
    if (entry.users === 0 && this.#entries.get(entry.id) === entry) this.#forget(entry.id)
  }

  /** What views made apart is mostly the same all the same: it is kept once. */
  #onlyOne(resource: TranslatedResource): TranslatedResource {
    const { typeUrl, name, version } = resource
    if (version === '') return resource
    const key = `${typeUrl} ${name}`
    const known = this.#contents.get(key)
    if (known?.version === version) return known
    this.#contents.set(key, resource)
    return resource
  }

  /** Parts belong to no view; what is left of them is made again when it is needed. */
  sweep(): void {
    this.#contents.clear()
    for (const { id, users } of this.#entries.values()) if (users === 0) this.#forget(id)
  }

  #forget(id: string): void {
    this.#entries.delete(id)
    this.#index.delete(id)
  }

  #fieldsOf(unit: Unit, fields: readonly Field[]): readonly Field[] {
    const known = this.#fieldSets.get(unit.key) ?? []
    const same = known.find((one) => one.join() === fields.join())
    if (same !== undefined) return same
    const sets = [...known, fields]
    const text = sets.map((one) => one.join()).join(';')
    const interned = this.#interned.get(text) ?? sets
    this.#interned.set(text, interned)
    this.#fieldSets.set(unit.key, interned)
    return interned.at(-1) ?? fields
  }

  #id(unit: Unit, view: ProxyView, fields: readonly Field[]): string {
    let signatures = this.#signatures.get(view)
    if (signatures === undefined) this.#signatures.set(view, (signatures = new Map()))
    let signature = signatures.get(fields)
    if (signature === undefined) {
      const text = JSON.stringify(fields.map((field) => [field, view[field]]))
      // A number for each, so that ids are short: there are very many.
      signature = this.#numbers.get(text) ?? String(this.#numbers.size)
      this.#numbers.set(text, signature)
      signatures.set(fields, signature)
    }
    return `${unit.key} ${signature}`
  }
}

/** What a unit rests on that takes a shared part in: the part changes when its own dependencies do. */
export function partDependency({ id }: SharedUnit): string {
  return `part/${id}`
}

/** The view, and which of its fields are read through it. */
export function recordedView(view: ProxyView): {
  readonly view: ProxyView
  readonly read: ReadonlySet<Field>
} {
  const read = new Set<Field>()
  const recorded = new Proxy(view, {
    get(target, field) {
      // Views have no other fields.
      const known = field as Field
      read.add(known)
      return target[known]
    },
  })
  return { view: recorded, read }
}
