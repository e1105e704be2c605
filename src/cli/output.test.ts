import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../base/index.ts'
import { formatAge, formatError, formatStructured, formatTable, ProgressPrinter } from './output.ts'

function terminal(interactive: boolean) {
  const screen = { text: '', nowMs: 0 }
  return {
    screen,
    terminal: {
      out: () => {},
      err: (text: string | Uint8Array) => (screen.text += String(text)),
      interactive,
      monotonic: () => screen.nowMs,
      columns: () => 60,
    },
  }
}

test('columns are as wide as their widest cell, and no line ends in blanks', () => {
  const table = formatTable(
    ['NAME', 'READY'],
    [
      ['a', '1/1'],
      ['longer', ''],
    ],
  )
  assert.equal(table, 'NAME     READY\na        1/1\nlonger\n')
  const cell = fc.stringMatching(/^[a-z]{0,12}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell)), (rows) => {
      const lines = formatTable(['AAA', 'BBB'], rows).split('\n')
      assert.equal(lines.length, rows.length + 2)
      const column = lines[0]?.indexOf('BBB') ?? 0
      for (const [index, [, second]] of rows.entries())
        assert.equal(lines[index + 1]?.slice(column), second)
    }),
  )
})

test('ages have the form and the precision of kubectl', () => {
  const minute = 60_000
  const cases: [number, string][] = [
    [-5, '0s'],
    [119_999, '119s'],
    [2 * minute, '2m'],
    [2 * minute + 5_000, '2m5s'],
    [90 * minute, '90m'],
    [200 * minute, '3h20m'],
    [47 * 60 * minute, '47h'],
    [49 * 60 * minute, '2d1h'],
    [9 * 24 * 60 * minute + minute, '9d'],
  ]
  for (const [ms, text] of cases) assert.equal(formatAge(ms), text)
})

test('results are printed as JSON or YAML', () => {
  assert.equal(formatStructured({ a: [1] }, 'json'), '{\n  "a": [\n    1\n  ]\n}\n')
  assert.equal(formatStructured({ a: [1] }, 'yaml'), 'a:\n  - 1\n')
})

test('an error is its sentence and, on the next line, what to do', () => {
  assert.equal(
    formatError(new MeshError('X', 'it broke', { hint: 'mend it' })),
    'weft: it broke\nmend it\n',
  )
  assert.equal(formatError('odd'), 'weft: odd\n')
})

test('without a terminal a step is one line, and notes are printed only when new and not too often', () => {
  const { screen, terminal: to } = terminal(false)
  const progress = new ProgressPrinter(to)
  progress.begin('mesh')
  progress.note('waiting for: a, b')
  screen.nowMs = 1_000
  progress.note('waiting for: b')
  screen.nowMs = 9_000
  progress.note('waiting for: a, b')
  progress.note('waiting for: c')
  screen.nowMs = 10_000
  progress.done('mesh')
  assert.equal(
    screen.text,
    '        waiting for: a, b\n        waiting for: c\n  ok    mesh (10.0 s)\n',
  )
  assert.equal(progress.end(), 10_000)
})

test('on a terminal the running line is rewritten with what it waits for, and never wraps', () => {
  const { screen, terminal: to } = terminal(true)
  const progress = new ProgressPrinter(to)
  progress.begin('mesh')
  progress.note(`waiting for ${'x'.repeat(200)}`)
  assert.equal(screen.text.includes('\n'), false)
  for (const line of screen.text.split('\r\x1b[2K')) assert.ok(line.length < 60, line)
  assert.match(screen.text, /waiting for xxx/)
  progress.fail('mesh')
  progress.end()
  assert.ok(screen.text.endsWith('\r\x1b[2K  FAIL  mesh\n'))
})
