import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { FakeClock, silentLogger } from '../../base/index.ts'
import { readLog } from './log-reader.ts'
import { ContainerLog } from './logs.ts'

function setUp(t: { after: (fn: () => void) => void }, fileBytesMax = 1_000_000) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-logs-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const clock = new FakeClock()
  const log = new ContainerLog({
    folder,
    attempt: 0,
    clock,
    logger: silentLogger,
    limits: { fileBytesMax, filesMax: 3 },
  })
  const read = (options: Partial<Parameters<typeof readLog>[1]> = {}, live?: ContainerLog) =>
    readLog({ folder, attempt: 0, live }, { follow: false, timestamps: false, ...options }, clock)
  return { folder, clock, log, read }
}

test('lines of both streams come back in order, with times when asked', async (t) => {
  const { clock, log, read } = setUp(t)
  await log.open()
  log.append('stdout', Buffer.from('one\ntw'))
  clock.advance(1500)
  log.append('stderr', Buffer.from('oops\n'))
  log.append('stdout', Buffer.from('o\nthree'))
  await log.close()
  assert.equal(await text(read()), 'one\noops\ntwo\nthree\n')
  assert.equal(
    await text(read({ timestamps: true, tailLines: 1 })),
    '2026-01-01T00:00:01.500000000Z three\n',
  )
  assert.equal(await text(read({ sinceSeconds: 1 })), 'oops\ntwo\nthree\n')
  assert.equal(await text(read({ sinceTime: '2026-01-01T00:00:01Z' })), 'oops\ntwo\nthree\n')
  assert.equal(await text(read({ tailLines: 2 })), 'two\nthree\n')
  assert.equal(await text(read({ tailLines: 0 })), '')
  assert.equal(await text(read({ limitBytes: 5 })), 'one\no')
})

test('a very long line is stored in parts and read back whole', async (t) => {
  const { log, read } = setUp(t)
  await log.open()
  const long = 'x'.repeat(40_000)
  log.append('stdout', Buffer.from(`${long}\nshort\n`))
  log.append('stdout', Buffer.from('y'.repeat(20_000)))
  log.append('stdout', Buffer.from('z\n'))
  await log.close()
  assert.equal(await text(read()), `${long}\nshort\n${'y'.repeat(20_000)}z\n`)
})

test('a full file is turned over, the oldest are dropped, and tail reaches back', async (t) => {
  const { folder, log, read } = setUp(t, 2_000)
  await log.open()
  for (let index = 0; index < 200; index++) {
    log.append('stdout', Buffer.from(`line ${index}\n`))
    if (index % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await log.close()
  assert.deepEqual(readdirSync(folder).toSorted(), ['0.log', '0.log.1', '0.log.2'])
  const lines = (await text(read({ tailLines: 50 }))).trim().split('\n')
  assert.deepEqual(
    lines,
    Array.from({ length: 50 }, (_, index) => `line ${150 + index}`),
  )
})

test('following ends when the container ends and loses nothing at a turnover', async (t) => {
  const { log, read } = setUp(t, 1_500)
  await log.open()
  log.append('stdout', Buffer.from('line 0\n'))
  const all = text(read({ follow: true }, log))
  for (let index = 1; index < 60; index++) {
    log.append('stdout', Buffer.from(`line ${index}\n`))
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
  await log.close()
  const expected = Array.from({ length: 60 }, (_, index) => `line ${index}\n`).join('')
  assert.equal(await all, expected)
})
