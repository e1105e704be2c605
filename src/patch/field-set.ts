/**
 * Sets of fields, as `metadata.managedFields` records who owns what: a trie of path elements
 * (`f:name`, `k:{"name":"a"}`, `v:1`). A node that is owned itself is marked; FieldsV1 writes that
 * as `".":{}` beside its children. Sets never change once made: operations share what stays the
 * same, so that equal parts are one object and cost nothing to compare or to write again.
 */
import { checkDepth, isMap, type Json, put } from './values.ts'

type Children = ReadonlyMap<string, FieldSet>

const none: Children = new Map()

export class FieldSet {
  readonly owned: boolean
  readonly children: Children
  #encoded: Json | undefined

  constructor(owned: boolean, children: Children = none) {
    this.owned = owned
    this.children = children
  }

  /** A node with these children; the shared ones where there are none. */
  static of(owned: boolean, children: Children): FieldSet {
    return children.size > 0 ? new FieldSet(owned, children) : owned ? leaf : nothing
  }

  get empty(): boolean {
    return !this.owned && this.children.size === 0
  }

  /** The same node, owned itself (or not). */
  marked(owned: boolean): FieldSet {
    return owned === this.owned ? this : FieldSet.of(owned, this.children)
  }

  /** All paths of both. */
  union(other: FieldSet): FieldSet {
    if (this === other || other.empty) return this
    if (this.empty) return other
    let children: Map<string, FieldSet> | undefined
    for (const [element, theirs] of other.children) {
      const mine = this.children.get(element)
      const joined = mine === undefined ? theirs : mine.union(theirs)
      if (joined === mine) continue
      children ??= new Map(this.children)
      children.set(element, joined)
    }
    const owned = this.owned || other.owned
    return children === undefined ? this.marked(owned) : new FieldSet(owned, children)
  }

  /** The paths that are here and not there. */
  difference(other: FieldSet): FieldSet {
    if (this === other) return nothing
    let children: Map<string, FieldSet> | undefined
    for (const [element, theirs] of other.children) {
      const mine = this.children.get(element)
      if (mine === undefined) continue
      const left = mine.difference(theirs)
      if (left === mine) continue
      children ??= new Map(this.children)
      if (left.empty) children.delete(element)
      else children.set(element, left)
    }
    const owned = this.owned && !other.owned
    return children === undefined ? this.marked(owned) : FieldSet.of(owned, children)
  }

  /** The paths that are in both. */
  intersection(other: FieldSet): FieldSet {
    if (this === other) return this
    const children = new Map<string, FieldSet>()
    for (const [element, mine] of this.children) {
      const theirs = other.children.get(element)
      const shared = theirs === undefined ? nothing : mine.intersection(theirs)
      if (!shared.empty) children.set(element, shared)
    }
    return FieldSet.of(this.owned && other.owned, children)
  }

  /** Without what the paths name, the nodes themselves only or all that is below them too. */
  without(paths: readonly (readonly string[])[], what: 'nodes' | 'trees' = 'trees'): FieldSet {
    return paths.reduce<FieldSet>((left, path) => left.#cut(path, 0, what), this)
  }

  #cut(path: readonly string[], depth: number, what: 'nodes' | 'trees'): FieldSet {
    if (depth === path.length) return what === 'trees' ? nothing : this.marked(false)
    const element = path[depth] ?? ''
    const child = this.children.get(element)
    if (child === undefined) return this
    const rest = child.#cut(path, depth + 1, what)
    if (rest === child) return this
    const children = new Map(this.children)
    if (rest.empty) children.delete(element)
    else children.set(element, rest)
    return FieldSet.of(this.owned, children)
  }

  equals(other: FieldSet): boolean {
    if (this === other) return true
    if (this.owned !== other.owned || this.children.size !== other.children.size) return false
    for (const [element, child] of this.children) {
      const theirs = other.children.get(element)
      if (theirs === undefined || !child.equals(theirs)) return false
    }
    return true
  }

  /** Every path below this node: those that end here first, in order, as conflicts are listed. */
  *paths(prefix: readonly string[] = []): Generator<readonly string[]> {
    const elements = [...this.children.keys()].sort()
    for (const element of elements) {
      if (this.children.get(element)?.owned === true) yield [...prefix, element]
    }
    for (const element of elements) {
      yield* this.children.get(element)?.paths([...prefix, element]) ?? []
    }
  }

  /** The FieldsV1 form, sorted so that equal sets have equal texts. Not to be changed: it is shared. */
  encode(): Json {
    if (this.#encoded !== undefined) return this.#encoded
    const result: Json = {}
    if (this.owned && this.children.size > 0) result['.'] = leafJson
    for (const element of [...this.children.keys()].sort()) {
      put(result, element, this.children.get(element)?.encode())
    }
    this.#encoded = result
    return result
  }

  /** Reads FieldsV1; undefined when it isn't that. */
  static decode(fields: unknown, depth = 0): FieldSet | undefined {
    checkDepth(depth)
    if (!isMap(fields)) return undefined
    const root = depth === 0
    const elements = Object.keys(fields)
    if (elements.length === 0) return root ? nothing : leaf
    const children = new Map<string, FieldSet>()
    let owned = false
    // What was written here before is in order, and need not be written anew.
    let inOrder = true
    let before = ''
    for (const element of elements) {
      if (element === '.') owned = !root
      else if (!isElement(element)) return undefined
      else {
        const child = FieldSet.decode(fields[element], depth + 1)
        if (child === undefined) return undefined
        children.set(element, child)
        inOrder &&= child === leaf ? isBare(fields[element]) : child.#encoded === fields[element]
      }
      if (element === '.') inOrder &&= !root && isBare(fields[element])
      inOrder &&= before < element
      before = element
    }
    const set = FieldSet.of(owned, children)
    if (inOrder && children.size > 0) set.#encoded = fields
    return set
  }
}

/** A single owned field, and the empty set. */
export const leaf = new FieldSet(true)
export const nothing = new FieldSet(false)
const leafJson = leaf.encode()

function isBare(value: unknown): boolean {
  return isMap(value) && Object.keys(value).length === 0
}

/** `f:` a field, `k:` an item by its keys, `v:` by its value, `i:` by its place. */
function isElement(text: string): boolean {
  if (text.charAt(1) !== ':') return false
  const kind = text.charAt(0)
  if (kind === 'k') return text.startsWith('k:{') && text.endsWith('}')
  return kind === 'f' || kind === 'v' || kind === 'i'
}

/** A path for people: `.spec.containers[name="c"].image`. */
export function pathText(path: readonly string[]): string {
  return path
    .map((element) => {
      const rest = element.slice(2)
      if (element.startsWith('f:')) return `.${rest}`
      if (element.startsWith('v:')) return `[=${rest}]`
      if (element.startsWith('i:')) return `[${rest}]`
      return `[${keysText(rest)}]`
    })
    .join('')
}

function keysText(json: string): string {
  try {
    const keys = Object.entries(JSON.parse(json) as Json)
    return keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')
  } catch {
    // A client wrote its own managedFields; what it wrote is the best name there is.
    return json
  }
}
