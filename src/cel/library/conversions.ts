/** Conversions between types, and `type` and `dyn`. */
import { CelError } from '../errors.ts'
import { type FunctionDeclaration, fn, type Library, readingCost } from '../library.ts'
import { paramA, type Type, types } from '../types.ts'
import { CelType, CelUint, typeName, type Value } from '../values.ts'
import { int64, uint64 } from './operators.ts'

const { bool, int, uint, double, string, bytes } = types

function refused(value: string, wanted: string): CelError {
  return new CelError(
    `type conversion error from 'string' to '${wanted}': ${JSON.stringify(value)}`,
  )
}

function whole(value: number, wanted: string): bigint {
  if (!Number.isFinite(value)) throw new CelError(`${wanted} overflow`)
  return BigInt(Math.trunc(value))
}

function parseInteger(text: string): bigint {
  if (!/^[+-]?\d+$/.test(text)) throw refused(text, 'int')
  return int64(BigInt(text.replace('+', '')))
}

function parseUint(text: string): CelUint {
  if (!/^\d+$/.test(text)) throw refused(text, 'uint')
  return uint64(BigInt(text))
}

function parseDouble(text: string): number {
  const special: Record<string, number> = { NaN: Number.NaN, Inf: Infinity, Infinity }
  const [, sign = '', word = ''] = /^([+-]?)(\w*)/.exec(text) ?? []
  const named = Object.hasOwn(special, word) ? special[word] : undefined
  if (named !== undefined && text === sign + word) return sign === '-' ? -named : named
  if (!/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text)) throw refused(text, 'double')
  return Number(text)
}

const booleans: Record<string, boolean> = {
  true: true,
  True: true,
  TRUE: true,
  t: true,
  '1': true,
  false: false,
  False: false,
  FALSE: false,
  f: false,
  '0': false,
}

function parseBool(text: string): boolean {
  const found = Object.hasOwn(booleans, text) ? booleans[text] : undefined
  if (found === undefined) throw refused(text, 'bool')
  return found
}

/** As Go prints it: the shortest text that reads back. */
export function doubleText(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e21)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  }
  return String(value)
}

function bytesText(value: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(value)
  } catch {
    throw new CelError('invalid UTF-8 in bytes, cannot convert to string')
  }
}

function same(name: string, type: Type): FunctionDeclaration {
  return fn(name, [type], type, (value: Value) => value)
}

export const conversions: Library = [
  same('int', int),
  fn('int', [uint], int, (a: CelUint) => int64(a.value)),
  fn('int', [double], int, (a: number) => int64(whole(a, 'integer'))),
  fn('int', [string], int, parseInteger, { cost: readingCost }),
  same('uint', uint),
  fn('uint', [int], uint, (a: bigint) => uint64(a)),
  fn('uint', [double], uint, (a: number) => uint64(whole(a, 'unsigned integer'))),
  fn('uint', [string], uint, parseUint, { cost: readingCost }),
  same('double', double),
  fn('double', [int], double, (a: bigint) => Number(a)),
  fn('double', [uint], double, (a: CelUint) => Number(a.value)),
  fn('double', [string], double, parseDouble, { cost: readingCost }),
  same('string', string),
  fn('string', [int], string, (a: bigint) => String(a)),
  fn('string', [uint], string, (a: CelUint) => String(a.value)),
  fn('string', [double], string, doubleText),
  fn('string', [bool], string, (a: boolean) => String(a)),
  fn('string', [bytes], string, bytesText, { cost: (a: Uint8Array) => a.length }),
  same('bytes', bytes),
  fn('bytes', [string], bytes, (a: string) => Buffer.from(a), { cost: readingCost }),
  same('bool', bool),
  fn('bool', [string], bool, parseBool),
  fn('dyn', [paramA], types.dyn, (a: Value) => a),
  fn('type', [paramA], types.type, (a: Value) => new CelType(typeName(a))),
]
