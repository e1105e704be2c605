/** `"%s has %d".format([name, count])` of Google's `strings` extension. */
import { CelError } from '../errors.ts'
import { deepCost, type Library, method, readingCost } from '../library.ts'
import { maxEvaluationCost } from '../limits.ts'
import { listType, types } from '../types.ts'
import {
  CelDuration,
  type CelList,
  CelOptional,
  CelTimestamp,
  CelType,
  CelUint,
  isList,
  isMap,
  typeName,
  type Value,
} from '../values.ts'
import { doubleText } from './conversions.ts'
import { durationText, timestampText } from './time.ts'

/** More digits than a double has; without a bound one clause could ask for gigabytes. */
const maxPrecision = 100
const clause = /%(?:%|(?:\.(\d*))?(.)|$)/gsu

function format(text: string, args: CelList): string {
  let used = 0
  const result = text.replaceAll(clause, (all, precision: string | undefined, verb?: string) => {
    if (all === '%%') return '%'
    if (verb === undefined) throw new CelError('unexpected end of string')
    const value = args[used++]
    if (value === undefined) throw new CelError(`index ${used - 1} out of range`)
    const digits = precision === undefined ? 6 : Number(precision)
    if (digits > maxPrecision) throw new CelError(`precision ${digits} is over ${maxPrecision}`)
    return clauseText(verb, value, digits)
  })
  if (used < args.length) {
    throw new CelError('too many arguments for the format string')
  }
  return result
}

function clauseText(verb: string, value: Value, precision: number): string {
  const number = value instanceof CelUint ? value.value : value
  switch (verb) {
    case 's':
      return shownText(value)
    case 'd':
      if (typeof number === 'bigint') return String(number)
      if (typeof number === 'number' && !Number.isFinite(number)) return specialText(number)
      break
    case 'f':
    case 'e':
      if (typeof number === 'number') return doubleClause(number, verb, precision)
      break
    case 'b':
      if (typeof number === 'boolean') return number ? '1' : '0'
      if (typeof number === 'bigint') return number.toString(2)
      break
    case 'o':
      if (typeof number === 'bigint') return number.toString(8)
      break
    case 'x':
    case 'X': {
      const hex = hexText(number)
      if (hex !== undefined) return verb === 'x' ? hex : hex.toUpperCase()
      break
    }
    default: {
      const text = `could not parse formatting clause: unrecognized formatting clause "${verb}"`
      throw new CelError(text)
    }
  }
  throw new CelError(`error during formatting: %${verb} does not take values of ${typeName(value)}`)
}

function hexText(value: Value): string | undefined {
  if (typeof value === 'bigint') return value.toString(16)
  if (typeof value === 'string') return Buffer.from(value).toString('hex')
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : undefined
}

function specialText(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? 'Infinity' : '-Infinity'
}

function doubleClause(value: number, verb: string, precision: number): string {
  if (!Number.isFinite(value)) return specialText(value)
  if (verb === 'f') return value.toFixed(precision)
  return value.toExponential(precision).replace(/e([+-])(\d)$/, 'e$10$2')
}

function shownText(value: Value): string {
  if (typeof value === 'string') return value
  if (value === null) return 'null'
  if (typeof value === 'number')
    return Number.isFinite(value) ? doubleText(value) : specialText(value)
  if (typeof value !== 'object') return String(value)
  if (isList(value)) return `[${value.map(shownText).join(', ')}]`
  if (isMap(value)) {
    const entries = [...value].map(([key, each]) => `${shownText(key)}: ${shownText(each)}`)
    return `{${entries.sort().join(', ')}}`
  }
  if (value instanceof CelUint) return String(value.value)
  if (value instanceof CelDuration) return durationText(value)
  if (value instanceof CelTimestamp) return timestampText(value)
  if (value instanceof CelType) return value.name
  if (value instanceof Uint8Array) return Buffer.from(value).toString()
  if (value instanceof CelOptional) {
    return value.content === undefined ? 'optional.none()' : `optional(${shownText(value.content)})`
  }
  return value.typeName
}

export const formatting: Library = [
  method('format', [types.string, listType(types.dyn)], types.string, format, {
    cost: (text: string, args: CelList) =>
      readingCost(text) + 4 * deepCost(args, maxEvaluationCost),
  }),
]
