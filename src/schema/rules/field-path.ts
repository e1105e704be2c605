/** `fieldPath` of a rule: where below the rule's own node its complaint belongs. */
import type { SchemaNode } from '../types.ts'

const step = /\.([^.[\]']+)|\['((?:[^'\\]|\\.)*)'\]/y

const escapes: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/** The suffix for paths of complaints (`.spec.ports[x]`), or what is wrong with the field path. */
export function ruleFieldPath(
  text: string,
  schema: SchemaNode,
): { readonly suffix: string } | { readonly error: string } {
  let node: SchemaNode | undefined = schema
  let suffix = ''
  step.lastIndex = 0
  while (step.lastIndex < text.length) {
    const from = step.lastIndex
    const match = step.exec(text)
    if (match === null) {
      return { error: `expected [ or . but got: ${text.slice(from)}` }
    }
    const name: string = match[1] ?? unescape(match[2] ?? '')
    const { properties, additionalProperties }: SchemaNode = node
    if (properties !== undefined) {
      node = Object.hasOwn(properties, name) ? properties[name] : undefined
      suffix += `.${name}`
    } else {
      node = typeof additionalProperties === 'object' ? additionalProperties : undefined
      suffix += `[${name}]`
    }
    if (node === undefined) return { error: 'does not refer to a valid field' }
  }
  return { suffix }
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, code: string) => escapes[code] ?? code)
}
