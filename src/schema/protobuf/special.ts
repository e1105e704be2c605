/**
 * Messages whose JSON is not an object of their fields. Each form is made from the decoded fields,
 * which here have the names of the `.proto` files; a field that was not sent is undefined.
 */
import { formatTime } from '../../kube/index.ts'
import { isMap } from '../json.ts'
import { jsonDepthMax } from './limits.ts'
import { WireError } from './reader.ts'

export type Parts = Readonly<Record<string, unknown>>
export type SpecialForm = (parts: Parts) => unknown

// The years 1 to 9999: what RFC 3339 can say.
const secondsMin = -62_135_596_800
const secondsMax = 253_402_300_799

/** Go's zero time is sent as an empty message, and is null in JSON. */
function time(parts: Parts, withMicros: boolean): string | null {
  const { seconds, nanos = 0 } = parts
  if (seconds === undefined && parts['nanos'] === undefined) return null
  const whole = Number(seconds ?? 0)
  const fraction = Number(nanos)
  if (whole < secondsMin || whole > secondsMax || fraction < 0 || fraction > 999_999_999) {
    throw new WireError(`the time ${whole} s ${fraction} ns is not between the years 1 and 9999`)
  }
  if (whole === secondsMin && fraction === 0) return null
  const text = formatTime(whole * 1000)
  if (!withMicros) return text
  const micros = Math.trunc(fraction / 1000)
  return `${text.slice(0, -1)}.${String(micros).padStart(6, '0')}Z`
}

function intOrString({ type = 0, intVal = 0, strVal = '' }: Parts): unknown {
  if (type === 0) return intVal
  if (type === 1) return strVal
  throw new WireError(`type ${String(type)} is neither 0 (a number) nor 1 (a text)`)
}

const schemaTypes = 'apiextensions.v1.JSONSchemaPropsOr'

/** By message; the first two segments of a name are those of its package. */
export const specialForms: ReadonlyMap<string, SpecialForm> = new Map<string, SpecialForm>([
  ['meta.v1.Time', (parts) => time(parts, false)],
  ['meta.v1.MicroTime', (parts) => time(parts, true)],
  ['meta.v1.FieldsV1', (parts) => parts['Raw'] ?? null],
  ['runtime.RawExtension', (parts) => parts['raw'] ?? null],
  ['apiextensions.v1.JSON', (parts) => parts['raw'] ?? null],
  ['resource.Quantity', (parts) => parts['string'] || '0'],
  ['intstr.IntOrString', intOrString],
  [`${schemaTypes}Bool`, (parts) => parts['schema'] ?? parts['allows'] ?? false],
  [`${schemaTypes}Array`, (parts) => parts['jSONSchemas'] ?? parts['schema'] ?? null],
  [`${schemaTypes}StringArray`, (parts) => parts['property'] ?? parts['schema'] ?? null],
])

/** JSON inside a message. Nothing stands for null, as in Go. */
export function embeddedJson(text: string): unknown {
  if (text === '') return null
  const value = parse(text)
  checkDepth(value, jsonDepthMax)
  return value
}

function parse(text: string): unknown {
  try {
    // Parsing exactly costs several times as much, and is only needed where a long number stands.
    return /\d{16}/.test(text) ? JSON.parse(text, refuseInexact) : JSON.parse(text)
  } catch (error) {
    if (error instanceof WireError) throw error
    throw new WireError('the embedded JSON is not valid', { cause: error })
  }
}

function refuseInexact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const source = context?.source ?? String(value)
    if (!/[.eE]/.test(source)) {
      throw new WireError(`the number ${source} is larger than this server can store exactly`)
    }
  }
  return value
}

function checkDepth(value: unknown, left: number): void {
  if (!isMap(value) && !Array.isArray(value)) return
  if (left === 0) throw new WireError(`the embedded JSON has more than ${jsonDepthMax} levels`)
  for (const child of Object.values(value)) checkDepth(child, left - 1)
}
