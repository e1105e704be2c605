import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import test, { after } from 'node:test'
import { FakeClock, silentLogger } from '../../base/index.ts'
import { type ContainerOptions, ContainerRunner } from './container.ts'
import { ContainerConfigError, LaunchError } from './errors.ts'
import type { Exit, RunningContainer } from './launcher.ts'
import { ContainerLog } from './logs.ts'
import type { Container, ContainerStatus } from './types.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-container-'))
after(() => rmSync(folder, { recursive: true }))

class FakeProcess implements RunningContainer {
  readonly #exit = Promise.withResolvers<Exit>()
  readonly signals: string[] = []
  readonly stdin = undefined
  readonly stdout = Readable.from([])
  readonly stderr = undefined
  message = ''
  obeys = true

  get exit(): Promise<Exit> {
    return this.#exit.promise
  }

  end(code: number): void {
    this.#exit.resolve({ code, signal: undefined })
  }

  signal(name: string): void {
    this.signals.push(name)
    if (this.obeys) this.end(0)
  }

  kill(): void {
    this.signals.push('SIGKILL')
    this.end(137)
  }

  resize(): void {}

  exec(): Promise<never> {
    return Promise.reject(new Error('no exec here'))
  }

  async terminationMessage(): Promise<string> {
    return this.message
  }
}

function setUp(spec: Partial<Container> = {}, more: Partial<ContainerOptions> = {}) {
  const clock = new FakeClock()
  const processes: FakeProcess[] = []
  const events: string[] = []
  const runner = new ContainerRunner({
    spec: { name: 'main', image: 'x', ...spec },
    role: 'main',
    restartPolicy: 'Always',
    clock,
    logger: silentLogger,
    previous: undefined,
    waitingReason: 'ContainerCreating',
    resolveImage: (image) => ({ name: image, command: [] }),
    imageHint: () => 'map it',
    launch: async (_program, attempt) => {
      const process = new FakeProcess()
      processes.push(process)
      const log = new ContainerLog({ folder, attempt, clock, logger: silentLogger })
      await log.open()
      return { process, log }
    },
    actionTarget: (process) => ({
      container: { name: 'main' },
      podIp: '127.0.0.1',
      localAddress: undefined,
      process,
    }),
    graceSeconds: () => 30,
    event: (_type, reason, message) => events.push(`${reason}: ${message}`),
    changed: () => {},
    ...more,
  })
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  }
  /** Until so many have been started. */
  const started = async (count: number): Promise<FakeProcess> => {
    const there = (): boolean =>
      processes.length >= count && runner.status().state.running !== undefined
    for (let turn = 0; turn < 200 && !there(); turn++) await settle()
    return processes[count - 1] ?? assert.fail(`only ${processes.length} starts`)
  }
  const ended = async (): Promise<void> => {
    for (let turn = 0; turn < 200 && runner.status().state.running !== undefined; turn++)
      await settle()
    await settle()
  }
  return { clock, runner, processes, events, started, ended, settle }
}

test('a crashing container starts again at once, then after 10, 20 and 40 seconds', async () => {
  const { clock, runner, processes, started, ended, settle } = setUp()
  void runner.run()
  for (const [round, delaySeconds] of [0, 10, 20, 40].entries()) {
    ;(await started(round + 1)).end(1)
    await ended()
    if (delaySeconds === 0) continue
    assert.equal(runner.status().state.waiting?.reason, 'CrashLoopBackOff')
    assert.equal(runner.status().lastState.terminated?.exitCode, 1)
    clock.advance(delaySeconds * 1000 - 1)
    await settle()
    assert.equal(processes.length, round + 1)
    clock.advance(1)
  }
  await started(5)
  assert.equal(runner.status().restartCount, 4)
})

test('after ten good minutes the delays start over', async () => {
  const { clock, runner, started, ended, settle } = setUp()
  void runner.run()
  for (const count of [1, 2]) {
    ;(await started(count)).end(1)
    await ended()
  }
  clock.advance(10_000)
  const process = await started(3)
  clock.advance(600_000)
  process.end(1)
  await ended()
  await settle()
  await started(4)
})

test('the restart policy decides, and init containers end with success', async () => {
  for (const [restartPolicy, role, code, again] of [
    ['Never', 'main', 1, false],
    ['OnFailure', 'main', 0, false],
    ['OnFailure', 'main', 2, true],
    ['Always', 'main', 0, true],
    ['Always', 'init', 0, false],
    ['Always', 'init', 1, true],
    ['Always', 'sidecar', 0, true],
  ] as const) {
    const { runner, processes, started, ended, settle } = setUp({}, { restartPolicy, role })
    const run = runner.run()
    ;(await started(1)).end(code)
    await ended()
    await settle()
    const label = `${restartPolicy} ${role} ${code}`
    if (again) await started(2)
    else await run
    assert.equal(processes.length, again ? 2 : 1, label)
    if (!again) assert.equal(runner.exitCode, code, label)
  }
})

test('stopping sends TERM, and KILL when the time is over or made shorter', async () => {
  const { clock, runner, started, settle } = setUp()
  const run = runner.run()
  const process = await started(1)
  process.obeys = false
  const stopped = runner.stop(30_000)
  await settle()
  clock.advance(10_000)
  assert.deepEqual(process.signals, ['SIGTERM'])
  void runner.stop(1_000)
  await settle()
  clock.advance(1_000)
  await Promise.all([stopped, run])
  assert.deepEqual(process.signals, ['SIGTERM', 'SIGKILL'])
  assert.equal(runner.exitCode, 137)
})

test('a preStop sleep comes before TERM', async () => {
  const { clock, runner, started, settle } = setUp({
    lifecycle: { preStop: { sleep: { seconds: 5 } } },
  })
  void runner.run()
  const process = await started(1)
  void runner.stop(30_000)
  await settle()
  clock.advance(4_999)
  await settle()
  assert.deepEqual(process.signals, [])
  clock.advance(1)
  await settle()
  assert.deepEqual(process.signals, ['SIGTERM'])
})

test('an unknown image waits as ErrImagePull, then ImagePullBackOff, and is looked up again', async () => {
  let known = false
  const { clock, runner, started, settle, events } = setUp(
    {},
    { resolveImage: (image) => (known ? { name: image, command: [] } : undefined) },
  )
  void runner.run()
  await settle()
  assert.equal(runner.status().state.waiting?.reason, 'ErrImagePull')
  assert.match(events[0] ?? '', /Failed to pull image "x": map it/)
  clock.advance(1_000)
  await settle()
  assert.equal(runner.status().state.waiting?.reason, 'ImagePullBackOff')
  known = true
  clock.advance(1_000)
  await started(1)
  assert.equal(runner.status().restartCount, 0)
})

test('a config error waits with its reason; a command that is not there is a start error', async () => {
  let failure: Error = new ContainerConfigError(
    'CreateContainerConfigError',
    'configmap "x" not found',
  )
  const { clock, runner, settle } = setUp({}, { launch: () => Promise.reject(failure) })
  void runner.run()
  await settle()
  assert.deepEqual(runner.status().state.waiting, {
    reason: 'CreateContainerConfigError',
    message: 'configmap "x" not found',
  })
  failure = new LaunchError('exec: "nope": not found')
  clock.advance(1_000)
  await settle()
  await settle()
  const { lastState, state } = runner.status()
  assert.equal((state.terminated ?? lastState.terminated)?.reason, 'StartError')
})

test('a container that ran before the node went away counts one restart and says so', async () => {
  const previous: ContainerStatus = {
    name: 'main',
    state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
    lastState: {},
    ready: true,
    started: true,
    restartCount: 2,
    image: 'x',
    imageID: '',
    containerID: 'weft://old',
  }
  const { runner, started } = setUp({}, { previous })
  void runner.run()
  await started(1)
  assert.equal(runner.status().restartCount, 3)
  assert.equal(runner.status().lastState.terminated?.exitCode, 255)

  const never = setUp({}, { previous, restartPolicy: 'Never' })
  await never.runner.run()
  assert.equal(never.runner.exitCode, 255)
  assert.equal(never.processes.length, 0)
})
