/**
 * Which routes of a virtual host can match a path, without walking all of them: exact paths in a table,
 * prefixes in a radix tree, the rest (expressions, templates) in a list. Every list is in the order of the
 * configuration, and the first match in that order wins over all lists.
 */
import type { CompiledMatch } from './match.ts'

interface Node {
  /** What the edge to this node adds. */
  label: string
  routes: number[]
  readonly children: Map<number, Node>
}

const none: readonly number[] = []

export class PathIndex {
  readonly #exact = new Map<string, number[]>()
  readonly #root: Node = { label: '', routes: [], children: new Map() }
  readonly #segments = new Set<number>()
  readonly #other: number[] = []
  readonly #connect: number[] = []

  constructor(matches: readonly CompiledMatch[]) {
    for (const [route, match] of matches.entries()) {
      if (match.connect) this.#connect.push(route)
      else if (match.pathKind === 'exact') {
        const known = this.#exact.get(match.pathText)
        if (known === undefined) this.#exact.set(match.pathText, [route])
        else known.push(route)
      } else if (match.pathKind === 'other') this.#other.push(route)
      else {
        if (match.pathKind === 'segments') this.#segments.add(route)
        insert(this.#root, match.pathText, route)
      }
    }
  }

  /**
   * The first route in order whose path matches and which is accepted, or -1.
   * @param pathless a CONNECT without a path, which only its own routes take
   */
  first(path: string, pathless: boolean, accept: (route: number) => boolean): number {
    let best = scan(this.#connect, Number.POSITIVE_INFINITY, accept)
    if (pathless) return best === Number.POSITIVE_INFINITY ? -1 : best
    best = scan(this.#exact.get(path) ?? none, best, accept)
    best = this.#prefixes(path, best, accept)
    best = scan(this.#other, best, accept)
    return best === Number.POSITIVE_INFINITY ? -1 : best
  }

  #prefixes(path: string, known: number, accept: (route: number) => boolean): number {
    let best = known
    let node: Node | undefined = this.#root
    let depth = 0
    while (node !== undefined) {
      for (const route of node.routes) {
        if (route >= best) break
        const whole = depth === path.length || path.charCodeAt(depth) === 47
        if (!whole && this.#segments.has(route)) continue
        if (accept(route)) {
          best = route
          break
        }
      }
      if (depth >= path.length) break
      const child: Node | undefined = node.children.get(path.charCodeAt(depth))
      if (child === undefined || !path.startsWith(child.label, depth)) break
      node = child
      depth += child.label.length
    }
    return best
  }
}

function scan(
  routes: readonly number[],
  known: number,
  accept: (route: number) => boolean,
): number {
  for (const route of routes) {
    if (route >= known) return known
    if (accept(route)) return route
  }
  return known
}

function insert(root: Node, text: string, route: number): void {
  let node = root
  let rest = text
  while (rest !== '') {
    const child = node.children.get(rest.charCodeAt(0))
    if (child === undefined) {
      node.children.set(rest.charCodeAt(0), { label: rest, routes: [route], children: new Map() })
      return
    }
    let common = 1
    const most = Math.min(child.label.length, rest.length)
    while (common < most && child.label.charCodeAt(common) === rest.charCodeAt(common)) common++
    node = common < child.label.length ? split(node, child, common) : child
    rest = rest.slice(common)
  }
  node.routes.push(route)
}

/** Puts a node where an edge is left by another text. */
function split(parent: Node, child: Node, at: number): Node {
  const middle: Node = { label: child.label.slice(0, at), routes: [], children: new Map() }
  child.label = child.label.slice(at)
  middle.children.set(child.label.charCodeAt(0), child)
  parent.children.set(middle.label.charCodeAt(0), middle)
  return middle
}
