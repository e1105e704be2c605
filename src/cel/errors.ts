/** What can go wrong with an expression: before it runs (syntax, types) and while it runs. */

/** One complaint about an expression's text. */
export interface Issue {
  /** Offset in UTF-16 units. */
  readonly offset: number
  readonly message: string
}

/** The expression can't be compiled. The message shows where, in the form of Google's compiler. */
export class CelCompileError extends Error {
  readonly issues: readonly Issue[]

  constructor(source: string, issues: readonly Issue[]) {
    super(issues.map((issue) => pointAt(source, issue)).join('\n'))
    this.name = 'CelCompileError'
    this.issues = issues
  }
}

function pointAt(source: string, { offset, message }: Issue): string {
  const before = source.slice(0, offset).split('\n')
  const column = before.at(-1)?.length ?? 0
  const line = source.split('\n')[before.length - 1] ?? ''
  const where = `ERROR: <input>:${before.length}:${column + 1}: ${message}`
  return `${where}\n | ${line}\n | ${'.'.repeat(column)}^`
}

/** Thrown while parsing or checking; caught at the room's door. */
export class IssueError extends Error {
  readonly offset: number

  constructor(offset: number, message: string) {
    super(message)
    this.offset = offset
  }
}

/**
 * An error value of the language: `1 / 0`, a missing key. `&&`, `||` and quantifiers may absorb it.
 * No stack is taken: rules that rely on absorption would spend most of their time on it.
 */
export class CelError extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = stackTraceLimit
    this.name = 'CelError'
  }
}

/** The cost limit is reached. Nothing absorbs this one. */
export class CelCostError extends Error {
  constructor() {
    super('operation cancelled: actual cost limit exceeded')
    this.name = 'CelCostError'
  }
}

/** Shorthands for the errors which several functions raise. */
export const CelErrors = {
  noSuchKey: (key: string) => new CelError(`no such key: ${key}`),
  noSuchOverload: () => new CelError('no such overload'),
  indexOutOfBounds: (index: bigint | number) => new CelError(`index out of bounds: ${index}`),
  overflow: (what: string) => new CelError(`${what} overflow`),
}
