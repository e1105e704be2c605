/**
 * CEL expressions that users write into Telemetry. Envoy refuses a whole listener for one that it can't
 * compile, so it is compiled here first, with the functions that a stock Envoy has where it stands:
 * no quantifiers anywhere, and conversions to text and functions on text in filters only.
 */
import {
  CelCompileError,
  CelEnvironment,
  kubernetesLibraries,
  type Library,
  standardLibraries,
  types,
  type Variable,
} from '../../../cel/index.ts'

/** Envoy's attributes; anything else has no value there. */
const attributes = [
  'request',
  'response',
  'connection',
  'upstream',
  'source',
  'destination',
  'metadata',
  'filter_state',
  'upstream_filter_state',
  'xds',
] as const

const variables: readonly Variable[] = attributes.map((name) => ({ name, type: types.dyn }))

const textFunctions = [
  'charAt',
  'indexOf',
  'join',
  'lastIndexOf',
  'lowerAscii',
  'replace',
  'split',
  'substring',
  'trim',
  'upperAscii',
]

const formatter = new CelEnvironment(
  standardLibraries.map((library) => without(library, ['string'])),
)
const filter = new CelEnvironment([
  ...standardLibraries,
  kubernetesLibraries
    .filter((library) => !standardLibraries.includes(library))
    .flatMap((library) => library.filter(({ name }) => textFunctions.includes(name))),
])

function without(library: Library, names: readonly string[]): Library {
  return library.filter(({ name }) => !names.includes(name))
}

/** What is wrong with the expression of an access log's filter; undefined when it may be sent. */
export function filterProblem(expression: string): string | undefined {
  return problemIn(filter, expression)
}

/** The value of a tag as a command operator, or what is wrong with it. */
export function celOperator(
  expression: string,
): { readonly format: string } | { readonly problem: string } {
  const problem = problemIn(formatter, expression)
  if (problem !== undefined) return { problem }
  // Envoy takes the first `)%` for the operator's end.
  if (expression.includes(')%')) {
    return { problem: "the expression has ')%' in it, where Envoy's formatter would end" }
  }
  return { format: `%CEL(${expression})%` }
}

function problemIn(environment: CelEnvironment, expression: string): string | undefined {
  if (/[\n\r]/.test(expression)) return 'the expression has a line break; write it in one line'
  const quantifier = /\.(all|exists|exists_one|map|filter)\s*\(/.exec(withoutStrings(expression))
  if (quantifier !== null) return `Envoy has no quantifiers such as '${quantifier[1] ?? ''}'`
  try {
    environment.compile(expression, variables)
    return undefined
  } catch (error) {
    if (!(error instanceof CelCompileError)) throw error
    return error.issues.map(({ message }) => message).join('; ')
  }
}

function withoutStrings(expression: string): string {
  return expression.replaceAll(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, 's')
}
