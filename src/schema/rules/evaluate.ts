/** Runs the rules of a schema over an object, from the outside in, within one budget of cost. */
import { CelCostError, CelOptional, maxEvaluationCost, none, type Value } from '../../cel/index.ts'
import {
  type FieldError,
  fieldDuplicate,
  fieldForbidden,
  fieldInvalid,
  fieldRequired,
} from '../../kube/index.ts'
import { fieldPath, isMap } from '../json.ts'
import { maxDepth, maxRuleMessageLength, maxRulesCost } from '../limits.ts'
import { hasRules } from '../rules.ts'
import type { KindSchema, SchemaNode, SchemaRule } from '../types.ts'
import { type CompiledRule, compiledRules } from './compile.ts'
import { Correlation, elementFinder } from './correlation.ts'
import { escapeName } from './escape.ts'
import { ruleFieldPath } from './field-path.ts'
import { celValue, fieldsOf, type View } from './typing.ts'

/** How Kubernetes names the path of a whole object. */
const rootPath = '<nil>'
const outOfBudget =
  'validation failed due to running out of cost budget, no further validation rules will be run'

/** What holds for one object. */
interface Run {
  readonly errors: FieldError[]
  /** Cost that is left for the object. */
  left: number
  stopped: boolean
}

interface Place {
  readonly view: View
  readonly path: string
  readonly pair: Correlation
  readonly depth: number
  /** The value as rules see it, when it is made already. */
  readonly self: Value | undefined
}

/**
 * The complaints of all rules of a kind about an object. Expects that the object fits its schema.
 * @param old the stored object, when this is an update: transition rules compare with it, and
 * complaints of other rules about unchanged values are dropped
 */
export function validateRules(kind: KindSchema, object: unknown, old?: unknown): FieldError[] {
  if (!hasRules(kind.node)) return []
  const run: Run = { errors: [], left: maxRulesCost, stopped: false }
  const view = { node: kind.node, root: true }
  const pair = new Correlation(object, old)
  visit(run, { view, path: '', pair, depth: 0, self: undefined })
  return run.errors
}

function visit(run: Run, place: Place): void {
  const { view, path, pair, depth } = place
  const { node } = view
  const { value } = pair
  if (value === null || value === undefined || depth > maxDepth || !hasRules(node)) return
  let { self } = place
  if (node.rules !== undefined && node.rules.length > 0) {
    self ??= celValue(view, value)
    if (self !== undefined) runRules(run, view, { ...place, self })
  }
  if (Array.isArray(value)) {
    const { items } = node
    if (items === undefined || !hasRules(items)) return
    const find = elementFinder(node, pair)
    const selves = Array.isArray(self) ? self : []
    for (const [i, element] of value.entries()) {
      if (run.stopped) return
      const inner = { view: { node: items, root: false }, path: `${path}[${i}]`, depth: depth + 1 }
      visit(run, { ...inner, pair: find(element), self: selves[i] })
    }
  } else if (isMap(value)) visitFields(run, place, self)
}

function visitFields(run: Run, place: Place, self: Value | undefined): void {
  const { view, path, pair, depth } = place
  const { additionalProperties } = view.node
  const { value } = pair
  if (!isMap(value)) return
  const isDictionary = typeof additionalProperties === 'object'
  const fields = fieldsOf(view) ?? {}
  for (const key of Object.keys(value)) {
    if (run.stopped) return
    const node = isDictionary
      ? additionalProperties
      : Object.hasOwn(fields, key)
        ? fields[key]
        : undefined
    if (node === undefined || !hasRules(node)) continue
    const name = isDictionary ? key : escapeName(key)
    visit(run, {
      view: { node, root: false },
      path: isDictionary ? `${path}[${key}]` : fieldPath(path, key),
      pair: pair.field(key, value[key]),
      depth: depth + 1,
      self: self instanceof Map && name !== undefined ? self.get(name) : undefined,
    })
  }
}

function runRules(run: Run, view: View, place: Place & { readonly self: Value }): void {
  const type = view.node.type ?? 'object'
  const field = place.path === '' ? rootPath : place.path
  const { old } = place.pair
  const oldSelf = old === undefined || old === null ? undefined : celValue(view, old)
  for (const compiled of compiledRules(view)) {
    const { rule, program, usesOldSelf } = compiled
    if (program === undefined) {
      run.errors.push(fieldInvalid(field, type, `rule compile error: ${compiled.error}`))
      continue
    }
    const optional = rule.optionalOldSelf === true
    if (usesOldSelf && oldSelf === undefined && !optional) continue
    const before = optional ? (oldSelf === undefined ? none : new CelOptional(oldSelf)) : oldSelf
    const values = [place.self, before]
    const limit = Math.min(maxEvaluationCost, run.left)
    const outcome = program.evaluate(values, limit)
    run.left -= outcome.cost
    if (outcome.error === undefined && outcome.value === true) continue
    // What an update leaves as it was isn't this update's fault.
    const excused = !usesOldSelf && place.pair.unchanged
    if (outcome.error !== undefined) {
      const detail = failureText(outcome.error, rule, limit)
      if (!excused || outcome.error instanceof CelCostError) {
        run.errors.push(fieldInvalid(field, type, detail))
      }
      if (outcome.error instanceof CelCostError) {
        run.stopped = true
        return
      }
    } else if (!excused) run.errors.push(complaintOf(run, compiled, place, values))
  }
}

function failureText(error: Error, rule: SchemaRule, limit: number): string {
  const name = rule.message?.trim() || rule.rule.trim()
  if (error instanceof CelCostError) {
    if (limit < maxEvaluationCost) return outOfBudget
    return `'${error.message}': no further validation rules will be run due to call cost exceeds limit for rule: ${name}`
  }
  if (error.message.startsWith('no such overload')) {
    return `'${error.message}': call arguments did not match a supported operator, function or macro signature for rule: ${name}`
  }
  return `${error.message} evaluating rule: ${name}`
}

function complaintOf(
  run: Run,
  compiled: CompiledRule,
  place: Place,
  values: readonly (Value | undefined)[],
): FieldError {
  const { rule } = compiled
  const { node } = place.view
  const detail =
    messageText(run, compiled, values) ??
    (rule.message !== undefined && rule.message !== ''
      ? rule.message.trim()
      : `failed rule: ${rule.rule.trim()}`)
  const field = complaintPath(place.path, rule, node)
  const type = node.type ?? 'object'
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return fieldForbidden(field, detail)
    case 'FieldValueRequired':
      return fieldRequired(field, detail)
    case 'FieldValueDuplicate':
      return fieldDuplicate(field, type)
    default:
      return fieldInvalid(field, type, detail)
  }
}

function complaintPath(path: string, rule: SchemaRule, node: SchemaNode): string {
  if (rule.fieldPath !== undefined && rule.fieldPath !== '') {
    const found = ruleFieldPath(rule.fieldPath, node)
    const full = 'suffix' in found ? path + found.suffix : path
    if (full !== '') return full.startsWith('.') ? full.slice(1) : full
  }
  return path === '' ? rootPath : path
}

/** What `messageExpression` says, unless it fails or says nothing of use. */
function messageText(
  run: Run,
  { message }: CompiledRule,
  values: readonly (Value | undefined)[],
): string | undefined {
  if (message === undefined) return undefined
  const outcome = message.evaluate(values, Math.min(maxEvaluationCost, Math.max(run.left, 0)))
  run.left -= outcome.cost
  if (outcome.error !== undefined || typeof outcome.value !== 'string') return undefined
  const text = outcome.value.trim()
  const usable = text !== '' && text.length <= maxRuleMessageLength && !text.includes('\n')
  return usable ? text : undefined
}
