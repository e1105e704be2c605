/** Functions of strings: the standard ones and Google's `strings` extension, by code points. */
import { CelError } from '../errors.ts'
import { fn, type Library, method, readingCost, searchingCost } from '../library.ts'
import { costPerCharacter } from '../limits.ts'
import { listType, types } from '../types.ts'
import type { CelList } from '../values.ts'
import { textLength } from './operators.ts'

const { bool, int, string } = types
const strings = listType(string)

const surrogate = /[\ud800-\udfff]/

/** The index in UTF-16 units of a code point's index; they only differ beyond the basic plane. */
function unitIndex(text: string, index: number): number {
  if (!surrogate.test(text)) return index
  let units = 0
  for (let points = 0; points < index; points++) {
    units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1
  }
  return units
}

/** An index within 0 and the length, in units. */
function place(text: string, index: bigint): number {
  if (index < 0n || index > BigInt(textLength(text))) {
    throw new CelError(`index out of range: ${index}`)
  }
  return unitIndex(text, Number(index))
}

function charAt(text: string, index: bigint): string {
  const at = place(text, index)
  const code = text.codePointAt(at)
  return code === undefined ? '' : String.fromCodePoint(code)
}

function substring(text: string, start: bigint, end?: bigint): string {
  const from = place(text, start)
  if (end === undefined) return text.slice(from)
  const to = place(text, end)
  if (start > end) {
    throw new CelError(`invalid substring range. start: ${start}, end: ${end}`)
  }
  return text.slice(from, to)
}

/** An index in units as an index in code points. */
function pointIndex(text: string, units: number): bigint {
  return BigInt(units < 0 ? -1 : textLength(text.slice(0, units)))
}

function indexOf(text: string, part: string, start = 0n): bigint {
  if (part === '') return start
  return pointIndex(text, text.indexOf(part, place(text, start)))
}

function lastIndexOf(text: string, part: string, start?: bigint): bigint {
  if (part === '') return start ?? BigInt(textLength(text))
  const last = start === undefined ? undefined : place(text, start)
  return pointIndex(text, text.lastIndexOf(part, last))
}

/** As Go's SplitN: the last piece holds what is left. */
function split(text: string, separator: string, limit = -1n): CelList {
  if (limit === 0n) return []
  const pieces = separator === '' ? Array.from(text) : text.split(separator)
  if (limit < 0n || BigInt(pieces.length) <= limit) return pieces
  const kept = pieces.slice(0, Number(limit) - 1)
  return [...kept, pieces.slice(Number(limit) - 1).join(separator)]
}

function replace(text: string, from: string, to: string, limit = -1n): string {
  if (limit === 0n) return text
  if (from !== '') {
    if (limit < 0n) return text.split(from).join(to)
    const pieces = text.split(from)
    const kept = Number(limit < BigInt(pieces.length) ? limit : BigInt(pieces.length - 1))
    return (
      pieces.slice(0, kept + 1).join(to) +
      pieces
        .slice(kept + 1)
        .map((rest) => from + rest)
        .join('')
    )
  }
  // An empty text is found before every character and at the end.
  const characters = Array.from(text)
  let result = ''
  let left = limit < 0n ? characters.length + 1 : Number(limit)
  for (const character of [...characters, '']) {
    if (left-- > 0) result += to
    result += character
  }
  return result
}

function replaceCost(text: string, from: string, to: string): number {
  const times = text.length / Math.max(from.length, 1) + 1
  return searchingCost(text, from) + times * to.length * costPerCharacter
}

function splitCost(text: string, separator: string): number {
  return searchingCost(text, separator) + text.length / Math.max(separator.length, 1)
}

function joinTexts(list: CelList, separator = ''): string {
  for (const element of list) {
    if (typeof element !== 'string') throw new CelError('no such overload')
  }
  return list.join(separator)
}

function joinCost(list: CelList, separator = ''): number {
  let length = list.length * (1 + separator.length)
  for (const element of list) length += typeof element === 'string' ? element.length : 0
  return length * costPerCharacter
}

const blanks = '[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+'
const atStart = new RegExp(`^${blanks}`)
const inside = new RegExp(`${blanks}$`)

function trim(text: string): string {
  const rest = text.replace(atStart, '')
  // The expression alone would look at the end from every blank in the middle.
  const last = rest.at(-1)
  return last !== undefined && inside.test(last) ? rest.slice(0, blanksStart(rest)) : rest
}

function blanksStart(text: string): number {
  let end = text.length
  while (end > 0 && inside.test(text[end - 1] ?? 'x')) end--
  return end
}

function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (capitals) => capitals.toLowerCase())
}

function upperAscii(text: string): string {
  return text.replaceAll(/[a-z]+/g, (letters) => letters.toUpperCase())
}

const quotes: Record<string, string> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
}

function quote(text: string): string {
  return `"${text.replaceAll(/[\p{Cc}\\"]/gu, (character) => quotes[character] ?? character)}"`
}

const readingFirst = { cost: (text: string) => readingCost(text) }
const splitting = { cost: splitCost }
const searching = { cost: searchingCost }
const replacing = { cost: replaceCost }
const joining = { cost: joinCost }

export const texts: Library = [
  method('contains', [string, string], bool, (a: string, b: string) => a.includes(b), searching),
  method('startsWith', [string, string], bool, (a: string, b: string) => a.startsWith(b), {
    cost: (_: string, b: string) => readingCost(b),
  }),
  method('endsWith', [string, string], bool, (a: string, b: string) => a.endsWith(b), {
    cost: (_: string, b: string) => readingCost(b),
  }),
  method('charAt', [string, int], string, charAt, readingFirst),
  method('indexOf', [string, string], int, indexOf, searching),
  method('indexOf', [string, string, int], int, indexOf, searching),
  method('lastIndexOf', [string, string], int, lastIndexOf, searching),
  method('lastIndexOf', [string, string, int], int, lastIndexOf, searching),
  method('lowerAscii', [string], string, lowerAscii, readingFirst),
  method('upperAscii', [string], string, upperAscii, readingFirst),
  method('trim', [string], string, trim, readingFirst),
  method('replace', [string, string, string], string, replace, replacing),
  method('replace', [string, string, string, int], string, replace, replacing),
  method('split', [string, string], strings, split, splitting),
  method('split', [string, string, int], strings, split, splitting),
  method('substring', [string, int], string, substring, readingFirst),
  method('substring', [string, int, int], string, substring, readingFirst),
  method('join', [strings], string, joinTexts, joining),
  method('join', [strings, string], string, joinTexts, joining),
  fn('strings.quote', [string], string, quote, readingFirst),
]
