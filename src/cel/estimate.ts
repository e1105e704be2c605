/**
 * What an expression may cost at most, told before it ever runs: by the sizes which values may have. The weights are
 * those of the Kubernetes API, so that what is refused there is refused here; they are coarser than the cost which
 * a run counts.
 */
import type { Expression } from './ast.ts'
import { parse } from './parser.ts'

/** How large a value may be. */
export interface Extent {
  /** Characters of a text, elements of a list, entries of a map; 1 for anything else. */
  readonly size: number
  readonly kind: 'text' | 'list' | 'map' | 'other'
  readonly element?: () => Extent
  readonly key?: () => Extent
  readonly field?: (name: string) => Extent | undefined
}

interface Estimate {
  readonly cost: number
  readonly extent: Extent
}

type Scope = ReadonlyMap<string, Extent>
type Call = Expression & { readonly is: 'call' }
type Macro = Expression & { readonly is: 'macro' }

const scalar: Extent = { size: 1, kind: 'other' }

/** Reading a character; matching it against a part of a regular expression. */
const perCharacter = 0.1
const perPatternCharacter = 0.25
const ofList = 10
const ofMap = 30

/** What each round of a macro costs beside its body, and what building its result does. */
const perRound: Readonly<Record<Macro['name'], number>> = {
  all: 3,
  exists: 4,
  exists_one: 3,
  filter: 14,
  map: 12,
  optMap: 1,
  optFlatMap: 1,
}

/** The most that an expression can cost. Expects one that compiles. */
export function estimateCost(source: string, variables: Readonly<Record<string, Extent>>): number {
  return estimate(parse(source), new Map(Object.entries(variables))).cost
}

function estimate(node: Expression, scope: Scope): Estimate {
  switch (node.is) {
    case 'constant': {
      const text = typeof node.value === 'string' ? node.value : undefined
      return { cost: 0, extent: text === undefined ? scalar : { size: text.length, kind: 'text' } }
    }
    case 'name':
      return { cost: 1, extent: scope.get(node.name) ?? scalar }
    case 'has':
      return { cost: estimate(node.operand, scope).cost + 1, extent: scalar }
    case 'select': {
      const { cost, extent } = estimate(node.operand, scope)
      return { cost: cost + 1, extent: extent.field?.(node.field) ?? extent.element?.() ?? scalar }
    }
    case 'index': {
      const { cost, extent } = estimate(node.operand, scope)
      const index = estimate(node.index, scope)
      return { cost: cost + index.cost + 1, extent: extent.element?.() ?? scalar }
    }
    case 'list': {
      const parts = node.elements.map(({ value }) => estimate(value, scope))
      const extent = parts.map((part) => part.extent).reduce(larger, scalar)
      const cost = sum(parts) + ofList
      return { cost, extent: { size: parts.length, kind: 'list', element: () => extent } }
    }
    case 'map': {
      const parts = node.entries.flatMap(({ key, value }) => [
        estimate(key, scope),
        estimate(value, scope),
      ])
      return { cost: sum(parts) + ofMap, extent: { size: node.entries.length, kind: 'map' } }
    }
    case 'call':
      return callCost(node, scope)
    case 'macro':
      return macroCost(node, scope)
  }
}

function macroCost(node: Macro, scope: Scope): Estimate {
  const range = estimate(node.range, scope)
  const { extent } = range
  const optional = node.name === 'optMap' || node.name === 'optFlatMap'
  const each = optional
    ? extent
    : extent.kind === 'map'
      ? (extent.key?.() ?? scalar)
      : (extent.element?.() ?? scalar)
  const inner = new Map(scope).set(node.variable, each)
  const filter = node.filter === undefined ? 0 : estimate(node.filter, inner).cost
  const body = estimate(node.body, inner)
  const rounds = optional ? 1 : extent.size
  const cost = range.cost + rounds * (body.cost + filter + perRound[node.name]) + 1
  if (node.name === 'filter')
    return { cost, extent: { ...extent, kind: 'list', element: () => each } }
  if (node.name === 'map') {
    return { cost, extent: { size: rounds, kind: 'list', element: () => body.extent } }
  }
  return { cost, extent: optional ? body.extent : scalar }
}

function callCost(node: Call, scope: Scope): Estimate {
  const parts = (node.target === undefined ? node.args : [node.target, ...node.args]).map((part) =>
    estimate(part, scope),
  )
  const [first = nothing, second = nothing, third = nothing] = parts
  const before = sum(parts)
  const done = (own: number, extent: Extent = scalar): Estimate => ({ cost: before + own, extent })
  const [a, b] = [first.extent, second.extent]
  switch (node.name) {
    case '_&&_':
    case '_||_':
      return done(0)
    case '_?_:_': {
      const cost = first.cost + Math.max(second.cost, third.cost)
      return { cost, extent: larger(second.extent, third.extent) }
    }
    case '_==_':
    case '_!=_':
      return done(Math.max(1, Math.min(a.size, b.size) * perCharacter))
    case '_<_':
    case '_<=_':
    case '_>_':
    case '_>=_':
      return done(a.kind === 'text' ? Math.min(a.size, b.size) * perCharacter : 1)
    case '_+_': {
      const size = a.size + b.size
      return done(a.kind === 'text' ? size * perCharacter : 1, { ...larger(a, b), size })
    }
    case '@in':
    case '_in_':
    case 'in':
      return done(b.kind === 'list' ? b.size : 1)
    case 'contains':
      return done(a.size * perCharacter * b.size * perCharacter)
    case 'startsWith':
    case 'endsWith':
      return done(b.size * perCharacter)
    case 'matches':
      return done((a.size + 1) * perCharacter * b.size * perPatternCharacter)
    default:
      return done(...otherCost(node, a))
  }
}

/** Functions that go through the text they are called on; of these some make one from it. */
const readers = new Set(['url', 'isURL', 'ip', 'isIP', 'cidr', 'isCIDR', 'quantity', 'isQuantity'])
const makers = new Set(['lowerAscii', 'upperAscii', 'trim', 'replace', 'substring', 'format'])
const searchers = new Set(['indexOf', 'lastIndexOf', 'find'])
const walkers = new Set(['isSorted', 'sum', 'min', 'max'])

function otherCost({ name }: Call, operand: Extent): [own: number, extent: Extent] {
  const read = Math.max(1, operand.kind === 'text' ? operand.size * perCharacter : 1)
  if (readers.has(name) || searchers.has(name)) {
    return [read, name === 'find' ? operand : scalar]
  }
  if (makers.has(name)) return [read, operand]
  if (walkers.has(name)) return [operand.size, operand.element?.() ?? scalar]
  if (name === 'split' || name === 'findAll') {
    return [read, { size: operand.size, kind: 'list', element: () => operand }]
  }
  if (name === 'join') {
    const element = operand.element?.() ?? scalar
    const size = operand.size * element.size
    return [Math.max(1, size * perCharacter), { size, kind: 'text' }]
  }
  // Optionals, conversions and the like hand on what they got, or a number.
  const same =
    name === 'orValue' || name === 'or' || name === 'value' || name.startsWith('optional.')
  return [1, same || name === 'string' || name === 'dyn' ? operand : scalar]
}

const nothing: Estimate = { cost: 0, extent: scalar }

function sum(parts: readonly Estimate[]): number {
  return parts.reduce((total, { cost }) => total + cost, 0)
}

function larger(left: Extent, right: Extent): Extent {
  return right.size > left.size || left.kind === 'other' ? right : left
}
