import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseGoDuration } from './duration.ts'

test('durations are read as Go writes them', () => {
  const cases: [string, number][] = [
    ['24h', 86_400_000],
    ['1h30m', 5_400_000],
    ['500ms', 500],
    ['1.5s', 1500],
  ]
  for (const [text, expected] of cases) assert.equal(parseGoDuration(text), expected, text)
})

test('what is no duration above zero is refused', () => {
  for (const text of ['', '24', '0s', '-1h', '1h x', 'h', '1d']) {
    assert.equal(parseGoDuration(text), undefined, text)
  }
})
