/**
 * Schedules of CronJobs: five fields with ranges, lists, steps and names, or `@hourly` and its like. Times of day
 * are those of a time zone; an hour that a zone skips is skipped, one that it has twice counts once.
 */
import { KubeErrors } from './errors.ts'

interface Field {
  readonly name: string
  readonly min: number
  readonly max: number
  readonly names?: readonly string[]
}

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const fields: readonly Field[] = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12, names: months },
  { name: 'day of week', min: 0, max: 6, names: days },
]

const descriptors: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}

/** 29 February comes after eight years where a century has no leap day; nothing is rarer. */
const yearsMax = 9
const minuteMs = 60_000
const dayMs = 86_400_000

export interface Schedule {
  /** The first time after `afterMs`, in milliseconds since 1970; undefined when there is none. */
  next(afterMs: number): number | undefined
}

/**
 * Reads a schedule. Throws KUBE_BAD_SCHEDULE.
 * @param timeZone an IANA name; default: UTC
 */
export function parseSchedule(text: string, timeZone = 'UTC'): Schedule {
  const trimmed = text.trim()
  if (/^(CRON_)?TZ=/.test(trimmed)) {
    throw KubeErrors.badSchedule(text, 'the time zone belongs into spec.timeZone')
  }
  const every = /^@every (.+)$/.exec(trimmed)
  if (every !== null) return intervalSchedule(text, every[1] ?? '')
  const known = trimmed.startsWith('@') ? descriptors[trimmed] : trimmed
  if (known === undefined) throw KubeErrors.badSchedule(text, 'no such descriptor')
  const parts = known.split(/\s+/)
  if (parts.length !== fields.length) {
    throw KubeErrors.badSchedule(text, `expected exactly 5 fields, found ${parts.length}`)
  }
  const sets = fields.map((field, position) => parseField(text, parts[position] ?? '', field))
  const [minutes, hours, monthDays, monthSet, weekDays] = sets as [
    Values,
    Values,
    Values,
    Values,
    Values,
  ]
  const matchesDay = (date: Date): boolean => {
    if (!monthSet.values.has(date.getUTCMonth() + 1)) return false
    const byMonth = monthDays.values.has(date.getUTCDate())
    const byWeek = weekDays.values.has(date.getUTCDay())
    // Two restrictions are alternatives; a star leaves the choice to the other.
    return monthDays.any || weekDays.any ? byMonth && byWeek : byMonth || byWeek
  }
  const zone = zoneOf(text, timeZone)
  return {
    next: (afterMs) => nextTime(afterMs, { minutes, hours, matchesDay, zone }),
  }
}

/** Whether a text names a time zone that this machine knows. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name })
    return true
  } catch {
    return false
  }
}

interface Values {
  readonly values: ReadonlySet<number>
  /** Written with a star. */
  readonly any: boolean
}

function parseField(schedule: string, text: string, field: Field): Values {
  const values = new Set<number>()
  let any = false
  for (const part of text.split(',')) {
    const match = /^(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:\/(\d+))?$/i.exec(part)
    const fail = (): Error => KubeErrors.badSchedule(schedule, `${field.name}: "${part}"`)
    if (match === null) throw fail()
    const [, first = '', last, stepText] = match
    const star = first === '*' || first === '?'
    if (star && last !== undefined) throw fail()
    const step = stepText === undefined ? 1 : Number(stepText)
    const start = star ? field.min : valueOf(first, field)
    const single = last === undefined && stepText === undefined && !star
    const end = last === undefined ? (single ? start : field.max) : valueOf(last, field)
    if (start === undefined || end === undefined || start > end || step === 0) throw fail()
    if (start < field.min || end > field.max) throw fail()
    for (let value = start; value <= end; value += step) values.add(value)
    any ||= star && step === 1
  }
  return { values, any }
}

function valueOf(text: string, field: Field): number | undefined {
  if (/^\d+$/.test(text)) return Number(text)
  const position = field.names?.indexOf(text.toLowerCase()) ?? -1
  return position < 0 ? undefined : position + field.min
}

const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

function intervalSchedule(schedule: string, text: string): Schedule {
  let total = 0
  const rest = text.replace(
    /(\d+(?:\.\d+)?)(ms|h|m|s)/g,
    (_whole, amount: string, unit: string) => {
      total += Number(amount) * (units[unit] ?? 0)
      return ''
    },
  )
  const periodMs = Math.max(1000, Math.trunc(total / 1000) * 1000)
  if (rest !== '' || total === 0) throw KubeErrors.badSchedule(schedule, `duration "${text}"`)
  return { next: (afterMs) => Math.trunc(afterMs / 1000) * 1000 + periodMs }
}

interface Zone {
  /** The local time, as if it were UTC. */
  toLocal(utcMs: number): number
}

function zoneOf(schedule: string, timeZone: string): Zone {
  if (timeZone === 'UTC') return { toLocal: (utcMs) => utcMs }
  if (!isTimeZone(timeZone)) throw KubeErrors.badSchedule(schedule, `time zone "${timeZone}"`)
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  const part = (parts: Intl.DateTimeFormatPart[], type: string): number =>
    Number(parts.find((each) => each.type === type)?.value)
  return {
    toLocal: (utcMs) => {
      const parts = format.formatToParts(utcMs)
      const [month, hour] = [part(parts, 'month') - 1, part(parts, 'hour')]
      const [minute, second] = [part(parts, 'minute'), part(parts, 'second')]
      return Date.UTC(part(parts, 'year'), month, part(parts, 'day'), hour, minute, second)
    },
  }
}

interface Wanted {
  readonly minutes: Values
  readonly hours: Values
  readonly matchesDay: (date: Date) => boolean
  readonly zone: Zone
}

/** Days first, then the hours and minutes of a day that fits: a search over years stays short. */
function nextTime(afterMs: number, wanted: Wanted): number | undefined {
  const { zone, matchesDay, hours, minutes } = wanted
  const first = Math.floor(zone.toLocal(afterMs) / dayMs) * dayMs
  // The day before, too: where a zone turns back at midnight, it has two ends.
  for (let day = first - dayMs; day < first + yearsMax * 366 * dayMs; day += dayMs) {
    if (!matchesDay(new Date(day))) continue
    for (const hour of sorted(hours)) {
      for (const minute of sorted(minutes)) {
        const local = day + hour * 3_600_000 + minute * minuteMs
        const utc = toUtc(local, zone)
        if (utc !== undefined && utc > afterMs) return utc
      }
    }
  }
  return undefined
}

function sorted(set: Values): number[] {
  return [...set.values].toSorted((a, b) => a - b)
}

/** The first moment that a clock on the wall shows this time; undefined when it never does. */
function toUtc(local: number, zone: Zone): number | undefined {
  const guesses = [-dayMs, 0, dayMs].map((shift) => {
    const near = local + shift
    return local - (zone.toLocal(near) - near)
  })
  const exact = guesses.filter((guess) => zone.toLocal(guess) === local)
  return exact.length === 0 ? undefined : Math.min(...exact)
}
