/** Label selection, shared by services and policies. */
import type { Labels } from './types.ts'

/** Whether the labels have every pair of the selector. */
export function selects(selector: Labels, labels: Labels): boolean {
  for (const key in selector) if (labels[key] !== selector[key]) return false
  return true
}

/** The index key of one label pair in one namespace. */
export function labelKey(namespace: string, label: string, value: string): string {
  return `${namespace}|${label}=${value}`
}

/**
 * The one pair under which a selector is indexed: the alphabetically first label. Any pair would
 * do, since an object must have all of them. Undefined for an empty selector.
 */
export function selectorKey(namespace: string, selector: Labels): string | undefined {
  let first: string | undefined
  for (const key in selector) if (first === undefined || key < first) first = key
  return first === undefined ? undefined : labelKey(namespace, first, selector[first] ?? '')
}
