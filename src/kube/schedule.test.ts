import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseSchedule } from './schedule.ts'

function times(text: string, from: string, count: number, zone?: string): string[] {
  const schedule = parseSchedule(text, zone)
  const found: string[] = []
  let at = Date.parse(from)
  for (let index = 0; index < count; index++) {
    at = schedule.next(at) ?? Number.NaN
    found.push(new Date(at).toISOString().slice(0, 19))
  }
  return found
}

test('a schedule names minutes, hours, days and months by ranges, lists, steps and names', () => {
  const cases: [string, string, string[]][] = [
    ['*/20 * * * *', '2026-01-01T10:05:30Z', ['2026-01-01T10:20:00', '2026-01-01T10:40:00']],
    ['5,10-12 3 * * *', '2026-01-01T03:10:00Z', ['2026-01-01T03:11:00', '2026-01-01T03:12:00']],
    [
      '0 9-17/4 * * MON-FRI',
      '2026-01-02T14:00:00Z',
      ['2026-01-02T17:00:00', '2026-01-05T09:00:00'],
    ],
    ['30 4 1 jan,JUL ?', '2026-01-01T04:30:00Z', ['2026-07-01T04:30:00', '2027-01-01T04:30:00']],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', ['2028-02-29T00:00:00', '2032-02-29T00:00:00']],
    // A day of the month and one of the week: either will do.
    ['0 0 13 * 5', '2026-02-07T00:00:00Z', ['2026-02-13T00:00:00', '2026-02-20T00:00:00']],
    ['7/20 * * * *', '2026-01-01T00:00:00Z', ['2026-01-01T00:07:00', '2026-01-01T00:27:00']],
    ['@hourly', '2026-01-01T00:00:00Z', ['2026-01-01T01:00:00', '2026-01-01T02:00:00']],
    ['@every 1h30m', '2026-01-01T00:00:10Z', ['2026-01-01T01:30:10', '2026-01-01T03:00:10']],
  ]
  for (const [text, from, expected] of cases) {
    assert.deepEqual(times(text, from, expected.length), expected, text)
  }
})

test('times of day are those of the zone; a skipped hour is skipped, a double one counts once', () => {
  const zone = 'Europe/Berlin'
  assert.deepEqual(times('0 9 * * *', '2026-03-28T00:00:00Z', 2, zone), [
    '2026-03-28T08:00:00',
    '2026-03-29T07:00:00',
  ])
  assert.deepEqual(times('30 2 * * *', '2026-03-28T12:00:00Z', 1, zone), ['2026-03-30T00:30:00'])
  assert.deepEqual(times('30 2 * * *', '2026-10-24T12:00:00Z', 2, zone), [
    '2026-10-25T00:30:00',
    '2026-10-26T01:30:00',
  ])
})

test('what is no schedule is refused with the part that is wrong', () => {
  for (const [text, why] of [
    ['* * * *', /expected exactly 5 fields, found 4/],
    ['60 * * * *', /minute: "60"/],
    ['* * * 13 *', /month: "13"/],
    ['5-2 * * * *', /minute: "5-2"/],
    ['*/0 * * * *', /minute: "\*\/0"/],
    ['* * * * funday', /day of week: "funday"/],
    ['@sometimes', /no such descriptor/],
    ['@every never', /duration "never"/],
    ['TZ=UTC * * * * *', /spec\.timeZone/],
  ] as const) {
    assert.throws(() => parseSchedule(text), why, text)
  }
  assert.throws(() => parseSchedule('* * * * *', 'Moon/Base'), /time zone "Moon\/Base"/)
  assert.equal(parseSchedule('0 0 31 2 *').next(0), undefined)
})

test('the next time lies after the given one, fits the fields, and none between fits', () => {
  const field = (max: number) => fc.integer({ min: 0, max })
  fc.assert(
    fc.property(field(59), field(23), fc.integer({ min: 0, max: 4e12 }), (minute, hour, from) => {
      const next = parseSchedule(`${minute} ${hour} * * *`).next(from)
      assert.ok(next !== undefined && next > from && next - from <= 86_400_000)
      const date = new Date(next)
      assert.deepEqual([date.getUTCMinutes(), date.getUTCHours()], [minute, hour])
    }),
  )
})
