/** Quantifiers and the other macros, as loops over a slot. */
import type { Expression } from './ast.ts'
import type { Compiled, Compiler } from './compiler.ts'
import { CelError, CelErrors, IssueError } from './errors.ts'
import { charge, type Frame, type Run } from './frame.ts'
import { costOfError } from './limits.ts'
import { listType, optionalType, type Type, types, typeText } from './types.ts'
import { CelOptional, isList, isMap, none, type Value } from './values.ts'

type Macro = Expression & { readonly is: 'macro' }

export function compileMacro(compiler: Compiler, macro: Macro): Compiled {
  const range = compiler.compile(macro.range)
  if (macro.name === 'optMap' || macro.name === 'optFlatMap') {
    return compileOptional(compiler, macro, range)
  }
  const element = elementType(range.type, macro.range.offset)
  return compiler.withVariable(macro.variable, element, (slot) => {
    const filter = macro.filter === undefined ? undefined : compiler.compile(macro.filter)
    if (filter !== undefined) wantBool(filter.type, macro.filter?.offset ?? 0)
    const body = compiler.compile(macro.body)
    if (macro.name !== 'map') wantBool(body.type, macro.body.offset)
    const loop = { range: range.run, slot, body: body.run }
    switch (macro.name) {
      case 'all':
        return { type: types.bool, run: quantifier(loop, false) }
      case 'exists':
        return { type: types.bool, run: quantifier(loop, true) }
      case 'exists_one':
        return { type: types.bool, run: existsOne(loop) }
      case 'filter':
        return { type: listType(element), run: mapping({ ...loop, filter: loop.body }, undefined) }
      default:
        return {
          type: listType(body.type),
          run: mapping({ ...loop, filter: filter?.run }, loop.body),
        }
    }
  })
}

function compileOptional(compiler: Compiler, macro: Macro, target: Compiled): Compiled {
  const { type } = target
  if (type.kind !== 'optional' && type.kind !== 'dyn') {
    const text = `found no matching overload for '${macro.name}' applied to '${typeText(type)}.()'`
    throw new IssueError(macro.offset, text)
  }
  const content = type.kind === 'optional' ? type.value : types.dyn
  return compiler.withVariable(macro.variable, content, (slot) => {
    const body = compiler.compile(macro.body)
    const flat = macro.name === 'optFlatMap'
    const run: Run = (frame) => {
      charge(frame, 1)
      const value = target.run(frame)
      if (!(value instanceof CelOptional)) throw CelErrors.noSuchOverload()
      if (value.content === undefined) return none
      frame.slots[slot] = value.content
      const result = body.run(frame)
      return flat ? result : new CelOptional(result)
    }
    if (!flat) return { type: optionalType(body.type), run }
    return { type: body.type.kind === 'optional' ? body.type : types.dyn, run }
  })
}

function elementType(range: Type, offset: number): Type {
  switch (range.kind) {
    case 'dyn':
    case 'any':
      return types.dyn
    case 'list':
      return range.element.kind === 'any' ? types.dyn : range.element
    case 'map':
      return range.key.kind === 'any' ? types.dyn : range.key
    default: {
      const text = `expression of type '${typeText(range)}' cannot be range of a comprehension (must be list, map, or dynamic)`
      throw new IssueError(offset, text)
    }
  }
}

function wantBool(type: Type, offset: number): void {
  if (type.kind === 'bool' || type.kind === 'dyn') return
  throw new IssueError(offset, `expected type 'bool' but found '${typeText(type)}'`)
}

interface Loop {
  readonly range: Run
  readonly slot: number
  readonly body: Run
}

function elementsOf(value: Value): Iterable<Value> {
  if (isList(value)) return value
  if (isMap(value)) return value.keys()
  throw CelErrors.noSuchOverload()
}

function bool(value: Value): boolean {
  if (typeof value !== 'boolean') throw CelErrors.noSuchOverload()
  return value
}

/** `all` ends at the first false, `exists` at the first true; an error counts only if none ends it. */
function quantifier({ range, slot, body }: Loop, end: boolean): Run {
  return (frame) => {
    let error: CelError | undefined
    for (const element of elementsOf(range(frame))) {
      charge(frame, 1)
      frame.slots[slot] = element
      try {
        if (bool(body(frame)) === end) return end
      } catch (thrown) {
        if (!(thrown instanceof CelError)) throw thrown
        error ??= thrown
        charge(frame, costOfError)
      }
    }
    if (error !== undefined) throw error
    return !end
  }
}

function existsOne({ range, slot, body }: Loop): Run {
  return (frame) => {
    let count = 0
    for (const element of elementsOf(range(frame))) {
      charge(frame, 1)
      frame.slots[slot] = element
      if (bool(body(frame))) count++
    }
    return count === 1
  }
}

function mapping(loop: Loop & { filter: Run | undefined }, transform: Run | undefined): Run {
  const { range, slot, filter } = loop
  const passes = (frame: Frame) => filter === undefined || bool(filter(frame))
  return (frame) => {
    const result: Value[] = []
    for (const element of elementsOf(range(frame))) {
      charge(frame, 1)
      frame.slots[slot] = element
      if (passes(frame)) result.push(transform === undefined ? element : transform(frame))
    }
    return result
  }
}
