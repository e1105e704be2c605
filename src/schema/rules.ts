/** What the CEL evaluator needs to know from here: are there rules, and may they run. */
import type { FieldError } from '../kube/index.ts'
import type { SchemaNode } from './types.ts'

const known = new WeakMap<SchemaNode, boolean>()

/** Whether a schema has CEL rules anywhere. */
export function hasRules(node: SchemaNode): boolean {
  const ready = known.get(node)
  if (ready !== undefined) return ready
  const seen = new Set<SchemaNode>()
  const search = (each: SchemaNode): boolean => {
    if (seen.has(each)) return false
    seen.add(each)
    const { properties, items, additionalProperties } = each
    return (
      (each.rules?.length ?? 0) > 0 ||
      Object.values(properties ?? {}).some(search) ||
      (items !== undefined && search(items)) ||
      (typeof additionalProperties === 'object' && search(additionalProperties))
    )
  }
  const found = search(node)
  known.set(node, found)
  return found
}

const blocking = [
  'FieldValueNotSupported',
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
]

/** Whether these complaints make evaluating rules pointless: they could fail for the same reason. */
export function blocksRules(errors: readonly FieldError[]): boolean {
  return errors.some(({ reason }) => blocking.includes(reason))
}

/** What is added to the complaints when rules could not run. */
export const rulesNotChecked: FieldError = {
  reason: 'FieldValueInvalid',
  message:
    'Invalid value: "null": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
  field: '<nil>',
}
