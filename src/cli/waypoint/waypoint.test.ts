/** `weft waypoint` without a mesh; with one it is in test/e2e/waypoint.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'yaml'
import { FakeClock } from '../../base/index.ts'
import type { CommandContext } from '../context.ts'
import { main } from '../index.ts'
import { istioTable } from './gateway.ts'

async function call(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const seen = { code: 0, out: '', err: '' }
  const context: CommandContext = {
    terminal: {
      out: (text) => (seen.out += String(text)),
      err: (text) => (seen.err += String(text)),
      interactive: false,
      monotonic: () => 0,
    },
    environment: { XDG_STATE_HOME: '/nowhere', HOME: '/nowhere' },
    clock: new FakeClock(),
    platform: 'linux',
    root: process.cwd(),
    version: '9.8.7',
    setExitCode: (code) => (seen.code = code),
  }
  await main(['waypoint', ...args], context)
  return seen
}

test('[E30] generate prints a waypoint with what was asked for, and needs no mesh', async () => {
  const plain = await call('generate')
  assert.equal(plain.code, 0, plain.err)
  assert.deepEqual(parse(plain.out), {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'waypoint' },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  })
  const flags = ['-n', 'shop', '--name', 'own', '--for', 'workload', '-r', 'canary']
  const { metadata } = parse((await call('generate', ...flags)).out) as { metadata: unknown }
  assert.deepEqual(metadata, {
    labels: { 'istio.io/waypoint-for': 'workload', 'istio.io/rev': 'canary' },
    name: 'own',
    namespace: 'shop',
  })
})

test('a wrong command line is a usage error', async () => {
  const cases: [string[], RegExp][] = [
    [['generate', '--for', 'most'], /Allowed choices are all, none, service, workload/],
    [['generate', '--name', 'none'], /can't be named none/],
    [['apply', '--wait', '--waypoint-timeout', 'long'], /write it like 90s/],
    [['status', '--wait=maybe'], /true or false/],
  ]
  for (const [args, wanted] of cases) {
    const { code, err } = await call(...args)
    assert.equal(code, 2, args.join(' '))
    assert.match(err, wanted)
  }
})

test('columns stand five blanks apart, and the last is not padded', () => {
  const rows = [
    ['NAME', 'X'],
    ['waypoint', 'yes'],
  ]
  assert.equal(istioTable(rows), 'NAME         X\nwaypoint     yes\n')
})
