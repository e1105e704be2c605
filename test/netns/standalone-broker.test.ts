/** The broker's life: what it starts, what it survives, and what is left when something is killed. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { askBroker } from '../../src/standalone/broker/control.ts'
import type {
  BrokerConfig,
  BrokerToStarter,
  MeshStatus,
} from '../../src/standalone/broker/protocol.ts'
import { openStateDirectory } from '../../src/standalone/state/directory.ts'
import { type MeshPaths, meshPaths } from '../../src/standalone/state/paths.ts'
import { descendants, freePort } from '../e2e/mesh.ts'

const entry = fileURLToPath(new URL('standalone-broker-main.ts', import.meta.url))
const skip =
  process.platform === 'linux' && process.getuid?.() === 0 ? false : 'needs root on Linux'

interface Started {
  readonly child: ChildProcess
  readonly paths: MeshPaths
  readonly config: BrokerConfig
  /** `ready` or `failed`. */
  readonly outcome: Promise<BrokerToStarter>
}

async function start(t: TestContext, change: Partial<BrokerConfig> = {}): Promise<Started> {
  const stateHome = change.stateHome ?? mkdtempSync(join(tmpdir(), 'weft-broker-'))
  const config: BrokerConfig = {
    name: `broker-${process.pid}`,
    version: '0',
    stateHome,
    mode: 'rootless',
    registryPort: await freePort(),
    ingressPort: await freePort(),
    hostAccess: false,
    hostPathPrefixes: [],
    samples: [],
    catalogFile: undefined,
    toolFolders: [],
    foreground: false,
    ...change,
  }
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entry], {
    stdio: [
      'ignore',
      'ignore',
      process.env.WEFT_TEST_LOG === undefined ? 'ignore' : 'inherit',
      'ipc',
    ],
    detached: true,
  })
  t.after(async () => {
    const ended = child.exitCode !== null || child.signalCode !== null
    child.kill('SIGKILL')
    if (!ended) await once(child, 'exit')
    rmSync(stateHome, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  })
  child.send(config)
  const outcome = new Promise<BrokerToStarter>((resolve) => {
    child.on('message', (message) => {
      const value = message as BrokerToStarter
      if (value.type !== 'progress') resolve(value)
    })
  })
  return { child, config, paths: meshPaths(stateHome, config.name), outcome }
}

async function status(paths: MeshPaths): Promise<MeshStatus | undefined> {
  const answer = await askBroker(paths.controlSocket, { method: 'status' }, { timeoutMs: 2_000 })
  return answer?.result as MeshStatus | undefined
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 250; tries++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.fail(`not within 5 s: ${what}`)
}

function alive(pid: number): boolean {
  // A zombie has ended; its parent (the test's init) may be slow to take notice.
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
  } catch {
    return false
  }
}

function get(port: number): Promise<string> {
  return text(connect(port, '127.0.0.1')).catch((error: Error) => error.message)
}

function tree(child: ChildProcess): number[] {
  return descendants(child.pid ?? 0).map(({ pid }) => pid)
}

test('the registry port is served from inside the tree, and orphans there are reaped', {
  skip,
}, async (t) => {
  const { child, config, outcome } = await start(t)
  assert.equal((await outcome).type, 'ready')
  assert.equal(await get(config.registryPort), 'from inside')
  await new Promise((resolve) => setTimeout(resolve, 300))
  const zombies = tree(child).filter((pid) =>
    readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '),
  )
  assert.deepEqual(zombies, [])
})

test('down ends the whole tree and removes socket and record; a starter that leaves does not', {
  skip,
}, async (t) => {
  const { child, paths, outcome } = await start(t)
  await outcome
  child.disconnect()
  const processes = tree(child)
  assert.ok(processes.length >= 4, `${processes.length} processes`)
  assert.equal((await status(paths))?.state, 'running')
  await askBroker(paths.controlSocket, { method: 'down' }, { timeoutMs: 5_000 })
  await until('all processes ended', () => !processes.some(alive))
  assert.deepEqual(
    readdirSync(paths.root).filter((name) => /control|broker/.test(name)),
    [],
  )
})

test('when init dies it is started again on the same port, and status says so', {
  skip,
}, async (t) => {
  const { child, config, paths, outcome } = await start(t)
  await outcome
  const before = descendants(child.pid ?? 0)
  const init = before.find(
    ({ command }) =>
      command.split('\0')[0] === process.execPath && command.includes('standalone-broker-init'),
  )
  assert.ok(init)
  process.kill(init.pid, 'SIGKILL')
  await until('a second init', async () => {
    const now = await status(paths)
    return now?.state === 'running' && now.restarts === 1
  })
  assert.equal(await get(config.registryPort), 'from inside')
  assert.equal(
    before.slice(1).some(({ pid }) => alive(pid)),
    false,
  )
})

test('kill -9 of the broker ends everything in the tree, and the next start works', {
  skip,
}, async (t) => {
  const first = await start(t)
  await first.outcome
  const processes = tree(first.child)
  first.child.kill('SIGKILL')
  await until('all processes ended', () => !processes.some(alive))
  assert.ok(existsSync(first.paths.controlSocket))
  assert.equal(await status(first.paths), undefined)
  const second = await start(t, { ...first.config })
  assert.equal((await second.outcome).type, 'ready')
})

test('a starter that goes before the mesh is ready takes everything with it', {
  skip,
}, async (t) => {
  const { child, paths } = await start(t, { samples: ['slow'] })
  await until('init runs', () => existsSync(join(paths.root, 'init-pid')))
  const processes = tree(child)
  child.disconnect()
  await until('all processes ended', () => !processes.some(alive))
  assert.deepEqual(
    readdirSync(paths.root).filter((name) => /control|broker/.test(name)),
    [],
  )
})

test('an init that fails says why, and nothing stays', { skip }, async (t) => {
  const { child, outcome } = await start(t, { samples: ['broken'] })
  const ended = once(child, 'exit')
  const message = await outcome
  assert.match(message.type === 'failed' ? message.error.message : '', /this init can not start/)
  assert.deepEqual((await ended)[0], 1)
})

test('a second start of the same name is refused with the owner, and leaves the first alone', {
  skip,
}, async (t) => {
  const first = await start(t)
  await first.outcome
  for (const home of [first.config.stateHome, mkdtempSync(join(tmpdir(), 'weft-other-'))]) {
    const second = await start(t, { ...first.config, stateHome: home })
    const message = await second.outcome
    assert.ok(message.type === 'failed')
    assert.equal(message.error.code, 'BROKER_NAME_TAKEN')
    assert.match(message.error.message, new RegExp(`process ${first.child.pid} of user root`))
    if (second.child.exitCode === null) await once(second.child, 'exit')
    assert.equal((await status(first.paths))?.state, 'running')
  }
})

test('a port in use and a state directory of a newer version are refused with nothing left', {
  skip,
}, async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const taken = await (await start(t, { registryPort: port })).outcome
  assert.match(
    taken.type === 'failed' ? taken.error.message : '',
    new RegExp(`port ${port} is taken by .*process ${process.pid}`),
  )
  assert.match(taken.type === 'failed' ? (taken.error.hint ?? '') : '', /--registry-port/)
  const stateHome = mkdtempSync(join(tmpdir(), 'weft-newer-'))
  const paths = meshPaths(stateHome, `broker-${process.pid}`)
  openStateDirectory(paths)
  writeFileSync(paths.format, '99\n')
  const newer = await (await start(t, { stateHome })).outcome
  assert.equal(newer.type === 'failed' ? newer.error.code : '', 'STATE_NEWER')
})
