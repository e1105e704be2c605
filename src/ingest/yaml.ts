/**
 * Kubernetes objects out of YAML text, with a side table of lines: where a field of an object stands.
 * The table is how `explain` names the line that decided; lines never travel through xDS.
 */

import type { Document } from 'yaml'
import { isMap, isNode, LineCounter, parseAllDocuments } from 'yaml'
import type { KubeObject } from '../kube/index.ts'
import { badYaml, notAnObject } from './errors.ts'

export interface ParsedObject {
  readonly object: KubeObject
  readonly file: string
  /** The first line of the object. */
  readonly line: number
  /** The line of a field, or of its nearest parent that is there: `['spec', 'rules', 0]`. */
  lineOf(path: readonly (string | number)[]): number
}

/**
 * Reads every document, unpacking `kind: List`. Throws a MeshError that names file and line.
 * @param file only for messages and provenance
 */
export function objectsFromYaml(text: string, file = '<input>'): ParsedObject[] {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: lines })
  const parsed: ParsedObject[] = []
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors
    if (error !== undefined) {
      throw badYaml(file, lines.linePos(error.pos[0]).line, error.message.split('\n')[0] ?? '')
    }
    const value: unknown = document.toJS({ maxAliasCount: 1000 })
    // Nothing but comments, or nothing after the last separator.
    if (value === null || value === undefined) continue
    parsed.push(...fromDocument(value, document, lines, file))
  }
  return parsed
}

function fromDocument(
  value: unknown,
  document: Document,
  lines: LineCounter,
  file: string,
): ParsedObject[] {
  const items = (value as { kind?: unknown; items?: unknown } | null)?.items
  if (Array.isArray(items) && (value as { kind?: unknown }).kind === 'List') {
    return items.map((item, index) => parsedObject(item, document, ['items', index], lines, file))
  }
  return [parsedObject(value, document, [], lines, file)]
}

function parsedObject(
  value: unknown,
  document: Document,
  base: readonly (string | number)[],
  lines: LineCounter,
  file: string,
): ParsedObject {
  const lineOf = (path: readonly (string | number)[]): number => {
    for (let length = path.length; length >= 0; length--) {
      const offset = startOf(document, [...base, ...path.slice(0, length)])
      if (offset !== undefined) return lines.linePos(offset).line
    }
    return 1
  }
  // Fields are read defensively everywhere; here only what makes it an object is demanded.
  const object = value as Partial<KubeObject> | null
  if (typeof object !== 'object' || object === null || Array.isArray(object))
    throw notAnObject(file, lineOf([]), 'fields')
  if (typeof object.apiVersion !== 'string') throw notAnObject(file, lineOf([]), 'apiVersion')
  if (typeof object.kind !== 'string') throw notAnObject(file, lineOf([]), 'kind')
  if (typeof object.metadata?.name !== 'string')
    throw notAnObject(file, lineOf([]), 'metadata.name')
  return { object: object as KubeObject, file, line: lineOf([]), lineOf }
}

/** The offset of the field's key, or of the list item. */
function startOf(document: Document, path: readonly (string | number)[]): number | undefined {
  if (path.length === 0) return isNode(document.contents) ? document.contents.range?.[0] : undefined
  const last = path.at(-1)
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isNode(item.key) && item.key.toJSON() === last)
    return pair !== undefined && isNode(pair.key) ? pair.key.range?.[0] : undefined
  }
  const node: unknown = document.getIn(path, true)
  return isNode(node) ? node.range?.[0] : undefined
}
