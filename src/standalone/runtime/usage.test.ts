import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { FakeClock } from '../../base/index.ts'
import { UsageSampler } from './usage.ts'

let proc: string

before(() => {
  proc = mkdtempSync(join(tmpdir(), 'weft-proc-'))
})
after(() => rmSync(proc, { recursive: true, force: true }))

interface Numbers {
  readonly namespace: string
  readonly ticks: readonly [own: number, system: number, children: number]
  readonly anonKb: number
  readonly startedAt?: number
}

/** What a kernel shows of a process; the name is chosen to mislead. */
function put(pid: number, { namespace, ticks, anonKb, startedAt = 7 }: Numbers): void {
  const folder = join(proc, String(pid))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'ns'), { recursive: true })
  symlinkSync(`pid:[${namespace}]`, join(folder, 'ns', 'pid'))
  const [own, system, children] = ticks
  const rest = ['S', 1, 1, 1, 0, -1, 4194304, 9, 9, 9, 9, own, system, children, 0, 20, 0, 1, 0]
  writeFileSync(join(folder, 'stat'), `${pid} (a) S 1 (b) ${rest.join(' ')} ${startedAt} 99 99\n`)
  const status = `Name:\ta\nVmRSS:\t  99999 kB\nRssAnon:\t    ${anonKb} kB\nRssFile:\t 50000 kB\nRssShmem:\t     1 kB\n`
  writeFileSync(join(folder, 'status'), status)
}

test('processes count for the container whose namespace they are in, over the time since the last look', async () => {
  const clock = new FakeClock()
  put(1, { namespace: 'host', ticks: [0, 0, 0], anonKb: 9 })
  put(20, { namespace: 'a', ticks: [100, 50, 0], anonKb: 99 })
  put(21, { namespace: 'a', ticks: [0, 0, 0], anonKb: 9 })
  put(30, { namespace: 'b', ticks: [500, 0, 0], anonKb: 199 })
  const containers = [
    { podUid: 'pod', container: 'one', pid: 20 },
    { podUid: 'pod', container: 'two', pid: 30 },
    { podUid: 'gone', container: 'x', pid: 99 },
  ]
  const sampler = new UsageSampler({
    clock,
    nodeName: 'node',
    containers: () => containers,
    procFolder: proc,
  })
  const first = sampler.usage()
  // The first answer takes a second: that of the window.
  await new Promise((done) => setTimeout(done, 20))
  put(20, { namespace: 'a', ticks: [120, 60, 0], anonKb: 99 })
  clock.advance(1_000)
  const report = await first
  assert.equal(report.windowMs, 1_000)
  assert.deepEqual(
    [...(report.pods.get('pod') ?? [])],
    [
      ['one', { cpuNanoCores: 300_000_000, memoryBytes: 110 * 1024 }],
      ['two', { cpuNanoCores: 0, memoryBytes: 200 * 1024 }],
    ],
  )
  assert.equal(report.pods.has('gone'), false)
  assert.deepEqual(report.nodes.get('node'), {
    cpuNanoCores: 300_000_000,
    memoryBytes: 320 * 1024,
  })
  // A process that ended has left its time with its parent.
  rmSync(join(proc, '21'), { recursive: true })
  put(20, { namespace: 'a', ticks: [120, 60, 1000], anonKb: 99 })
  clock.advance(20_000)
  const second = await sampler.usage()
  assert.equal(second.windowMs, 20_000)
  assert.equal(second.pods.get('pod')?.get('one')?.cpuNanoCores, 500_000_000)
})

test('a container that was started again begins anew, and old looks are forgotten', async () => {
  const clock = new FakeClock()
  put(40, { namespace: 'c', ticks: [1000, 0, 0], anonKb: 1 })
  let pid = 40
  const sampler = new UsageSampler({
    clock,
    nodeName: 'node',
    containers: () => [{ podUid: 'again', container: 'c', pid }],
    procFolder: proc,
  })
  const first = sampler.usage()
  await new Promise((done) => setTimeout(done, 20))
  clock.advance(1_000)
  await first
  clock.advance(9_000)
  pid = 41
  put(41, { namespace: 'd', ticks: [10, 0, 0], anonKb: 1, startedAt: 8 })
  const second = await sampler.usage()
  assert.equal(
    second.pods.get('again')?.get('c')?.cpuNanoCores,
    100_000_000 / (second.windowMs / 1000),
  )
  clock.advance(120_000)
  const third = sampler.usage()
  await new Promise((done) => setTimeout(done, 20))
  clock.advance(1_000)
  assert.equal((await third).windowMs, 1_000)
})
