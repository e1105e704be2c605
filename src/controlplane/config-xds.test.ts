import assert from 'node:assert/strict'
import test from 'node:test'
import { readXdsConfig } from './config-xds.ts'

test("without flags and variables the times and ports are Istio's, and the plaintext port is off", () => {
  const config = readXdsConfig({}, ['discovery'])
  assert.equal(config.plaintextPort, undefined)
  assert.equal(config.securePort, 15012)
  assert.deepEqual([config.debounceQuietMs, config.debounceMaxMs], [100, 10_000])
  assert.deepEqual([config.keepaliveIntervalMs, config.keepaliveTimeoutMs], [30_000, 10_000])
  assert.equal(config.connectionAgeMs, 1_800_000)
  assert.deepEqual([config.connectionsPerSecond, config.pushesMax], [undefined, undefined])
  assert.equal(config.unsafeAdmin, false)
})

test('flags and variables with the names of Istio change them', () => {
  const config = readXdsConfig(
    {
      PILOT_DEBOUNCE_AFTER: '250ms',
      PILOT_DEBOUNCE_MAX: '1m',
      PILOT_MAX_REQUESTS_PER_SECOND: '25',
      PILOT_PUSH_THROTTLE: '0',
      XDS_PORT: '25012',
    },
    ['discovery', '--grpcAddr=:15010', '--keepaliveMaxServerConnectionAge', '10m'],
  )
  assert.equal(config.plaintextPort, 15010)
  assert.equal(config.securePort, 25012)
  assert.deepEqual([config.debounceQuietMs, config.debounceMaxMs], [250, 60_000])
  assert.deepEqual([config.connectionsPerSecond, config.pushesMax], [25, undefined])
  assert.equal(config.connectionAgeMs, 600_000)
  // As Istio turns it off.
  assert.equal(readXdsConfig({}, ['discovery', '--grpcAddr=']).plaintextPort, undefined)
})

test('what can not be meant is refused by its name', () => {
  const refuses = (environment: Record<string, string>, args: string[], pattern: RegExp): void => {
    assert.throws(() => readXdsConfig(environment, args), pattern)
  }
  refuses({ PILOT_DEBOUNCE_AFTER: 'soon' }, [], /PILOT_DEBOUNCE_AFTER="soon" is not a duration/)
  refuses({ PILOT_PUSH_THROTTLE: 'many' }, [], /PILOT_PUSH_THROTTLE="many"/)
  refuses({}, ['--grpcAddr=:high'], /grpcAddr=":high" is not a port/)
  refuses({}, ['--turbo'], /turbo/)
})
