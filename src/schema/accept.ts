/**
 * A quick yes for objects that are fine, which nearly all are: nodes are laid out once, as plans,
 * and no path or message is made. Whoever is refused here is looked at again by the walk which
 * explains; both must agree, which a property test checks.
 */
import { hasFormat } from './formats.ts'
import { characters, isMap, type Json } from './json.ts'
import { maxDepth } from './limits.ts'
import { hasDuplicates } from './list-types.ts'
import { compilePattern } from './patterns.ts'
import type { SchemaNode } from './types.ts'

/** What a node asks of a value. */
interface Plan {
  readonly node: SchemaNode
  readonly builtin: boolean
  readonly takes: Takes
  /** Facts about texts and numbers; undefined when there are none. */
  readonly text: ((value: string) => boolean) | undefined
  readonly number: ((value: number) => boolean) | undefined
  readonly required: readonly string[]
  /** Whether elements must differ. */
  readonly distinct: boolean
  /** Whether only the walk can tell: alternatives, enums of other values than texts. */
  readonly opaque: boolean
  /** Undefined until the first value comes; kinds have many fields that few objects use. */
  children: Children | undefined
}

interface Takes {
  readonly nothing: boolean
  readonly text: boolean
  readonly integer: boolean
  readonly fraction: boolean
  readonly boolean: boolean
  readonly list: boolean
  readonly map: boolean
}

interface Children {
  readonly fields: ReadonlyMap<string, Plan>
  readonly values: Plan | undefined
  readonly items: Plan | undefined
}

/** Decides what plans leave open, for one value and what is below it. */
export type Explain = (node: SchemaNode, value: unknown, depth: number) => boolean

const plansOfBuiltin = new WeakMap<SchemaNode, Plan>()
const plansOfCustom = new WeakMap<SchemaNode, Plan>()

/** Whether an object is sure to have no complaints. */
export function accepts(
  node: SchemaNode,
  object: unknown,
  options: { readonly builtin: boolean; readonly explain: Explain },
): boolean {
  return fits(planOf(node, options.builtin), object, { depth: 0, lenient: false }, options.explain)
}

interface Place {
  readonly depth: number
  /** In the status or metadata of a built-in kind, where nothing is missed. */
  readonly lenient: boolean
}

function fits(plan: Plan, value: unknown, at: Place, explain: Explain): boolean {
  const { takes } = plan
  if (value === null || value === undefined) return takes.nothing
  // Inside a lenient place the walk, which would need the path, is never asked.
  if (plan.opaque) return !at.lenient && explain(plan.node, value, at.depth)
  switch (typeof value) {
    case 'string':
      return takes.text && (plan.text === undefined || plan.text(value))
    case 'number':
      return (
        (Number.isInteger(value) ? takes.integer : takes.fraction) &&
        (plan.number === undefined || plan.number(value))
      )
    case 'boolean':
      return takes.boolean
    default:
      if (at.depth > maxDepth) return false
      return Array.isArray(value)
        ? takes.list && listFits(plan, value, at, explain)
        : takes.map && isMap(value) && mapFits(plan, value, at, explain)
  }
}

function listFits(plan: Plan, list: unknown[], at: Place, explain: Explain): boolean {
  const { minItems, maxItems } = plan.node
  if (minItems !== undefined && list.length < minItems) return false
  if (maxItems !== undefined && list.length > maxItems) return false
  if (plan.distinct && hasDuplicates(plan.node, list)) return false
  const { items } = childrenOf(plan)
  if (items === undefined) return true
  const inner = { depth: at.depth + 1, lenient: at.lenient }
  for (const item of list) if (!fits(items, item, inner, explain)) return false
  return true
}

function mapFits(plan: Plan, map: Json, at: Place, explain: Explain): boolean {
  const { minProperties, maxProperties } = plan.node
  const keys = Object.keys(map)
  if (maxProperties !== undefined && keys.length > maxProperties) return false
  if (minProperties !== undefined && keys.length < minProperties) return false
  if (!at.lenient) for (const name of plan.required) if (isMissing(plan, map, name)) return false
  const { fields, values } = childrenOf(plan)
  const depth = at.depth + 1
  const inner = { depth, lenient: at.lenient }
  for (const key of keys) {
    const child = fields.get(key) ?? values
    if (child === undefined) continue
    const place =
      at.depth === 0 && plan.builtin && (key === 'status' || key === 'metadata')
        ? { depth, lenient: true }
        : inner
    if (!fits(child, map[key], place, explain)) return false
  }
  return true
}

function isMissing(plan: Plan, map: Json, name: string): boolean {
  if (!plan.builtin) return !Object.hasOwn(map, name)
  return map[name] === undefined || map[name] === null
}

function childrenOf(plan: Plan): Children {
  if (plan.children !== undefined) return plan.children
  const { builtin, node } = plan
  const { properties, additionalProperties, items } = node
  const made = {
    fields: new Map(
      Object.entries(properties ?? {}).map(([name, child]) => [name, planOf(child, builtin)]),
    ),
    values:
      typeof additionalProperties === 'object' ? planOf(additionalProperties, builtin) : undefined,
    items: items === undefined ? undefined : planOf(items, builtin),
  }
  plan.children = made
  return made
}

function planOf(node: SchemaNode, builtin: boolean): Plan {
  const plans = builtin ? plansOfBuiltin : plansOfCustom
  let plan = plans.get(node)
  if (plan === undefined) {
    plan = layOut(node, builtin)
    plans.set(node, plan)
  }
  return plan
}

function layOut(node: SchemaNode, builtin: boolean): Plan {
  const { allOf, anyOf, oneOf, not, listType, uniqueItems } = node
  const texts = (node.enum ?? []).every((each) => typeof each === 'string')
  return {
    node,
    builtin,
    takes: takesOf(node, builtin),
    text: textTest(node, builtin),
    number: numberTest(node, builtin),
    required: builtin ? missedOf(node) : (node.required ?? []),
    distinct: listType === 'map' || listType === 'set' || uniqueItems === true,
    opaque:
      allOf !== undefined ||
      anyOf !== undefined ||
      oneOf !== undefined ||
      not !== undefined ||
      !texts ||
      // An enum of texts says nothing good about any other value.
      (node.enum !== undefined && node.type !== 'string'),
    children: undefined,
  }
}

/** The required fields which a built-in kind can miss: those whose zero value isn't a value. */
function missedOf({ required, properties }: SchemaNode): string[] {
  return (required ?? []).filter((name) => {
    const child = properties?.[name]
    return child?.type === 'string' || child?.type === 'object' || child?.intOrString === true
  })
}

function takesOf(node: SchemaNode, builtin: boolean): Takes {
  const { type, intOrString, format, nullable } = node
  const any = type === undefined && intOrString !== true
  const is = (name: SchemaNode['type']) => any || (intOrString !== true && type === name)
  const quantity = format === 'quantity'
  return {
    nothing: builtin || nullable === true || any,
    text: is('string') || intOrString === true,
    integer: is('integer') || is('number') || intOrString === true || quantity,
    fraction: is('number') || (quantity && intOrString !== true),
    boolean: is('boolean'),
    list: is('array'),
    map: is('object'),
  }
}

function textTest(node: SchemaNode, builtin: boolean): Plan['text'] {
  const { minLength = 0, maxLength, pattern, format } = node
  const expression = pattern === undefined ? undefined : compilePattern(pattern)
  const values = node.enum === undefined ? undefined : new Set(node.enum)
  if (builtin) values?.add('')
  const bare = minLength === 0 && maxLength === undefined
  if (bare && pattern === undefined && format === undefined && values === undefined) {
    return undefined
  }
  return (value) =>
    // Code points are never more than UTF-16 units, and at least half as many.
    (bare || (value.length <= (maxLength ?? value.length) && value.length >= 2 * minLength - 1)
      ? true
      : lengthFits(value, minLength, maxLength)) &&
    (values === undefined || values.has(value)) &&
    (pattern === undefined || expression?.test(value) === true) &&
    (format === undefined || hasFormat(value, format))
}

function lengthFits(value: string, minLength: number, maxLength: number | undefined): boolean {
  const length = characters(value)
  return length >= minLength && (maxLength === undefined || length <= maxLength)
}

function numberTest(node: SchemaNode, builtin: boolean): Plan['number'] {
  const { minimum, maximum, multipleOf, exclusiveMinimum, exclusiveMaximum } = node
  const int32 = builtin && node.format === 'int32'
  if (minimum === undefined && maximum === undefined && multipleOf === undefined && !int32) {
    return undefined
  }
  return (value) =>
    (maximum === undefined || (exclusiveMaximum ? value < maximum : value <= maximum)) &&
    (minimum === undefined || (exclusiveMinimum ? value > minimum : value >= minimum)) &&
    (multipleOf === undefined || Number.isInteger(value / multipleOf)) &&
    (!int32 || (value <= 2147483647 && value >= -2147483648))
}
