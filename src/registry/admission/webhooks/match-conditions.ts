/** Conditions in CEL under which a webhook is called at all, besides its rules and selectors. */
import {
  CelCompileError,
  CelEnvironment,
  kubernetesLibraries,
  listType,
  mapType,
  objectType,
  type Program,
  types,
  typeText,
  type Value,
  valueOfJson,
} from '../../../cel/index.ts'
import { type JsonMap, textOf } from '../../values.ts'
import { Authority, authorityLibrary, authorityType } from './cel-authorizer.ts'

export interface MatchCondition {
  readonly name: string
  readonly expression: string
  /** Undefined when the expression is wrong; then `error` says why. */
  readonly program: Program | undefined
  readonly error: string | undefined
}

const { string, bool, dyn } = types
const kindType = objectType(
  'kubernetes.GroupVersionKind',
  new Map([
    ['group', string],
    ['version', string],
    ['kind', string],
  ]),
)
const resourceType = objectType(
  'kubernetes.GroupVersionResource',
  new Map([
    ['group', string],
    ['version', string],
    ['resource', string],
  ]),
)
const userType = objectType(
  'kubernetes.UserInfo',
  new Map([
    ['username', string],
    ['uid', string],
    ['groups', listType(string)],
    ['extra', mapType(string, listType(string))],
  ]),
)
const requestType = objectType(
  'kubernetes.AdmissionRequest',
  new Map([
    ['kind', kindType],
    ['resource', resourceType],
    ['subResource', string],
    ['requestKind', kindType],
    ['requestResource', resourceType],
    ['requestSubResource', string],
    ['name', string],
    ['namespace', string],
    ['operation', string],
    ['userInfo', userType],
    ['dryRun', bool],
    ['options', dyn],
  ]),
)

const variables = [
  { name: 'object', type: dyn },
  { name: 'oldObject', type: dyn },
  { name: 'request', type: requestType },
  { name: 'authorizer', type: authorityType },
]
const environment = new CelEnvironment([...kubernetesLibraries, authorityLibrary])

/** Compiles the conditions of a webhook. */
export function compileConditions(conditions: readonly JsonMap[]): MatchCondition[] {
  return conditions.map((condition) => {
    const expression = textOf(condition.expression)
    return { name: textOf(condition.name), expression, ...compile(expression) }
  })
}

function compile(expression: string): Pick<MatchCondition, 'program' | 'error'> {
  try {
    const program = environment.compile(expression, variables)
    if (typeText(program.type) === 'bool' || typeText(program.type) === 'dyn') {
      return { program, error: undefined }
    }
    return { program: undefined, error: 'must evaluate to bool' }
  } catch (thrown) {
    if (!(thrown instanceof CelCompileError)) throw thrown
    return { program: undefined, error: `compilation failed: ${thrown.message}` }
  }
}

/** The review that a webhook would be sent, and who asks. */
export interface ConditionInput {
  readonly request: JsonMap
  readonly authority: Authority
}

/** Whether all conditions hold. One that is false settles it; otherwise errors count. */
export function conditionsHold(
  conditions: readonly MatchCondition[],
  { request, authority }: ConditionInput,
): { readonly holds: boolean; readonly error: string | undefined } {
  const { object, oldObject, ...rest } = request
  const values: Value[] = [
    valueOfJson(object),
    valueOfJson(oldObject),
    valueOfJson(rest),
    authority,
  ]
  const errors: string[] = []
  for (const { program, expression, error } of conditions) {
    const outcome = program?.evaluate(values)
    if (outcome === undefined) errors.push(`${error}`)
    else if (outcome.error !== undefined) {
      errors.push(`expression '${expression}' resulted in error: ${outcome.error.message}`)
    } else if (outcome.value !== true) return { holds: false, error: undefined }
  }
  if (errors.length === 0) return { holds: true, error: undefined }
  return { holds: false, error: errors.length === 1 ? errors[0] : `[${errors.join(', ')}]` }
}
