/**
 * The budget of a definition's rules: what each may cost at most for one request, by the bounds that the schema
 * declares. The sizes which nobody bounds are those that fit into a request.
 */
import { type Extent, estimateCost } from '../../cel/index.ts'
import type { SchemaNode, SchemaRule } from '../types.ts'
import { escapeName } from './escape.ts'
import { fieldsOf, type View } from './typing.ts'

/** Of one rule, for all its runs in one request; and of all rules of a schema. The API's own limits. */
export const maxRuleEstimate = 10_000_000
export const maxSchemaEstimate = 100_000_000

/** The largest request that the API takes. */
const requestBytes = 3 * 1024 * 1024

/** The most bytes that a character takes. */
const bytesPerCharacter = 4

const formatSizes: Readonly<Record<string, number>> = {
  date: 10,
  'date-time': 21,
  duration: 32,
}

const quotesSize = 2

/** The least bytes of a value in JSON. */
function leastBytes(node: SchemaNode): number {
  switch (node.intOrString === true ? 'integer' : node.type) {
    case 'object':
      return (node.required ?? []).reduce((total, name) => {
        const child = node.properties?.[name]
        if (child === undefined || child.default !== undefined) return total
        // The name in quotes, a colon and a comma.
        return total + name.length + leastBytes(child) + 4
      }, quotesSize)
    case 'string':
    case 'array':
      return quotesSize
    case 'boolean':
      return 4
    default:
      return 1
  }
}

function listSize({ maxItems, items = {} }: SchemaNode): number {
  return maxItems ?? Math.floor((requestBytes - 2) / (leastBytes(items) + 1))
}

function mapSize({ maxProperties }: SchemaNode, values: SchemaNode): number {
  // Each entry has at least a name in quotes, a colon and a comma.
  return maxProperties ?? Math.floor((requestBytes - 2) / (leastBytes(values) + 6))
}

function textSize({ maxLength, enum: values, format = '' }: SchemaNode): number {
  const known = formatSizes[format]
  if (known !== undefined) return known
  if (values !== undefined) return Math.max(0, ...values.map((value) => String(value).length))
  if (maxLength !== undefined) return maxLength * bytesPerCharacter
  return requestBytes - quotesSize
}

/** How large the values of a schema may be. */
export function extentOf(view: View): Extent {
  const { node } = view
  if (node.intOrString === true) return { size: requestBytes, kind: 'text' }
  const child = (inner: SchemaNode) => () => extentOf({ node: inner, root: false })
  switch (node.type) {
    case 'string':
      return { size: textSize(node), kind: 'text' }
    case 'array':
      return { size: listSize(node), kind: 'list', element: child(node.items ?? {}) }
    case 'object': {
      const { additionalProperties: values } = node
      if (typeof values === 'object') {
        // The API takes names in maps for free, and rules that people wrote depend on it.
        const key = (): Extent => ({ size: 0, kind: 'text' })
        return { size: mapSize(node, values), kind: 'map', element: child(values), key }
      }
      const field = (wanted: string): Extent | undefined => {
        const found = Object.entries(fieldsOf(view) ?? {}).find(
          ([name]) => name === wanted || escapeName(name) === wanted,
        )
        return found === undefined ? undefined : extentOf({ node: found[1], root: false })
      }
      return { size: 1, kind: 'other', field }
    }
    default:
      return { size: 1, kind: 'other' }
  }
}

/** How often a schema can occur in one object: undefined when nothing bounds it. */
export type Occurrences = number | undefined

/** The occurrences of what is below a list or map. */
export function occurrencesBelow(node: SchemaNode, above: Occurrences): Occurrences {
  const bound = node.type === 'array' ? node.maxItems : node.maxProperties
  return above === undefined || bound === undefined ? undefined : above * bound
}

/** The most that a rule and its message can cost for one request. */
export function ruleEstimate(rule: SchemaRule, view: View, occurrences: Occurrences): number {
  const self = extentOf(view)
  const times = occurrences ?? Math.floor(requestBytes / (leastBytes(view.node) + 1))
  const variables = { self, oldSelf: self }
  const cost = estimateCost(rule.rule, variables)
  const text = rule.messageExpression?.trim() ?? ''
  return times * (text === '' ? cost : cost + estimateCost(text, variables))
}

const advice =
  'adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared'

/** What is said of a rule beyond the limit; undefined within. */
export function ruleExcess(estimate: number): string | undefined {
  if (estimate <= maxRuleEstimate) return undefined
  const factor = factorText(estimate / maxRuleEstimate)
  return `estimated rule cost exceeds budget by factor of ${factor} (try simplifying the rule, or ${advice})`
}

/** What is said of a whole schema beyond the limit; undefined within. */
export function schemaExcess(total: number): string | undefined {
  if (total <= maxSchemaEstimate) return undefined
  const factor = factorText(total / maxSchemaEstimate)
  return `x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of ${factor} (try simplifying the rule(s), or ${advice})`
}

function factorText(factor: number): string {
  return factor > 100 ? 'more than 100x' : `${factor.toFixed(1)}x`
}
