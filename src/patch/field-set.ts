/**
 * Sets of fields, as `metadata.managedFields` records who owns what: a trie of path elements
 * (`f:name`, `k:{"name":"a"}`, `v:1`). A node that is owned itself is marked; FieldsV1 writes that
 * as `".":{}` beside its children.
 */
import { isMap, type Json, put } from './values.ts'

export class FieldSet {
  owned = false
  readonly children = new Map<string, FieldSet>()

  get empty(): boolean {
    return !this.owned && this.children.size === 0
  }

  /** The node below an element, made when it isn't there. */
  at(element: string): FieldSet {
    let child = this.children.get(element)
    if (child === undefined) {
      child = new FieldSet()
      this.children.set(element, child)
    }
    return child
  }

  /** Adds a path. */
  insert(path: readonly string[]): void {
    const [first, ...rest] = path
    if (first === undefined) this.owned = true
    else this.at(first).insert(rest)
  }

  /** All paths of both. */
  union(other: FieldSet): FieldSet {
    const result = new FieldSet()
    result.owned = this.owned || other.owned
    for (const set of [this, other]) {
      for (const [element, child] of set.children) {
        const present = result.children.get(element)
        result.children.set(element, present === undefined ? child : present.union(child))
      }
    }
    return result
  }

  /** The paths that are here and not there. */
  difference(other: FieldSet): FieldSet {
    return this.#combine(other, (mine, theirs) => mine && !theirs, true)
  }

  /** The paths that are in both. */
  intersection(other: FieldSet): FieldSet {
    return this.#combine(other, (mine, theirs) => mine && theirs, false)
  }

  #combine(
    other: FieldSet,
    keep: (mine: boolean, theirs: boolean) => boolean,
    alone: boolean,
  ): FieldSet {
    const result = new FieldSet()
    result.owned = keep(this.owned, other.owned)
    for (const [element, child] of this.children) {
      const theirs = other.children.get(element)
      const combined = theirs === undefined ? child : child.#combine(theirs, keep, alone)
      if ((theirs !== undefined || alone) && !combined.empty) result.children.set(element, combined)
    }
    return result
  }

  /** Without these subtrees. */
  without(paths: readonly (readonly string[])[]): FieldSet {
    return paths.reduce<FieldSet>((left, path) => left.#cut(path, 0), this)
  }

  #cut(path: readonly string[], depth: number): FieldSet {
    const element = path[depth] ?? ''
    const child = this.children.get(element)
    if (child === undefined) return this
    const result = new FieldSet()
    result.owned = this.owned
    for (const [name, each] of this.children) if (name !== element) result.children.set(name, each)
    const rest = depth + 1 === path.length ? undefined : child.#cut(path, depth + 1)
    if (rest !== undefined && !rest.empty) result.children.set(element, rest)
    return result
  }

  equals(other: FieldSet): boolean {
    if (this.owned !== other.owned || this.children.size !== other.children.size) return false
    for (const [element, child] of this.children) {
      const theirs = other.children.get(element)
      if (theirs === undefined || !child.equals(theirs)) return false
    }
    return true
  }

  /** Every path, in the order of insertion. */
  *paths(prefix: readonly string[] = []): Generator<readonly string[]> {
    if (this.owned) yield prefix
    for (const [element, child] of this.children) yield* child.paths([...prefix, element])
  }

  /** The FieldsV1 form, sorted so that equal sets have equal texts. */
  encode(): Json {
    const result: Json = {}
    if (this.owned && this.children.size > 0) result['.'] = {}
    for (const element of [...this.children.keys()].sort()) {
      put(result, element, this.children.get(element)?.encode())
    }
    return result
  }

  /** Reads FieldsV1; what isn't in that form is ignored. */
  static decode(fields: unknown, root = true): FieldSet {
    const set = new FieldSet()
    if (!isMap(fields)) return set
    const elements = Object.keys(fields)
    set.owned = !root && (elements.length === 0 || elements.includes('.'))
    for (const element of elements) {
      if (element !== '.') set.children.set(element, FieldSet.decode(fields[element], false))
    }
    return set
  }
}

/** A path for people: `.spec.containers[name="c"].image`. */
export function pathText(path: readonly string[]): string {
  return path
    .map((element) => {
      const rest = element.slice(2)
      if (element.startsWith('f:')) return `.${rest}`
      if (element.startsWith('v:')) return `[=${rest}]`
      const keys = Object.entries(JSON.parse(rest) as Json)
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`
    })
    .join('')
}
