/** Rules of a CustomResourceDefinition, when it is created: texts, types, field paths, messages. */
import {
  type FieldError,
  fieldForbidden,
  fieldInvalid,
  fieldNotSupported,
  fieldRequired,
} from '../../kube/index.ts'
import { asMap, type Json, mapsOf, sameJson } from '../json.ts'
import { maxDepth, maxFieldErrors } from '../limits.ts'
import { fromOpenApi } from '../openapi-node.ts'
import type { SchemaNode, SchemaRule } from '../types.ts'
import {
  maxSchemaEstimate,
  type Occurrences,
  occurrencesBelow,
  ruleEstimate,
  ruleExcess,
  schemaExcess,
} from './budget.ts'
import { type CompiledRule, compiledRules } from './compile.ts'
import { ruleFieldPath } from './field-path.ts'
import { fieldsOf, type View } from './typing.ts'

const reasons = [
  'FieldValueDuplicate',
  'FieldValueForbidden',
  'FieldValueInvalid',
  'FieldValueRequired',
]

/**
 * Complaints about the rules of a CustomResourceDefinition. Expects structural schemas. Versions
 * that share one schema are checked once and named as upstream does: `spec.validation`.
 */
export function checkRules(crd: unknown): FieldError[] {
  const versions = mapsOf(asMap(asMap(crd)?.['spec'])?.['versions'])
  const schemas = versions.map((version) => asMap(asMap(version['schema'])?.['openAPIV3Schema']))
  const [first] = schemas
  const shared = schemas.every((schema) => sameJson(schema, first))
  const errors: FieldError[] = []
  for (const [i, schema] of schemas.entries()) {
    if (schema === undefined || (shared && i > 0)) continue
    const at = shared ? 'spec.validation' : `spec.versions[${i}].schema`
    const node = fromOpenApi(schema)
    node.type ??= 'object'
    const path = `${at}.openAPIV3Schema`
    const estimates: RuleEstimate[] = []
    const check = { errors, estimates, occurrences: 1, loose: undefined, depth: 0 }
    checkNode({ node, root: true }, path, check)
    errors.push(...excesses(estimates, path))
  }
  return errors.slice(0, maxFieldErrors)
}

/** What a rule may cost, and its place. */
interface RuleEstimate {
  readonly path: string
  readonly estimate: number
}

/** What takes this part of the limit has its share in that the limit is exceeded. */
const largePart = 0.01

function excesses(estimates: readonly RuleEstimate[], path: string): FieldError[] {
  const total = estimates.reduce((sum, { estimate }) => sum + estimate, 0)
  const text = schemaExcess(total)
  if (text === undefined) return []
  const shares = estimates
    .filter(({ estimate }) => estimate > maxSchemaEstimate * largePart)
    .map((each) =>
      fieldForbidden(
        each.path,
        'contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema',
      ),
    )
  return [...shares, fieldForbidden(path, text)]
}

interface Check {
  readonly errors: FieldError[]
  readonly estimates: RuleEstimate[]
  readonly occurrences: Occurrences
  /** The nearest list around whose elements have no keys, so that nothing tells their old values. */
  readonly loose: string | undefined
  readonly depth: number
}

function checkNode(view: View, path: string, check: Check): void {
  const { node } = view
  if (check.depth > maxDepth || check.errors.length > maxFieldErrors) return
  if (Array.isArray(node.rules)) {
    const compiled = compiledRules(view)
    for (const [i, each] of compiled.entries()) {
      const place = `${path}.x-kubernetes-validations[${i}]`
      const before = check.errors.length
      checkRule(view.node, each, place, check)
      if (check.errors.length === before) checkCost(view, each.rule, `${place}.rule`, check)
    }
  }
  const { items, additionalProperties } = node
  const inner = { ...check, depth: check.depth + 1 }
  const below = { ...inner, occurrences: occurrencesBelow(node, check.occurrences) }
  for (const [name, child] of Object.entries(fieldsOf(view) ?? {})) {
    checkNode({ node: child, root: false }, `${path}.properties[${name}]`, inner)
  }
  if (typeof additionalProperties === 'object') {
    const child = { node: additionalProperties, root: false }
    checkNode(child, `${path}.additionalProperties`, below)
  }
  if (items !== undefined) {
    const loose = check.loose ?? (node.listType === 'map' ? undefined : path)
    checkNode({ node: items, root: false }, `${path}.items`, { ...below, loose })
  }
}

function checkCost(view: View, rule: SchemaRule, path: string, check: Check): void {
  const estimate = ruleEstimate(rule, view, check.occurrences)
  check.estimates.push({ path, estimate })
  const excess = ruleExcess(estimate)
  if (excess !== undefined) check.errors.push(fieldForbidden(path, excess))
}

function checkRule(node: SchemaNode, compiled: CompiledRule, path: string, check: Check): void {
  const { rule } = compiled
  const { errors } = check
  const before = errors.length
  errors.push(...textErrors(rule, node, path))
  // The types may be wrong because of the texts.
  if (errors.length > before) return
  const shown = shownRule(rule)
  if (rule.rule.trim() === '') {
    errors.push(fieldRequired(`${path}.rule`, 'rule is not specified'))
    return
  }
  if (compiled.error !== undefined) {
    errors.push(fieldInvalid(`${path}.rule`, shown, compiled.error))
  }
  if (compiled.messageError !== undefined) {
    errors.push(fieldInvalid(`${path}.messageExpression`, shown, compiled.messageError))
  }
  if (compiled.usesOldSelf && check.loose !== undefined) {
    const text = `oldSelf cannot be used on the uncorrelatable portion of the schema within ${check.loose}`
    errors.push(fieldInvalid(`${path}.rule`, rule.rule, text))
  }
}

function textErrors(rule: SchemaRule, node: SchemaNode, path: string): FieldError[] {
  const errors: FieldError[] = []
  const { message, messageExpression, reason, fieldPath } = rule
  const invalid = (name: string, value: string, text: string) => {
    errors.push(fieldInvalid(`${path}.${name}`, value, text))
  }
  const blank = (text: string | undefined) =>
    text !== undefined && text.length > 0 && text.trim() === ''
  if (blank(message)) invalid('message', message ?? '', 'message must be non-empty if specified')
  else if (message !== undefined && hasNewlines(message)) {
    invalid('message', message, 'message must not contain line breaks')
  } else if (hasNewlines(rule.rule.trim()) && (message ?? '') === '') {
    errors.push(
      fieldRequired(`${path}.message`, 'message must be specified if rule contains line breaks'),
    )
  }
  if (blank(messageExpression)) {
    const text = 'messageExpression must be non-empty if specified'
    errors.push(fieldRequired(`${path}.messageExpression`, text))
  }
  if (reason !== undefined && !reasons.includes(reason)) {
    errors.push(fieldNotSupported(`${path}.reason`, reason, reasons))
  }
  if (fieldPath === undefined || fieldPath === '') return errors
  if (blank(fieldPath)) invalid('fieldPath', fieldPath, 'fieldPath must be non-empty if specified')
  if (hasNewlines(fieldPath)) {
    invalid('fieldPath', fieldPath, 'fieldPath must not contain line breaks')
  }
  const found = ruleFieldPath(fieldPath, node)
  if ('error' in found) {
    invalid('fieldPath', fieldPath, `fieldPath must be a valid path: ${found.error}`)
  }
  return errors
}

function hasNewlines(text: string): boolean {
  return /[\n\r]/.test(text)
}

/** The rule as messages show it; without what isn't set. */
function shownRule(rule: SchemaRule): Json {
  return Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined))
}
