/**
 * Reads the text form of label selectors: `app=web,tier in (front,back),!canary,weight>3`.
 * A token scanner and a recursive descent, with the complaints that kubectl's users know.
 */
import { fieldInvalid } from './field-errors.ts'
import { validateLabelValue, validateQualifiedName } from './names.ts'
import type { Requirement, RequirementOperator } from './selectors.ts'
import { badRequest } from './status.ts'

type TokenKind = 'word' | 'end' | '(' | ')' | ',' | '!' | '=' | '==' | '!=' | '>' | '<'

interface Token {
  readonly kind: TokenKind
  readonly text: string
}

const symbols = ['==', '!=', '(', ')', ',', '!', '=', '>', '<'] as const
const operatorOf: Partial<Record<string, RequirementOperator>> = {
  '=': '=',
  '==': '==',
  '!=': '!=',
  '>': 'gt',
  '<': 'lt',
  in: 'in',
  notin: 'notin',
}

function scan(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    const char = text.charAt(at)
    if (/\s/.test(char)) {
      at++
      continue
    }
    const symbol = symbols.find((candidate) => text.startsWith(candidate, at))
    if (symbol === undefined) {
      const word = /^[^\s()=!,<>]+/.exec(text.slice(at))?.[0] ?? char
      tokens.push({ kind: 'word', text: word })
      at += word.length
    } else {
      tokens.push({ kind: symbol, text: symbol })
      at += symbol.length
    }
  }
  return tokens
}

const end: Token = { kind: 'end', text: '' }

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? end
  }

  #next(): Token {
    const token = this.#peek()
    this.#at++
    return token
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = []
    for (;;) {
      const { kind, text } = this.#peek()
      if (kind === 'end') return requirements
      if (kind !== 'word' && kind !== '!') {
        throw badRequest(`found '${text}', expected: !, identifier, or 'end of string'`)
      }
      requirements.push(this.#requirement())
      const after = this.#next()
      if (after.kind === 'end') return requirements
      if (after.kind !== ',') {
        throw badRequest(`found '${after.text}', expected: ',' or 'end of string'`)
      }
      const following = this.#peek()
      if (following.kind !== 'word' && following.kind !== '!') {
        throw badRequest(`found '${following.text}', expected: identifier after ','`)
      }
    }
  }

  #requirement(): Requirement {
    const absent = this.#peek().kind === '!'
    if (absent) this.#next()
    const key = this.#next()
    if (key.kind !== 'word') throw unparsable(`found '${key.text}', expected: identifier`)
    const { kind } = this.#peek()
    if (absent) return checked({ key: key.text, operator: '!', values: [] })
    if (kind === 'end' || kind === ',') {
      return checked({ key: key.text, operator: 'exists', values: [] })
    }
    const token = this.#next()
    const operator = operatorOf[token.text]
    if (operator === undefined) {
      throw unparsable(`found '${token.text}', expected: in, notin, =, ==, !=, gt, lt`)
    }
    const values = operator === 'in' || operator === 'notin' ? this.#list() : [this.#value()]
    return checked({ key: key.text, operator, values })
  }

  #value(): string {
    const { kind } = this.#peek()
    if (kind === 'end' || kind === ',') return ''
    const token = this.#next()
    if (token.kind !== 'word') throw unparsable(`found '${token.text}', expected: identifier`)
    return token.text
  }

  #list(): string[] {
    const open = this.#next()
    if (open.kind !== '(') throw unparsable(`found '${open.text}' expected: '('`)
    const values = new Set<string>()
    let pending = ''
    for (;;) {
      const token = this.#next()
      if (token.kind === 'word' && pending === '') pending = token.text
      else if (token.kind === ',' || token.kind === ')') {
        // Empty places count as the empty value, except that `()` is an empty list.
        const empty = token.kind === ')' && values.size === 0 && pending === ''
        if (!empty) values.add(pending)
        pending = ''
        if (token.kind === ')') return [...values].sort()
      } else if (pending === '') {
        throw unparsable(`found '${token.text}', expected: ',', ')' or identifier`)
      } else {
        throw unparsable(`found '${token.text}', expected: ',' or ')'`)
      }
    }
  }
}

function unparsable(why: string): Error {
  return badRequest(`unable to parse requirement: ${why}`)
}

/** Throws 400 for keys and values which no label can have. */
export function checked(requirement: Requirement): Requirement {
  const { key, operator, values } = requirement
  const complaints = validateQualifiedName(key).map((text) => fieldInvalid('key', key, text))
  if ((operator === 'in' || operator === 'notin') && values.length === 0) {
    const text = "for 'in', 'notin' operators, values set can't be empty"
    complaints.push(fieldInvalid('values', [], text))
  }
  for (const [i, value] of values.entries()) {
    for (const text of validateLabelValue(value)) {
      complaints.push(fieldInvalid(`values[${i}][${key}]`, value, text))
    }
    if ((operator === 'gt' || operator === 'lt') && !/^[+-]?\d+$/.test(value)) {
      const text = "for 'Gt', 'Lt' operators, the value must be an integer"
      complaints.push(fieldInvalid(`values[${i}]`, value, text))
    }
  }
  const [first] = complaints
  if (first === undefined) return requirement
  throw unparsable(
    complaints.length === 1
      ? `${first.field}: ${first.message}`
      : `[${complaints.map((each) => `${each.field}: ${each.message}`).join(', ')}]`,
  )
}

/** Reads the text of a label selector. Throws a 400 ApiError. */
export function parseRequirements(text: string): Requirement[] {
  return new Parser(scan(text)).parse()
}
