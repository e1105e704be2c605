/** Calls and operators: choosing the signature, by types if they tell, else by values. */
import type { Expression } from './ast.ts'
import type { Compiled, Compiler } from './compiler.ts'
import { CelError, CelErrors, IssueError } from './errors.ts'
import { charge, type Frame, type Run } from './frame.ts'
import type { FunctionDeclaration, Library, Overload } from './library.ts'
import { costOfError } from './limits.ts'
import { qualifiedName } from './names.ts'
import { assignable, join, substitute, type Type, types, typeText } from './types.ts'
import { fits, type Value } from './values.ts'

/** The functions of an environment, by kind and name. */
export class FunctionTable {
  readonly #functions = new Map<string, FunctionDeclaration[]>()

  constructor(libraries: readonly Library[]) {
    for (const declaration of libraries.flat()) {
      const key = keyOf(declaration.name, declaration.method)
      const list = this.#functions.get(key)
      if (list === undefined) this.#functions.set(key, [declaration])
      else list.push(declaration)
    }
  }

  find(name: string, method: boolean): readonly FunctionDeclaration[] | undefined {
    return this.#functions.get(keyOf(name, method))
  }
}

function keyOf(name: string, method: boolean): string {
  return method ? `.${name}` : name
}

type Call = Expression & { readonly is: 'call' }

export function compileCall(compiler: Compiler, call: Call): Compiled {
  switch (call.name) {
    case '_&&_':
      return logical(compiler, call, false)
    case '_||_':
      return logical(compiler, call, true)
    case '_?_:_':
      return conditional(compiler, call)
  }
  const { functions } = compiler
  let { name, target } = call
  const qualified = target === undefined ? undefined : qualifiedName(target)
  if (qualified !== undefined && !compiler.hasVariable(qualified.split('.')[0] ?? '')) {
    const full = `${qualified}.${name}`
    if (functions.find(full, false) !== undefined) {
      name = full
      target = undefined
    }
  }
  const parts = target === undefined ? call.args : [target, ...call.args]
  const compileAll = () => parts.map((part) => compiler.compile(part))
  const mixed = name === 'format' && target !== undefined
  const args = mixed ? compiler.withMixedTypes(compileAll) : compileAll()
  const declared = functions.find(name, target !== undefined)
  if (declared === undefined) {
    // `size(x)` and `x.size()` are declared apart; anything else isn't a function at all.
    if (functions.find(name, target === undefined) !== undefined) noOverload(call, args)
    throw new IssueError(call.offset, `undeclared reference to '${name}' (in container '')`)
  }
  const { candidates, result } = resolve(declared, args)
  if (candidates.length === 0) noOverload(call, args)
  checkLiterals(candidates, args, parts)
  return { type: result, run: runner(candidates, args) }
}

function resolve(
  declared: readonly FunctionDeclaration[],
  args: readonly Compiled[],
): { candidates: Overload[]; result: Type } {
  const candidates: Overload[] = []
  let result: Type | undefined
  for (const overload of declared) {
    if (overload.params.length !== args.length) continue
    const bindings = new Map<string, Type>()
    const matches = overload.params.every((param, i) =>
      assignable(param, args[i]?.type ?? types.dyn, bindings),
    )
    if (!matches) continue
    const found = substitute(overload.result, bindings)
    result = result === undefined ? found : join(result, found)
    candidates.push(overload)
  }
  return { candidates, result: result?.kind === 'any' ? types.dyn : (result ?? types.dyn) }
}

function noOverload(call: Call, args: readonly Compiled[]): never {
  const shown = args.map(({ type }) => typeText(type))
  const applied =
    call.target === undefined
      ? `(${shown.join(', ')})`
      : `${shown[0]}.(${shown.slice(1).join(', ')})`
  const text = `found no matching overload for '${call.name}' applied to '${applied}'`
  throw new IssueError(call.offset, text)
}

function checkLiterals(
  candidates: readonly Overload[],
  args: readonly Compiled[],
  parts: readonly Expression[],
): void {
  const [only] = candidates
  if (candidates.length !== 1 || only?.checkLiterals === undefined) return
  const complaint = only.checkLiterals(args.map(({ literal }) => literal))
  if (complaint !== undefined) throw new IssueError(parts.at(-1)?.offset ?? 0, complaint)
}

type AnyCall<T> = (a?: Value, b?: Value, c?: Value, d?: Value) => T

/** Chooses once when the types leave one signature; its arguments are looked at all the same. */
function runner(candidates: readonly Overload[], args: readonly Compiled[]): Run {
  const [only] = candidates
  const runs = args.map(({ run }) => run)
  if (only === undefined || candidates.length > 1) return dispatcher(candidates, runs)
  // Values are compared with the declared types before each call: null may stand in any field.
  const call = only.call as AnyCall<Value>
  const cost = only.cost as AnyCall<number> | undefined
  const [first, second, third] = runs
  const [firstType, secondType] = only.params
  if (first === undefined || firstType === undefined) {
    return (frame) => {
      charge(frame, 1)
      return call()
    }
  }
  if (second === undefined || secondType === undefined) {
    return (frame) => {
      const a = first(frame)
      if (!fits(a, firstType)) throw CelErrors.noSuchOverload()
      charge(frame, cost === undefined ? 1 : 1 + cost(a))
      return call(a)
    }
  }
  if (third === undefined) {
    return (frame) => {
      const a = first(frame)
      const b = second(frame)
      if (!fits(a, firstType) || !fits(b, secondType)) throw CelErrors.noSuchOverload()
      charge(frame, cost === undefined ? 1 : 1 + cost(a, b))
      return call(a, b)
    }
  }
  return dispatcher(candidates, runs)
}

function dispatcher(candidates: readonly Overload[], runs: readonly Run[]): Run {
  return (frame: Frame) => {
    const values = runs.map((run) => run(frame))
    const overload = candidates.find(({ params }) =>
      values.every((value, i) => fits(value, params[i] ?? types.dyn)),
    )
    if (overload === undefined) throw CelErrors.noSuchOverload()
    // `fits` has compared the values with the declared types.
    const cost = overload.cost as AnyCall<number> | undefined
    charge(frame, cost === undefined ? 1 : 1 + cost(...values))
    return (overload.call as AnyCall<Value>)(...values)
  }
}

/** `&&` and `||`: a side that decides hides an error of the other. */
function logical(compiler: Compiler, call: Call, deciding: boolean): Compiled {
  const args = call.args.map((arg) => compiler.compile(arg))
  const [left, right] = args
  const wrong = args.some(({ type }) => type.kind !== 'bool' && type.kind !== 'dyn')
  if (wrong || left === undefined || right === undefined) noOverload(call, args)
  const run: Run = (frame) => {
    let error: CelError | undefined
    try {
      if (bool(left.run(frame)) === deciding) return deciding
    } catch (thrown) {
      if (!(thrown instanceof CelError)) throw thrown
      error = thrown
      charge(frame, costOfError)
    }
    try {
      if (bool(right.run(frame)) === deciding) return deciding
    } catch (thrown) {
      // Of two errors the left one counts.
      if (thrown instanceof CelError && error !== undefined) throw error
      throw thrown
    }
    if (error !== undefined) throw error
    return !deciding
  }
  return { type: types.bool, run }
}

function bool(value: Value): boolean {
  if (typeof value !== 'boolean') throw CelErrors.noSuchOverload()
  return value
}

function conditional(compiler: Compiler, call: Call): Compiled {
  const args = call.args.map((arg) => compiler.compile(arg))
  const [condition, yes, no] = args
  if (condition === undefined || yes === undefined || no === undefined) noOverload(call, args)
  const isBool = condition.type.kind === 'bool' || condition.type.kind === 'dyn'
  if (!isBool || !assignable(yes.type, no.type, new Map())) noOverload(call, args)
  const run: Run = (frame) => (bool(condition.run(frame)) ? yes.run(frame) : no.run(frame))
  const type = yes.type.kind === 'dyn' ? yes.type : join(yes.type, no.type)
  return { type, run }
}
