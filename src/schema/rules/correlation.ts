/**
 * Which old value a new one corresponds to. Transition rules compare the two, and complaints about
 * a value that an update leaves as it was are dropped: objects stored before a schema became
 * stricter must stay changeable elsewhere.
 */
import { isMap, type Json, sameJson } from '../json.ts'
import { listKey } from '../list-types.ts'
import type { SchemaNode } from '../types.ts'

/** A new value beside its old one. */
export class Correlation {
  readonly value: unknown
  readonly old: unknown
  readonly #parent: Correlation | undefined
  #unchanged: boolean | undefined

  constructor(value: unknown, old: unknown, parent?: Correlation) {
    this.value = value
    this.old = old
    this.#parent = parent
  }

  /** Whether the value, or something that holds it, is as it was. */
  get unchanged(): boolean {
    this.#unchanged ??=
      (this.old !== undefined && sameJson(this.value, this.old)) || this.#parent?.unchanged === true
    return this.#unchanged
  }

  /** The pair at a field of this map. */
  field(key: string, value: unknown): Correlation {
    const old = isMap(this.old) && Object.hasOwn(this.old, key) ? this.old[key] : undefined
    return new Correlation(value, old ?? undefined, this)
  }
}

/** Finds the old elements of a list; only lists with keys have corresponding elements. */
export function elementFinder(
  node: SchemaNode,
  list: Correlation,
): (element: unknown) => Correlation {
  const { old } = list
  if (node.listType !== 'map' || !Array.isArray(old)) {
    return (element) => new Correlation(element, undefined, list)
  }
  const byKey = new Map(old.map((element: unknown) => [keyText(node, element), element]))
  return (element) => new Correlation(element, byKey.get(keyText(node, element)), list)
}

function keyText(node: SchemaNode, element: unknown): string {
  const key: Json = listKey(node, element)
  return JSON.stringify(key)
}
