/** Lists whose items are merged one by one: what an item is called, and in which order two lists join. */
import { listKey, type SchemaNode } from '../schema/index.ts'
import { isMap } from './values.ts'

type Node = SchemaNode | undefined

/** The path elements of a list's items: `k:{"name":"a"}` by their keys, `v:1` by their value. */
export function elementsOf(node: Node, list: readonly unknown[]): string[] {
  if (node?.listType === 'set') return list.map((item) => `v:${JSON.stringify(item)}`)
  const keys = node?.listMapKeys ?? []
  const [only] = keys
  return list.map((item) => {
    // By far the most lists have one key, a text.
    if (keys.length === 1 && only !== undefined && isMap(item)) {
      const value = item[only]
      if (typeof value === 'string') return `k:{${quoted(only)}:${quoted(value)}}`
    }
    return `k:${JSON.stringify(node === undefined ? {} : listKey(node, item))}`
  })
}

function quoted(text: string): string {
  return /^[\w.\-/]*$/.test(text) ? `"${text}"` : JSON.stringify(text)
}

/**
 * Items of the configuration come in its order; items of the live list which it doesn't have keep
 * their places between the ones it shares. The live list itself comes out when nothing changed.
 */
export function mergeItems(
  node: Node,
  live: readonly unknown[],
  config: readonly unknown[],
  merge: (live: unknown, config: unknown) => unknown,
): readonly unknown[] {
  const olds = elementsOf(node, live)
  const news = elementsOf(node, config)
  const sameOrder = olds.length === news.length && olds.every((element, i) => element === news[i])
  const items = sameOrder
    ? live.map((item, i) => merge(item, config[i]))
    : joined({ list: live, elements: olds }, { list: config, elements: news }, merge)
  const unchanged = items.length === live.length && items.every((item, i) => item === live[i])
  return unchanged ? live : items
}

interface Items {
  readonly list: readonly unknown[]
  readonly elements: readonly string[]
}

function joined(
  { list: live, elements: olds }: Items,
  { list: config, elements: news }: Items,
  merge: (live: unknown, config: unknown) => unknown,
): unknown[] {
  const liveItems = new Map(olds.map((element, i) => [element, live[i]]))
  const configItems = new Map(news.map((element, i) => [element, config[i]]))
  return placesOf(olds, liveItems, configItems).map((place) =>
    typeof place === 'number' ? live[place] : merge(liveItems.get(place), configItems.get(place)),
  )
}

/** The merged list in order: elements of the configuration, and indexes of live items which it doesn't have. */
function placesOf(
  olds: readonly string[],
  live: ReadonlyMap<string, unknown>,
  config: ReadonlyMap<string, unknown>,
): (string | number)[] {
  const news = [...config.keys()]
  const shared = news.filter((element) => live.has(element))
  const places: (string | number)[] = []
  const merged = new Set<string>()
  const take = (element: string): void => {
    places.push(element)
    merged.add(element)
    if (shared[turn] === element) turn++
  }
  // A shared item that isn't the next one in the configuration's order: its turn comes there.
  const isLater = (element: string): boolean => turn < shared.length && shared[turn] !== element
  let turn = 0
  let i = 0
  let j = 0
  while (i < olds.length || j < news.length) {
    const left = olds[i]
    const right = news[j]
    if (left !== undefined && left === right) {
      take(left)
      i++
      j++
    } else if (left !== undefined && !config.has(left)) places.push(i++)
    else if (left !== undefined && right !== undefined && isLater(left)) i++
    else {
      if (left !== undefined && merged.has(left)) i++
      if (right !== undefined) {
        take(right)
        j++
      }
    }
  }
  return places
}
