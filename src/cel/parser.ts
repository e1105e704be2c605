/**
 * Expressions to trees, by recursive descent over the grammar of the language's definition, with
 * its macros and the syntax of optional values (`a.?b`, `a[?b]`, `[?a]`, `{?k: v}`).
 */
import type { Expression, ListElement, MacroName, MapEntry } from './ast.ts'
import { IssueError } from './errors.ts'
import { type Token, tokenize } from './lexer.ts'
import { maxExpressionDepth, maxExpressionLength } from './limits.ts'

const reserved = new Set(
  'as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
)

/** The left-associative operators, the weakest first. */
const levels: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['<', '<=', '>', '>=', '==', '!=', 'in'],
  ['+', '-'],
  ['*', '/', '%'],
]

const intMax = 2n ** 63n - 1n

/** Parses an expression. Throws an IssueError. */
export function parse(source: string): Expression {
  if (source.length > maxExpressionLength) {
    const text = `expression code point size exceeds limit: size: ${source.length}, limit ${maxExpressionLength}`
    throw new IssueError(0, text)
  }
  return new Parser(tokenize(source)).whole()
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Expression {
    const expression = this.#expression()
    if (this.#token().is !== 'end') this.#unexpected()
    return expression
  }

  #token(): Token {
    // The last token is `end`, and nothing goes beyond it.
    return this.#tokens[this.#at] ?? { is: 'end', text: '<EOF>', offset: 0 }
  }

  #take(): Token {
    const token = this.#token()
    this.#at++
    return token
  }

  #isNext(...texts: string[]): boolean {
    const token = this.#token()
    return token.is === 'operator' && texts.includes(token.text)
  }

  #accept(text: string): boolean {
    if (!this.#isNext(text)) return false
    this.#at++
    return true
  }

  #expect(text: string): void {
    if (!this.#accept(text)) this.#unexpected(text)
  }

  #unexpected(wanted?: string): never {
    const { text, offset } = this.#token()
    const expecting = wanted === undefined ? '' : ` expecting '${wanted}'`
    throw new IssueError(offset, `Syntax error: mismatched input '${text}'${expecting}`)
  }

  #deeper<T>(parse: () => T): T {
    if (++this.#depth > maxExpressionDepth) {
      const text = `expression recursion limit exceeded: ${maxExpressionDepth}`
      throw new IssueError(this.#token().offset, text)
    }
    const result = parse()
    this.#depth--
    return result
  }

  #expression(): Expression {
    return this.#deeper(() => {
      const condition = this.#binary(0)
      const { offset } = this.#token()
      if (!this.#accept('?')) return condition
      const yes = this.#binary(0)
      this.#expect(':')
      return call(offset, '_?_:_', [condition, yes, this.#expression()])
    })
  }

  #binary(level: number): Expression {
    const operators = levels[level]
    if (operators === undefined) return this.#unary()
    const first = this.#binary(level + 1)
    if (!this.#isNext(...operators)) return first
    if (level < 2) return this.#logical(first, level)
    let left = first
    let chained = 0
    while (this.#isNext(...operators)) {
      if (++chained > maxExpressionDepth) this.#unexpected()
      const { text, offset } = this.#take()
      const right = this.#binary(level + 1)
      left = call(offset, text === 'in' ? '@in' : `_${text}_`, [left, right])
    }
    return left
  }

  /** `a && b && c` as a balanced tree, so that long ones don't nest deeply. */
  #logical(first: Expression, level: number): Expression {
    const operator = level === 0 ? '||' : '&&'
    const terms = [first]
    const offsets: number[] = []
    while (this.#isNext(operator)) {
      offsets.push(this.#take().offset)
      terms.push(this.#binary(level + 1))
    }
    const balanced = (from: number, to: number): Expression => {
      const only = terms[from]
      if (from === to && only !== undefined) return only
      const middle = (from + to) >> 1
      const parts = [balanced(from, middle), balanced(middle + 1, to)]
      return call(offsets[middle] ?? 0, `_${operator}_`, parts)
    }
    return balanced(0, terms.length - 1)
  }

  #unary(): Expression {
    const { text, offset } = this.#token()
    if (!this.#isNext('!', '-')) return this.#member()
    let count = 0
    while (this.#accept(text)) count++
    const next = this.#token()
    const isNumber =
      next.is === 'literal' && (typeof next.value === 'bigint' || typeof next.value === 'number')
    if (text === '-' && isNumber) {
      const operand = this.#member(true)
      return count % 2 === 1 ? operand : call(offset, '-_', [operand])
    }
    const operand = this.#deeper(() => this.#member())
    return count % 2 === 1 ? call(offset, `${text}_`, [operand]) : operand
  }

  #member(negative = false): Expression {
    let operand = this.#primary(negative)
    for (let links = 0; ; links++) {
      if (links > maxExpressionDepth) this.#unexpected()
      const { offset } = this.#token()
      if (this.#accept('.')) operand = this.#dot(operand, offset)
      else if (this.#accept('[')) {
        const optional = this.#accept('?')
        const index = this.#expression()
        this.#expect(']')
        operand = { is: 'index', operand, index, optional, offset }
      } else {
        if (this.#isNext('{')) {
          throw new IssueError(offset, 'messages cannot be constructed in this environment')
        }
        return operand
      }
    }
  }

  #dot(operand: Expression, offset: number): Expression {
    const optional = this.#accept('?')
    const token = this.#take()
    if (token.is !== 'name') {
      this.#at--
      this.#unexpected('IDENTIFIER')
    }
    const { text } = token
    const open = this.#token().offset
    if (!optional && this.#accept('(')) {
      const args = this.#list(')', () => this.#expression())
      return macro(operand, text, args, open) ?? call(open, text, args, operand)
    }
    return { is: 'select', operand, field: text, optional, offset }
  }

  #primary(negative: boolean): Expression {
    const token = this.#take()
    const { offset, text } = token
    if (token.is === 'literal') return this.#literal(token, negative)
    if (token.is === 'name') return this.#named(token)
    switch (token.is === 'operator' ? text : '') {
      case '(': {
        const inner = this.#expression()
        this.#expect(')')
        return inner
      }
      case '[':
        return { is: 'list', elements: this.#list(']', () => this.#element()), offset }
      case '{':
        return { is: 'map', entries: this.#list('}', () => this.#entry()), offset }
      case '.': {
        const next = this.#take()
        if (next.is === 'name') return this.#named(next)
      }
    }
    this.#at--
    return this.#unexpected()
  }

  #literal(token: Token & { is: 'literal' }, negative: boolean): Expression {
    const { offset, value } = token
    if (typeof value === 'bigint') {
      const signed = negative ? -value : value
      if (signed > intMax || signed < -intMax - 1n) {
        throw new IssueError(offset, 'Syntax error: invalid int literal')
      }
      return { is: 'constant', value: signed, offset }
    }
    const plain = negative && typeof value === 'number' ? -value : value
    return { is: 'constant', value: plain, offset }
  }

  #named({ text, offset }: Token): Expression {
    if (reserved.has(text)) throw new IssueError(offset, `reserved identifier: ${text}`)
    const open = this.#token().offset
    if (!this.#accept('(')) return { is: 'name', name: text, offset }
    const args = this.#list(')', () => this.#expression())
    if (text !== 'has' || args.length !== 1) return call(open, text, args)
    const [selection] = args
    if (selection?.is !== 'select' || selection.optional) {
      throw new IssueError(selection?.offset ?? offset, 'invalid argument to has() macro')
    }
    return { is: 'has', operand: selection.operand, field: selection.field, offset }
  }

  #element(): ListElement {
    const optional = this.#accept('?')
    return { value: this.#expression(), optional }
  }

  #entry(): MapEntry {
    const optional = this.#accept('?')
    const key = this.#expression()
    this.#expect(':')
    return { key, value: this.#expression(), optional }
  }

  #list<T>(end: string, parse: () => T): T[] {
    const parts: T[] = []
    while (!this.#accept(end)) {
      parts.push(parse())
      // A trailing comma is allowed in literals only.
      if (this.#accept(',')) {
        if (end === ')' && this.#isNext(end)) this.#unexpected()
      } else if (!this.#isNext(end)) this.#unexpected(end)
    }
    return parts
  }
}

function call(
  offset: number,
  name: string,
  args: readonly Expression[],
  target?: Expression,
): Expression {
  return { is: 'call', name, target, args, offset }
}

const macros: Record<string, MacroName> = {
  all: 'all',
  exists: 'exists',
  exists_one: 'exists_one',
  existsOne: 'exists_one',
  filter: 'filter',
  map: 'map',
  optMap: 'optMap',
  optFlatMap: 'optFlatMap',
}

function macro(
  range: Expression,
  text: string,
  args: readonly Expression[],
  offset: number,
): Expression | undefined {
  const name = Object.hasOwn(macros, text) ? macros[text] : undefined
  const body = args.at(-1)
  if (name === undefined || body === undefined) return undefined
  if (args.length !== 2 && !(name === 'map' && args.length === 3)) return undefined
  const variable = args[0]
  if (variable?.is !== 'name') {
    throw new IssueError(variable?.offset ?? offset, 'argument must be a simple name')
  }
  const filter = args.length === 3 ? args[1] : undefined
  return { is: 'macro', name, range, variable: variable.name, filter, body, offset }
}
