/** Durations and timestamps, in nanoseconds as Go has them. */
import { CelError } from '../errors.ts'
import { type FunctionDeclaration, fn, type Library, method, type Overload } from '../library.ts'
import { costOfTimeZone } from '../limits.ts'
import { type Type, types } from '../types.ts'
import { CelDuration, CelTimestamp, type Value } from '../values.ts'
import { durationOf } from './operators.ts'

const { int, string, duration, timestamp } = types

const second = 1_000_000_000n
const milli = 1_000_000n

const units: Record<string, bigint> = {
  ns: 1n,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ms: milli,
  s: second,
  m: 60n * second,
  h: 3600n * second,
}
const part = /(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/y

/** Nanoseconds of `1h30m` and the like, or undefined. */
export function parseDuration(text: string): bigint | undefined {
  const sign = /^[+-]/.exec(text)?.[0] ?? ''
  const body = text.slice(sign.length)
  if (body === '0') return 0n
  if (body === '' || body.length > 100) return undefined
  let nanos = 0n
  part.lastIndex = 0
  while (part.lastIndex < body.length) {
    const match = part.exec(body)
    const [, whole = '', fraction = '', unit = ''] = match ?? []
    if (match === null || whole + fraction === '') return undefined
    const scale = units[unit] ?? 0n
    nanos += BigInt(whole === '' ? 0 : whole) * scale
    if (fraction !== '') nanos += (BigInt(fraction) * scale) / 10n ** BigInt(fraction.length)
  }
  const signed = sign === '-' ? -nanos : nanos
  return BigInt.asIntN(64, signed) === signed ? signed : undefined
}

const rfc3339 = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)$/

/** Nanoseconds since 1970 of an RFC 3339 time, or undefined. */
export function parseTimestamp(text: string): bigint | undefined {
  const match = rfc3339.exec(text)
  if (match === null) return undefined
  const [, date, time, fraction = '', zone] = match
  const ms = Date.parse(`${date}T${time}${zone?.toUpperCase()}`)
  if (Number.isNaN(ms)) return undefined
  return BigInt(ms) * milli + BigInt(fraction.padEnd(9, '0'))
}

const earliest = parseTimestamp('0001-01-01T00:00:00Z') ?? 0n
const latest = parseTimestamp('9999-12-31T23:59:59.999999999Z') ?? 0n

function timestampOf(nanos: bigint): CelTimestamp {
  if (nanos < earliest || nanos > latest) throw new CelError('timestamp overflow')
  return new CelTimestamp(nanos)
}

function fractionText(nanos: bigint): string {
  return nanos === 0n ? '' : `.${String(nanos).padStart(9, '0').replace(/0+$/, '')}`
}

/** `1.5s`, as the JSON form of protobuf has it. */
export function durationText({ nanos }: CelDuration): string {
  const size = nanos < 0n ? -nanos : nanos
  return `${nanos < 0n ? '-' : ''}${size / second}${fractionText(size % second)}s`
}

/** RFC 3339 in UTC, with as many digits as needed. */
export function timestampText({ nanos }: CelTimestamp): string {
  const rest = ((nanos % second) + second) % second
  const seconds = new Date(Number((nanos - rest) / milli)).toISOString().slice(0, 19)
  return `${seconds}${fractionText(rest)}Z`
}

function duration_(text: string): CelDuration {
  const nanos = parseDuration(text)
  if (nanos === undefined) throw new CelError(`invalid duration ${JSON.stringify(text)}`)
  return new CelDuration(nanos)
}

function timestamp_(text: string): CelTimestamp {
  const nanos = parseTimestamp(text)
  if (nanos === undefined) throw new CelError(`invalid timestamp ${JSON.stringify(text)}`)
  return timestampOf(nanos)
}

function literalCheck(what: string, parse: (text: string) => bigint | undefined) {
  const checkLiterals: Overload['checkLiterals'] = ([text]) =>
    typeof text === 'string' && parse(text) === undefined ? `invalid ${what} argument` : undefined
  return { checkLiterals }
}

/** The wall clock of a time in a zone, as a Date whose UTC fields say it. */
function inZone({ nanos }: CelTimestamp, zone: string): Date {
  const ms = Number((nanos - (((nanos % milli) + milli) % milli)) / milli)
  const offset = /^([+-]?)(\d\d):(\d\d)$/.exec(zone)
  if (offset !== null) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3])
    return new Date(ms + (offset[1] === '-' ? -minutes : minutes) * 60_000)
  }
  if (zone === 'UTC' || zone === '') return new Date(ms)
  try {
    const parts = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      timeZoneName: 'longOffset',
    }).formatToParts(ms)
    const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'GMT'
    const [, sign, hours = '0', minutes = '0'] = /GMT([+-])(\d\d):(\d\d)/.exec(name) ?? []
    const shift = (Number(hours) * 60 + Number(minutes)) * 60_000
    return new Date(ms + (sign === '-' ? -shift : shift))
  } catch {
    throw new CelError(`unknown time zone ${zone}`)
  }
}

function dayOfYear(date: Date): number {
  const start = Date.UTC(date.getUTCFullYear(), 0, 1)
  // Date.UTC takes years below 100 for 19xx.
  const first = new Date(start).setUTCFullYear(date.getUTCFullYear())
  return Math.floor((date.getTime() - first) / 86_400_000)
}

const getters: Record<string, (date: Date) => number> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDayOfYear: dayOfYear,
  getDate: (date) => date.getUTCDate(),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDayOfWeek: (date) => date.getUTCDay(),
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
  getMilliseconds: (date) => date.getUTCMilliseconds(),
}

const durationGetters: Record<string, bigint> = {
  getHours: 3600n * second,
  getMinutes: 60n * second,
  getSeconds: second,
  getMilliseconds: milli,
}

function accessors(): FunctionDeclaration[] {
  const ofTimes = Object.entries(getters).flatMap(([name, get]) => [
    method(name, [timestamp], int, (time: CelTimestamp) => BigInt(get(inZone(time, 'UTC')))),
    method(
      name,
      [timestamp, string],
      int,
      (time: CelTimestamp, zone: string) => BigInt(get(inZone(time, zone))),
      { cost: () => costOfTimeZone },
    ),
  ])
  const ofDurations = Object.entries(durationGetters).map(([name, unit]) =>
    method(name, [duration], int, ({ nanos }: CelDuration) => nanos / unit),
  )
  return [...ofTimes, ...ofDurations]
}

interface Nanos {
  readonly nanos: bigint
}

function sum(
  name: string,
  params: readonly [Type, Type],
  result: Type,
  make: (nanos: bigint) => Value,
): FunctionDeclaration {
  const sign = name === '_-_' ? -1n : 1n
  return fn(name, params, result, (a: Nanos, b: Nanos) => make(a.nanos + sign * b.nanos))
}

export const time: Library = [
  fn('duration', [string], duration, duration_, literalCheck('duration', parseDuration)),
  fn('duration', [duration], duration, (a: CelDuration) => a),
  fn('timestamp', [string], timestamp, timestamp_, literalCheck('timestamp', parseTimestamp)),
  fn('timestamp', [timestamp], timestamp, (a: CelTimestamp) => a),
  fn('timestamp', [int], timestamp, (seconds: bigint) => timestampOf(seconds * second)),
  fn('string', [duration], string, durationText),
  fn('string', [timestamp], string, timestampText),
  fn('int', [timestamp], int, ({ nanos }: CelTimestamp) => {
    const rest = ((nanos % second) + second) % second
    return (nanos - rest) / second
  }),
  sum('_+_', [duration, duration], duration, durationOf),
  sum('_+_', [timestamp, duration], timestamp, timestampOf),
  sum('_+_', [duration, timestamp], timestamp, timestampOf),
  sum('_-_', [duration, duration], duration, durationOf),
  sum('_-_', [timestamp, duration], timestamp, timestampOf),
  sum('_-_', [timestamp, timestamp], duration, durationOf),
  fn('-_', [duration], duration, ({ nanos }: CelDuration) => durationOf(-nanos)),
  ...accessors(),
]
