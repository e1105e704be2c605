/**
 * An immutable map with structural sharing (a hash array mapped trie, 32 ways a level).
 * A snapshot of 50,000 pods and its successor share everything but the few nodes on the changed
 * paths: that is what makes "immutable snapshot" and "cost follows the change" true together.
 * Within one batch (one `Edit`) nodes are changed in place, so the first fill allocates no garbage.
 */

interface Leaf<V> {
  readonly kind: 'leaf'
  readonly hash: number
  readonly key: string
  readonly value: V
}

/** Keys whose 32 hash bits are all equal; searched one by one. */
interface Collision<V> {
  readonly kind: 'collision'
  readonly hash: number
  readonly leaves: readonly Leaf<V>[]
}

interface Branch<V> {
  readonly kind: 'branch'
  readonly owner: Edit | undefined
  bitmap: number
  readonly children: Node<V>[]
}

type Node<V> = Leaf<V> | Collision<V> | Branch<V>

/** The token of one batch: nodes that carry it are not visible to anybody else yet. */
export class Edit {
  /** Keeps the class nominal, so that no other object passes for a token. */
  readonly isEdit = true
}

const bitsPerLevel = 5
const levelMask = 31

/** FNV-1a over UTF-16 code units: keys are names, so quality matters more than seeds. */
export function hashKey(key: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index++) {
    hash ^= key.charCodeAt(index)
    hash = Math.imul(hash, 0x01000193)
  }
  return hash >>> 0
}

export class PersistentMap<V> {
  readonly size: number
  readonly #root: Node<V> | undefined

  private constructor(root: Node<V> | undefined, size: number) {
    this.#root = root
    this.size = size
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>(undefined, 0)
  }

  get(key: string): V | undefined {
    const hash = hashKey(key)
    let node = this.#root
    let shift = 0
    while (node !== undefined) {
      if (node.kind === 'leaf') return node.key === key ? node.value : undefined
      if (node.kind === 'collision') return node.leaves.find((leaf) => leaf.key === key)?.value
      const bit = 1 << ((hash >>> shift) & levelMask)
      if ((node.bitmap & bit) === 0) return undefined
      node = node.children[popCount(node.bitmap & (bit - 1))]
      shift += bitsPerLevel
    }
    return undefined
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** The map with `key` set; values must not be undefined. */
  set(key: string, value: V, edit?: Edit): PersistentMap<V> {
    const leaf: Leaf<V> = { kind: 'leaf', hash: hashKey(key), key, value }
    if (this.#root === undefined) return new PersistentMap<V>(leaf, 1)
    const grown = { by: 0 }
    const root = insert(this.#root, leaf, 0, edit, grown)
    return new PersistentMap(root, this.size + grown.by)
  }

  delete(key: string, edit?: Edit): PersistentMap<V> {
    if (this.#root === undefined || !this.has(key)) return this
    return new PersistentMap(remove(this.#root, key, hashKey(key), 0, edit), this.size - 1)
  }

  *entries(): IterableIterator<[string, V]> {
    if (this.#root === undefined) return
    for (const leaf of leaves(this.#root)) yield [leaf.key, leaf.value]
  }

  *keys(): IterableIterator<string> {
    for (const [key] of this.entries()) yield key
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this.entries()) yield value
  }
}

function popCount(bits: number): number {
  let value = bits - ((bits >>> 1) & 0x55555555)
  value = (value & 0x33333333) + ((value >>> 2) & 0x33333333)
  return Math.imul((value + (value >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

function* leaves<V>(node: Node<V>): IterableIterator<Leaf<V>> {
  if (node.kind === 'leaf') yield node
  else if (node.kind === 'collision') yield* node.leaves
  else for (const child of node.children) yield* leaves(child)
}

/** A branch that may be changed in place under this edit. */
function editable<V>(branch: Branch<V>, edit: Edit | undefined): Branch<V> {
  if (edit !== undefined && branch.owner === edit) return branch
  return { kind: 'branch', owner: edit, bitmap: branch.bitmap, children: [...branch.children] }
}

function insert<V>(
  node: Node<V>,
  leaf: Leaf<V>,
  shift: number,
  edit: Edit | undefined,
  grown: { by: number },
): Node<V> {
  if (node.kind === 'leaf') {
    if (node.key === leaf.key) return leaf
    grown.by = 1
    return join(node, leaf, shift, edit)
  }
  if (node.kind === 'collision') {
    if (node.hash !== leaf.hash) {
      grown.by = 1
      return join(node, leaf, shift, edit)
    }
    const others = node.leaves.filter((other) => other.key !== leaf.key)
    grown.by = others.length === node.leaves.length ? 1 : 0
    return { kind: 'collision', hash: node.hash, leaves: [...others, leaf] }
  }
  const bit = 1 << ((leaf.hash >>> shift) & levelMask)
  const at = popCount(node.bitmap & (bit - 1))
  const branch = editable(node, edit)
  const child = branch.children[at]
  if ((node.bitmap & bit) === 0 || child === undefined) {
    grown.by = 1
    branch.bitmap |= bit
    branch.children.splice(at, 0, leaf)
  } else {
    branch.children[at] = insert(child, leaf, shift + bitsPerLevel, edit, grown)
  }
  return branch
}

/** Two nodes with different keys below one new branch. */
function join<V>(
  left: Leaf<V> | Collision<V>,
  right: Leaf<V>,
  shift: number,
  edit: Edit | undefined,
): Node<V> {
  if (left.hash === right.hash) {
    const known = left.kind === 'leaf' ? [left] : left.leaves
    return { kind: 'collision', hash: left.hash, leaves: [...known, right] }
  }
  const leftSlot = (left.hash >>> shift) & levelMask
  const rightSlot = (right.hash >>> shift) & levelMask
  const bitmap = (1 << leftSlot) | (1 << rightSlot)
  let children: Node<V>[]
  if (leftSlot === rightSlot) children = [join(left, right, shift + bitsPerLevel, edit)]
  else children = leftSlot < rightSlot ? [left, right] : [right, left]
  return { kind: 'branch', owner: edit, bitmap, children }
}

/** The node without `key`, which must be in it; undefined when nothing is left. */
function remove<V>(
  node: Node<V>,
  key: string,
  hash: number,
  shift: number,
  edit: Edit | undefined,
): Node<V> | undefined {
  if (node.kind === 'leaf') return undefined
  if (node.kind === 'collision') {
    const rest = node.leaves.filter((leaf) => leaf.key !== key)
    return rest.length === 1 ? rest[0] : { kind: 'collision', hash, leaves: rest }
  }
  const bit = 1 << ((hash >>> shift) & levelMask)
  const at = popCount(node.bitmap & (bit - 1))
  const child = node.children[at]
  if (child === undefined) return node
  const left = remove(child, key, hash, shift + bitsPerLevel, edit)
  const branch = editable(node, edit)
  if (left !== undefined) branch.children[at] = left
  else {
    branch.bitmap &= ~bit
    branch.children.splice(at, 1)
  }
  const only = branch.children[0]
  if (only === undefined) return undefined
  // A lone leaf moves up, so that equal maps have equal depth whatever their history.
  return branch.children.length === 1 && only.kind !== 'branch' ? only : branch
}
