/** The room's door: an environment compiles expressions, and programs run as often as needed. */
import { FunctionTable } from './compile-call.ts'
import { Compiler, type Variable } from './compiler.ts'
import { CelCompileError, CelCostError, CelError, IssueError } from './errors.ts'
import type { Frame, Run } from './frame.ts'
import type { Library } from './library.ts'
import { maxEvaluationCost } from './limits.ts'
import { parse } from './parser.ts'
import type { Type } from './types.ts'
import type { Value } from './values.ts'

/** How a run ended. Either way `cost` is what it took. */
export type Outcome =
  | { readonly value: Value; readonly error?: undefined; readonly cost: number }
  | { readonly error: CelError | CelCostError; readonly cost: number }

export class Program {
  readonly type: Type
  /** Names of the variables which the expression uses. */
  readonly uses: ReadonlySet<string>
  readonly #run: Run

  constructor(type: Type, uses: ReadonlySet<string>, run: Run) {
    this.type = type
    this.uses = uses
    this.#run = run
  }

  /**
   * Runs the expression. Never throws, always ends.
   * @param values of the variables, in the order in which they were declared
   */
  evaluate(values: readonly (Value | undefined)[], limit: number = maxEvaluationCost): Outcome {
    const frame: Frame = { slots: [...values], left: limit }
    try {
      const value = this.#run(frame)
      return { value, cost: limit - frame.left }
    } catch (thrown) {
      const cost = limit - Math.max(frame.left, 0)
      if (thrown instanceof CelError || thrown instanceof CelCostError) {
        return { error: thrown, cost }
      }
      // Deep values can exhaust the stack while they are compared.
      if (thrown instanceof RangeError) return { error: new CelError('value is too deep'), cost }
      throw thrown
    }
  }
}

export class CelEnvironment {
  readonly #functions: FunctionTable

  constructor(libraries: readonly Library[]) {
    this.#functions = new FunctionTable(libraries)
  }

  /** Parses and checks an expression. Throws a CelCompileError that shows where it is wrong. */
  compile(source: string, variables: readonly Variable[]): Program {
    try {
      const compiler = new Compiler(this.#functions, variables)
      const { type, run } = compiler.compile(parse(source))
      return new Program(type, compiler.used, run)
    } catch (thrown) {
      if (thrown instanceof IssueError) {
        throw new CelCompileError(source, [{ offset: thrown.offset, message: thrown.message }])
      }
      // The parser bounds each kind of nesting; together they can still be too much for the stack.
      if (thrown instanceof RangeError) {
        throw new CelCompileError(source, [
          { offset: 0, message: 'expression is nested too deeply' },
        ])
      }
      throw thrown
    }
  }
}
