/** `weft up --foreground`: for supervisors and containers; the mesh lives as long as the command. */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { cannotRun, descendants, eventually, Mesh, weft } from './mesh.ts'

describe('weft up --foreground', { skip: cannotRun() }, () => {
  let mesh: Mesh
  let said = ''
  const start = async (): Promise<ChildProcess> => {
    said = ''
    const child = mesh.spawn(weft, [...mesh.upArguments(), '--foreground'])
    child.stdout?.on('data', (chunk) => (said += String(chunk)))
    child.stderr?.on('data', (chunk) => (said += String(chunk)))
    await eventually(() => assert.match(said, /is up/), 30_000)
    return child
  }

  before(async () => {
    mesh = await Mesh.prepare({ sample: 'none' })
  })
  after(async () => {
    await mesh?.stop()
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} stops the mesh in order, and nothing of it is left`, async () => {
      const child = await start()
      const pids = descendants(mesh.brokerPid).map(({ pid }) => pid)
      assert.ok(pids.length > 3)
      child.kill(signal)
      const code = await new Promise((done) => child.once('exit', done))
      assert.equal(code, 0, said)
      for (const pid of pids) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left`)
    })
  }

  test('kill -9 of the command takes the mesh along', async () => {
    const child = await start()
    const pids = descendants(mesh.brokerPid).map(({ pid }) => pid)
    // The launcher replaces itself, so that this is the command.
    child.kill('SIGKILL')
    await eventually(() => {
      for (const pid of pids) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left`)
    })
  })

  test('a down from elsewhere ends the command, and a mesh in the background is not held', async () => {
    const child = await start()
    const ended = new Promise((done) => child.once('exit', done))
    assert.equal((await mesh.weft(['down', '--name', mesh.name])).code, 0)
    assert.equal(await ended, 0, said)
    assert.equal((await mesh.weft(mesh.upArguments())).code, 0)
    const again = await mesh.weft([...mesh.upArguments(), '--foreground'])
    assert.equal(again.code, 1)
    assert.match(again.stderr, /runs in the background.*\nStop it first: weft down --name/)
  })
})
