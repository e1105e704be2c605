/** Pieces of cells that several kinds share. */
import { humanDuration, type KubeObject, parseTime } from '../../kube/index.ts'
import { type JsonMap, listOf, mapOf, textOf, valueAt } from '../values.ts'

export interface Column {
  readonly name: string
  readonly type: string
  readonly format: string
  readonly description: string
  /** 0 is always shown, 1 only with `-o wide`. */
  readonly priority: number
}

export interface Printer {
  readonly columns: readonly Column[]
  cells(object: KubeObject, now: number): unknown[]
}

/** What a room of printers gives: cells by column, in order; a `*` after the name means wide only. */
export type Cells = Readonly<Record<string, (object: KubeObject, now: number) => unknown>>

/** The age of the object, as kubectl prints it. */
export function age(object: KubeObject, now: number): string {
  return ageOf(object.metadata.creationTimestamp, now)
}

export function ageOf(time: unknown, now: number): string {
  const at = typeof time === 'string' ? parseTime(time) : undefined
  return at === undefined ? '<unknown>' : humanDuration(Math.max(0, now - at))
}

export const none = '<none>'
export const unset = '<unset>'

/** `a=b,c=d` of a map of labels. */
export function labelsText(labels: unknown): string {
  const entries = Object.entries(mapOf(labels))
  return entries.length === 0
    ? none
    : entries.map(([key, value]) => `${key}=${textOf(value)}`).join(',')
}

/** A `metav1.LabelSelector` as text. */
export function selectorCell(selector: unknown): string {
  const parts = Object.entries(mapOf(mapOf(selector).matchLabels)).map(
    ([key, value]) => `${key}=${textOf(value)}`,
  )
  for (const { key, operator, values } of listOf(mapOf(selector).matchExpressions)) {
    const set = `(${(Array.isArray(values) ? values : []).join(',')})`
    if (operator === 'In') parts.push(`${textOf(key)} in ${set}`)
    else if (operator === 'NotIn') parts.push(`${textOf(key)} notin ${set}`)
    else parts.push(operator === 'Exists' ? textOf(key) : `!${textOf(key)}`)
  }
  return parts.length === 0 ? none : parts.join(',')
}

/** @param path of the pod template */
const containersIn = (object: KubeObject, path: string): JsonMap[] =>
  listOf(valueAt(object, `${path}.spec.containers`))

export function containerNames(path = 'spec.template'): (object: KubeObject) => string {
  return (object) =>
    containersIn(object, path)
      .map(({ name }) => textOf(name))
      .join(',')
}

export function containerImages(path = 'spec.template'): (object: KubeObject) => string {
  return (object) =>
    containersIn(object, path)
      .map(({ image }) => textOf(image))
      .join(',')
}

export function number(object: KubeObject, path: string): number {
  const value = valueAt(object, path)
  return typeof value === 'number' ? value : 0
}

/** The time between two moments of an object, or until now. */
export function between(from: unknown, to: unknown, now: number): string {
  const start = typeof from === 'string' ? parseTime(from) : undefined
  if (start === undefined) return ''
  const end = typeof to === 'string' ? parseTime(to) : undefined
  return humanDuration(Math.max(0, (end ?? now) - start))
}
