/** Everything that is checked of a custom resource's content, in the order of the Kubernetes API. */
import type { FieldError } from '../../kube/index.ts'
import { embeddedErrors } from '../embedded.ts'
import { fieldPath, isMap } from '../json.ts'
import { blocksRules, hasRules, rulesNotChecked } from '../rules.ts'
import type { KindSchema, SchemaNode } from '../types.ts'
import { validate } from '../validate.ts'
import { Correlation, elementFinder } from './correlation.ts'
import { validateRules } from './evaluate.ts'

/**
 * Schema first, then rules, unless the schema's complaints make those pointless. Complaints about
 * values which an update leaves as they were are dropped (Kubernetes calls it ratcheting).
 * @param old the stored object, when this is an update
 */
export function validateCustomResource(
  kind: KindSchema,
  object: unknown,
  old?: unknown,
): FieldError[] {
  let errors = validate(kind, object)
  if (errors.length > 0 && old !== undefined) {
    errors = errors.filter((error) => !isExcused(error, kind.node, new Correlation(object, old)))
  }
  errors.push(...embeddedErrors(kind.node, object))
  if (!hasRules(kind.node)) return errors
  if (blocksRules(errors)) return [...errors, rulesNotChecked]
  return [...errors, ...validateRules(kind, object, old)]
}

/** Required fields, duplicates and combinations concern more than the value they name. */
function isExcused(error: FieldError, node: SchemaNode, root: Correlation): boolean {
  if (error.reason === 'FieldValueRequired' || error.reason === 'FieldValueDuplicate') return false
  if (/" must (?:not )?validate /.test(error.message)) return false
  return unchangedAt(node, root, { path: '', wanted: error.field })
}

/** Follows a path as validation writes it; names may themselves have dots. */
function unchangedAt(
  node: SchemaNode,
  pair: Correlation,
  at: { readonly path: string; readonly wanted: string },
): boolean {
  if (pair.unchanged) return true
  const { path, wanted } = at
  if (path === wanted || pair.old === undefined) return false
  const { value } = pair
  if (Array.isArray(value)) {
    const { items } = node
    const index = /^\[(\d+)\]/.exec(wanted.slice(path.length))
    if (items === undefined || index === null) return false
    const next = `${path}${index[0]}`
    const element = elementFinder(node, pair)(value[Number(index[1])])
    return unchangedAt(items, element, { path: next, wanted })
  }
  if (!isMap(value)) return false
  return Object.keys(value).some((key) => {
    const next = fieldPath(path, key)
    if (next !== wanted && !wanted.startsWith(`${next}.`) && !wanted.startsWith(`${next}[`)) {
      return false
    }
    const child = node.properties?.[key] ?? node.additionalProperties
    const inner = typeof child === 'object' ? child : {}
    return unchangedAt(inner, pair.field(key, value[key]), { path: next, wanted })
  })
}
