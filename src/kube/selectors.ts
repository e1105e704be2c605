/** Label and field selectors: parsing, matching, and the canonical text. */
import { checked, parseRequirements } from './selector-text.ts'
import { badRequest } from './status.ts'

export type RequirementOperator = 'in' | 'notin' | '=' | '==' | '!=' | 'exists' | '!' | 'gt' | 'lt'

export interface Requirement {
  readonly key: string
  readonly operator: RequirementOperator
  readonly values: readonly string[]
}

/** All requirements must hold; an empty selector selects everything. */
export type Selector = readonly Requirement[]

/** `metav1.LabelSelector` as it stands in objects. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly {
    readonly key: string
    readonly operator: string
    readonly values?: readonly string[]
  }[]
}

type Labels = Readonly<Record<string, string>>

/** Reads `app=web,tier in (a,b),!canary`; absent and empty select everything. Throws a 400 ApiError. */
export function parseLabelSelector(text: string | undefined): Selector {
  return text === undefined || text === '' ? [] : parseRequirements(text)
}

const expressionOperators: Partial<Record<string, RequirementOperator>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: '!',
}

/**
 * The selector of a `matchLabels`/`matchExpressions` object. An absent object selects nothing
 * (undefined comes back), an empty one everything. Throws a 400 ApiError.
 */
export function selectorOf(selector: LabelSelector | null | undefined): Selector | undefined {
  if (selector === undefined || selector === null) return undefined
  const requirements: Requirement[] = []
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    requirements.push(checked({ key, operator: '=', values: [value] }))
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const known = expressionOperators[operator]
    if (known === undefined)
      throw badRequest(`"${operator}" is not a valid label selector operator`)
    requirements.push(checked({ key, operator: known, values: values ?? [] }))
  }
  return requirements
}

/** A selector that wants exactly these labels (a Service's `spec.selector`). */
export function selectorOfLabels(labels: Labels): Selector {
  return Object.entries(labels).map(([key, value]) => ({ key, operator: '=', values: [value] }))
}

/** Whether labels satisfy every requirement. `!=` and `notin` hold for absent keys. */
export function matchesLabels(selector: Selector, labels: Labels | undefined): boolean {
  return selector.every((requirement) => satisfies(requirement, labels ?? {}))
}

/** Whether an object's `LabelSelector` matches; an absent one matches nothing. */
export function labelSelectorMatches(
  selector: LabelSelector | null | undefined,
  labels: Labels | undefined,
): boolean {
  const requirements = selectorOf(selector)
  return requirements !== undefined && matchesLabels(requirements, labels)
}

function satisfies({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'exists':
      return value !== undefined
    case '!':
      return value === undefined
    case 'in':
    case '=':
    case '==':
      return value !== undefined && values.includes(value)
    case 'notin':
    case '!=':
      return value === undefined || !values.includes(value)
    case 'gt':
    case 'lt':
      return value !== undefined && compares(operator, value, values[0] ?? '')
  }
}

function compares(operator: 'gt' | 'lt', value: string, bound: string): boolean {
  if (!/^[+-]?\d+$/.test(value)) return false
  return operator === 'gt' ? BigInt(value) > BigInt(bound) : BigInt(value) < BigInt(bound)
}

/** The canonical text, sorted by key (`status.selector` of the scale subresource). */
export function selectorText(selector: Selector): string {
  return [...selector]
    .sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)))
    .map(requirementText)
    .join(',')
}

function requirementText({ key, operator, values }: Requirement): string {
  if (operator === 'exists') return key
  if (operator === '!') return `!${key}`
  if (operator === 'in' || operator === 'notin') {
    return `${key} ${operator} (${[...values].sort().join(',')})`
  }
  const sign = operator === 'gt' ? '>' : operator === 'lt' ? '<' : operator
  return `${key}${sign}${values[0] ?? ''}`
}

export interface FieldRequirement {
  readonly path: string
  readonly equal: boolean
  readonly value: string
}

/**
 * Reads `metadata.name=a,status.phase!=Running`. In values, `\\`, `\,` and `\=` stand for
 * themselves. Throws a 400 ApiError.
 */
export function parseFieldSelector(text: string | undefined): readonly FieldRequirement[] {
  if (text === undefined || text === '') return []
  return splitTerms(text)
    .filter((term) => term !== '')
    .map((term) => {
      const match = /^((?:[^\\=!]|\\.)*?)(!=|==|=)(.*)$/s.exec(term)
      if (match === null) {
        throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`)
      }
      const [, path = '', operator, value = ''] = match
      return { path, equal: operator !== '!=', value: unescape(value, text) }
    })
}

function splitTerms(text: string): string[] {
  const terms: string[] = []
  let term = ''
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === '\\') {
      term += char + text.charAt(++i)
    } else if (char === ',') {
      terms.push(term)
      term = ''
    } else {
      term += char
    }
  }
  return [...terms, term]
}

function unescape(value: string, selector: string): string {
  if (/(^|[^\\])(\\\\)*\\([^\\,=]|$)/.test(value) || /(^|[^\\])(\\\\)*=/.test(value)) {
    throw badRequest(`invalid field selector '${selector}': the value '${value}' is badly escaped`)
  }
  return value.replace(/\\([\\,=])/g, '$1')
}

/**
 * Throws the 400 that upstream gives when a selector names a field outside `known`.
 * @param known the paths that can be selected, like `metadata.name`
 */
export function checkFieldSelector(
  selector: readonly FieldRequirement[],
  known: readonly string[],
): void {
  for (const { path } of selector) {
    if (known.includes(path)) continue
    const list = known.map((each) => `"${each}"`).join(', ')
    throw badRequest(`"${path}" is not a known field selector: only ${list}`)
  }
}

/** Whether an object's selectable fields satisfy all terms; absent fields count as empty. */
export function matchesFields(
  selector: readonly FieldRequirement[],
  fields: Readonly<Record<string, string>>,
): boolean {
  return selector.every(({ path, equal, value }) => ((fields[path] ?? '') === value) === equal)
}
