/** Operations on an ordered list of named things: filters and routes. */
import type { EnvoyOperation } from '../../../model/index.ts'

export interface ListPatch<T> {
  readonly operation: EnvoyOperation
  /** Absent for REMOVE. */
  readonly value: T | undefined
  /** Which elements are meant; undefined: none is named. */
  readonly selects: ((element: T) => boolean) | undefined
  /** The changed element; for MERGE. */
  readonly merge: (element: T, value: T) => T
  /** Where what is added at the end goes; after some elements nothing may come. */
  readonly end: (list: readonly T[]) => number
}

/** A new list; the same one when nothing is selected. */
export function patchList<T>(list: readonly T[], patch: ListPatch<T>): readonly T[] {
  const { operation, value, selects, merge, end } = patch
  const isMeant = selects ?? (() => true)
  if (operation === 'REMOVE') return list.filter((element) => !isMeant(element))
  if (value === undefined) return list
  if (operation === 'MERGE' || operation === 'MERGE_AND_REPLACE_LIST') {
    return list.map((element) => (isMeant(element) ? merge(element, value) : element))
  }
  if (operation === 'REPLACE') return replaceFirst(list, isMeant, value)
  return insert(list, placeOf(operation, list, { selects, end }), value)
}

function replaceFirst<T>(
  list: readonly T[],
  isMeant: (element: T) => boolean,
  value: T,
): readonly T[] {
  const index = list.findIndex(isMeant)
  return index < 0 ? list : list.with(index, value)
}

function insert<T>(list: readonly T[], index: number | undefined, value: T): readonly T[] {
  return index === undefined ? list : list.toSpliced(index, 0, value)
}

/** Undefined: the element that it depends on is not there. */
function placeOf<T>(
  operation: EnvoyOperation,
  list: readonly T[],
  { selects, end }: Pick<ListPatch<T>, 'selects' | 'end'>,
): number | undefined {
  if (operation === 'INSERT_FIRST') return 0
  if (operation === 'ADD') return end(list)
  const isBefore = operation === 'INSERT_BEFORE'
  if (selects === undefined) return isBefore ? 0 : end(list)
  const index = list.findIndex(selects)
  if (index < 0) return undefined
  return isBefore ? index : index + 1
}
