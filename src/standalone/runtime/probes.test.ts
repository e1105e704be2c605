import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../base/index.ts'
import { type ProbeKind, runProbe } from './probes.ts'
import type { Probe } from './types.ts'

/** Plays results at a probe, one per try (the last goes on), and notes what happened when. */
async function play(kind: ProbeKind, probe: Probe, results: boolean[], seconds: number) {
  const clock = new FakeClock(0)
  const abort = new AbortController()
  const log: string[] = []
  let index = 0
  const done = runProbe(
    {
      kind,
      probe,
      clock,
      check: async () => {
        const ok = results[Math.min(index++, results.length - 1)] ?? false
        return { ok, output: '' }
      },
      onVerdict: (ok) => log.push(`${clock.now() / 1000}s ${ok ? 'ok' : 'bad'}`),
      onFailure: () => log.push(`${clock.now() / 1000}s failure`),
    },
    abort.signal,
  ).catch(() => {})
  for (let step = 0; step < seconds * 20; step++) {
    await new Promise(setImmediate)
    clock.advance(50)
  }
  abort.abort(new Error('over'))
  await done
  return { log, tries: index }
}

test('a liveness probe fails after the threshold, one try a period', async () => {
  const { log } = await play(
    'liveness',
    { periodSeconds: 2, failureThreshold: 2 },
    [true, false],
    7,
  )
  assert.deepEqual(log, ['0s ok', '2s failure', '4s failure', '4s bad', '6s failure', '6s bad'])
})

test('a readiness probe is tried early until the first success, without counting', async () => {
  const results = [false, false, true]
  const { log } = await play('readiness', { periodSeconds: 10, failureThreshold: 1 }, results, 3)
  assert.deepEqual(log, ['0.2s ok'])
})

test('a program that never gets ready fails once a period', async () => {
  const { log } = await play('startup', { periodSeconds: 1, failureThreshold: 3 }, [false], 4.5)
  assert.deepEqual(log.filter((line) => line.endsWith('failure')).length, 4)
  assert.equal(
    log.find((line) => line.endsWith('bad')),
    '3s bad',
  )
})

test('success has a threshold too, and the initial delay is waited', async () => {
  const { log } = await play(
    'readiness',
    { initialDelaySeconds: 3, periodSeconds: 1, successThreshold: 2 },
    [true],
    5,
  )
  assert.deepEqual(log, ['4s ok'])
})
