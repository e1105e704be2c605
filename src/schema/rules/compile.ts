/** Rules of one schema node, compiled once and kept with the node. */
import {
  CelCompileError,
  CelEnvironment,
  kubernetesLibraries,
  optionalType,
  type Program,
  type Type,
  types,
  typeText,
} from '../../cel/index.ts'
import type { SchemaNode, SchemaRule } from '../types.ts'
import { kubernetesTypes } from './library.ts'
import { declaredType, type View } from './typing.ts'

/** One rule, ready to run or with the reason why it can't. */
export interface CompiledRule {
  readonly rule: SchemaRule
  readonly program: Program | undefined
  /** Complaint about the rule; set when there is no program. */
  readonly error: string | undefined
  readonly message: Program | undefined
  /** Complaint about `messageExpression`. */
  readonly messageError: string | undefined
  readonly usesOldSelf: boolean
}

const environment = new CelEnvironment([...kubernetesLibraries, kubernetesTypes])
const known = new WeakMap<SchemaNode, readonly CompiledRule[]>()

/** The rules of a node itself, in order. */
export function compiledRules(view: View): readonly CompiledRule[] {
  const ready = known.get(view.node)
  if (ready !== undefined) return ready
  const { rules = [] } = view.node
  const self = rules.length === 0 ? types.dyn : (declaredType(view) ?? types.dyn)
  const compiled = rules.map((rule) => compileRule(rule, self))
  known.set(view.node, compiled)
  return compiled
}

function compileRule(rule: SchemaRule, self: Type): CompiledRule {
  const optionalOld = rule.optionalOldSelf === true
  const variables = [
    { name: 'self', type: self },
    { name: 'oldSelf', type: optionalOld ? optionalType(self) : self },
  ]
  const compile = (source: string): Program | string => {
    try {
      return environment.compile(source, variables)
    } catch (thrown) {
      if (thrown instanceof CelCompileError) return thrown.message
      throw thrown
    }
  }
  const main = compile(rule.rule)
  const program = typeof main === 'string' ? undefined : main
  const text = rule.messageExpression?.trim() ?? ''
  const other = text === '' ? undefined : compile(text)
  return {
    rule,
    program: program !== undefined && fits(program.type, types.bool) ? program : undefined,
    error: complaint(
      main,
      'compilation failed',
      types.bool,
      'cel expression must evaluate to a bool',
    ),
    message: typeof other === 'object' && fits(other.type, types.string) ? other : undefined,
    messageError:
      other === undefined
        ? undefined
        : complaint(
            other,
            'messageExpression compilation failed',
            types.string,
            'messageExpression must evaluate to a string',
          ),
    usesOldSelf: program?.uses.has('oldSelf') === true,
  }
}

function complaint(
  compiled: Program | string,
  failed: string,
  wanted: Type,
  wrongType: string,
): string | undefined {
  if (typeof compiled === 'string') return `${failed}: ${compiled}`
  return fits(compiled.type, wanted) ? undefined : wrongType
}

function fits(type: Type, wanted: Type): boolean {
  return typeText(type) === typeText(wanted)
}
