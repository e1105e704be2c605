/** Splits an expression into tokens and reads its literals, escapes included. */
import type { Constant } from './ast.ts'
import { IssueError } from './errors.ts'
import { CelUint } from './values.ts'

export type Token = { readonly offset: number } & (
  | { readonly is: 'name' | 'operator' | 'end'; readonly text: string }
  | { readonly is: 'literal'; readonly text: string; readonly value: Constant }
)

const space = /(?:[\t\n\f\r ]|\/\/[^\n]*)+/y
const name = /[A-Za-z_][A-Za-z0-9_]*/y
const number =
  /(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|(0x[0-9a-fA-F]+|\d+)([uU]?)/y
const textStart = /([rR][bB]?|[bB][rR]?)?("""|'''|"|')/y
const operator = /&&|\|\||[=!<>]=|[-+*/%!<>?:.,()[\]{}]/y
const quotedName = /`([A-Za-z0-9_.\-/ ]+)`/y

/** All tokens of an expression; the last is `end`. Throws an IssueError. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = []
  let offset = 0
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = offset
    return pattern.exec(source)
  }
  while (offset < source.length) {
    const blank = match(space)
    if (blank !== null) {
      offset += blank[0].length
      continue
    }
    const token = textToken(source, offset, match(textStart)) ?? plainToken(offset, match, tokens)
    if (token === undefined) {
      const found = String.fromCodePoint(source.codePointAt(offset) ?? 0)
      throw new IssueError(offset, `Syntax error: token recognition error at: '${found}'`)
    }
    tokens.push(token.token)
    offset = token.end
  }
  tokens.push({ is: 'end', text: '<EOF>', offset: source.length })
  return tokens
}

interface Found {
  readonly token: Token
  readonly end: number
}

function plainToken(
  offset: number,
  match: (pattern: RegExp) => RegExpExecArray | null,
  before: readonly Token[],
): Found | undefined {
  // `a.1` isn't valid anyway, but `.5` is a number only where no operand stands before it.
  const digits = match(number)
  if (digits !== null && !(digits[0].startsWith('.') && isOperand(before.at(-1)))) {
    const value = numberOf(digits, offset)
    const text = digits[0]
    return { token: { is: 'literal', text, value, offset }, end: offset + text.length }
  }
  const word = match(name)
  if (word !== null) {
    const text = word[0]
    const end = offset + text.length
    const value = { true: true, false: false, null: null }[text]
    if (value !== undefined) return { token: { is: 'literal', text, value, offset }, end }
    return { token: { is: text === 'in' ? 'operator' : 'name', text, offset }, end }
  }
  const quoted = match(quotedName)
  if (quoted !== null && before.at(-1)?.text === '.') {
    const token: Token = { is: 'name', text: quoted[1] ?? '', offset }
    return { token, end: offset + quoted[0].length }
  }
  const sign = match(operator)
  if (sign === null) return undefined
  return { token: { is: 'operator', text: sign[0], offset }, end: offset + sign[0].length }
}

function isOperand(token: Token | undefined): boolean {
  return token !== undefined && (token.is !== 'operator' || [')', ']', '}'].includes(token.text))
}

function numberOf(match: RegExpExecArray, offset: number): Constant {
  const whole = match[1]
  if (whole === undefined) return Number(match[0])
  const value = BigInt(whole)
  if (match[2] !== '') {
    if (value >= 2n ** 64n) throw new IssueError(offset, 'invalid uint literal')
    return new CelUint(value)
  }
  // The parser checks the range: -9223372036854775808 is a sign and a number here.
  return value
}

function textToken(
  source: string,
  offset: number,
  start: RegExpExecArray | null,
): Found | undefined {
  if (start === null) return undefined
  const prefix = (start[1] ?? '').toLowerCase()
  const quote = start[2] ?? '"'
  const from = offset + start[0].length
  const raw = prefix.includes('r')
  let at = from
  while (!source.startsWith(quote, at)) {
    const unit = source[at]
    if (unit === undefined || (quote.length === 1 && (unit === '\n' || unit === '\r'))) {
      const shown = source.slice(offset, at)
      throw new IssueError(offset, `Syntax error: token recognition error at: '${shown}'`)
    }
    at += unit === '\\' && !raw ? 2 : 1
  }
  const body = source.slice(from, at)
  const end = at + quote.length
  const value = prefix.includes('b') ? bytesOf(body, raw, from) : textOf(body, raw, from)
  return { token: { is: 'literal', text: source.slice(offset, end), value, offset }, end }
}

const simpleEscapes: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '`': '`',
  '?': '?',
}
const escape =
  /\\(?:([abfnrtv\\'"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)/g

/** Calls back for each piece of a literal: plain text, or one escaped code. */
function unescape(
  body: string,
  offset: number,
  take: { text(plain: string): void; code(code: number, unicode: boolean): void },
): void {
  let last = 0
  for (const match of body.matchAll(escape)) {
    take.text(body.slice(last, match.index))
    last = match.index + match[0].length
    const [, simple, hex, short, long, octal] = match
    if (simple !== undefined) {
      take.text(simpleEscapes[simple] ?? '')
      continue
    }
    const digits = hex ?? short ?? long ?? octal
    if (digits === undefined) {
      throw new IssueError(offset + match.index, 'Syntax error: unknown escape in a literal')
    }
    const code = Number.parseInt(digits, octal === undefined ? 16 : 8)
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      throw new IssueError(offset + match.index, 'Syntax error: escape of an invalid code point')
    }
    take.code(code, short !== undefined || long !== undefined)
  }
  take.text(body.slice(last))
}

function textOf(body: string, raw: boolean, offset: number): string {
  if (raw || !body.includes('\\')) return body
  let text = ''
  unescape(body, offset, {
    text: (plain) => {
      text += plain
    },
    code: (code) => {
      text += String.fromCodePoint(code)
    },
  })
  return text
}

function bytesOf(body: string, raw: boolean, offset: number): Uint8Array {
  if (raw) return Buffer.from(body)
  const parts: Uint8Array[] = []
  unescape(body, offset, {
    text: (plain) => parts.push(Buffer.from(plain)),
    // In bytes, `\xff` is the byte itself.
    code: (code, unicode) =>
      parts.push(unicode ? Buffer.from(String.fromCodePoint(code)) : Uint8Array.of(code)),
  })
  return Buffer.concat(parts)
}
