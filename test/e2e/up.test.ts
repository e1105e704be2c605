/** One command brings up a working ambient mesh with real traffic: as root and as an unprivileged user. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { cannotRun, descendants, eventually, httpStatus, Mesh, weft } from './mesh.ts'

const skip = cannotRun()

for (const user of ['root', 'nobody'] as const) {
  describe(`weft up as ${user}`, { skip }, () => {
    let mesh: Mesh
    before(async () => {
      mesh = await Mesh.up({ user })
    })
    after(async () => {
      await mesh?.stop()
    })

    test('[A0.21] [A1.38] the product page answers with details and all three versions of reviews', async () => {
      const seen = new Set<string>()
      const url = `http://127.0.0.1:${mesh.ingressPort}/productpage`
      await eventually(async () => {
        const { status, body } = await httpStatus(url)
        assert.equal(status, 200)
        assert.match(body, /<title>Simple Bookstore App<\/title>/)
        assert.match(body, /ISBN-10/)
        assert.doesNotMatch(body, /Error fetching/)
        const version = body.includes('color="red"')
          ? 'v3'
          : body.includes('color="black"')
            ? 'v2'
            : 'v1'
        seen.add(version)
        assert.deepEqual([...seen].toSorted(), ['v1', 'v2', 'v3'])
      }, 20_000)
    })

    test('[A0.18] [A2.24] kubectl shows the parts of the mesh running in istio-system', async () => {
      const table = await mesh.kubectlOk('get', 'pods', '-A')
      assert.match(table, /^NAMESPACE\s+NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE/)
      for (const part of ['istiod', 'ztunnel', 'istio-cni-node']) {
        assert.match(table, new RegExp(`istio-system\\s+${part}-\\S+\\s+1/1\\s+Running`))
      }
      assert.match(table, /bookinfo\s+productpage-v1-\S+\s+1\/1\s+Running/)
    })

    test('rollout status, wait, logs, exec and port-forward work on the sample', async () => {
      const rollout = await mesh.kubectlOk(
        '-n',
        'bookinfo',
        'rollout',
        'status',
        'deployment/productpage-v1',
      )
      assert.match(rollout, /successfully rolled out/)
      const wait = ['wait', '--for=condition=available', 'deployment', '--all', '--timeout=30s']
      await mesh.kubectlOk('-n', 'bookinfo', ...wait)
      const log = await mesh.kubectlOk('-n', 'bookinfo', 'logs', 'deploy/details-v1')
      assert.match(log, /Details listens on 9080/)
      const name = await mesh.kubectlOk(
        '-n',
        'bookinfo',
        'exec',
        'deploy/details-v1',
        '--',
        'hostname',
      )
      assert.match(name, /^details-v1-/)
      const failing = await mesh.kubectl(
        '-n',
        'bookinfo',
        'exec',
        'deploy/details-v1',
        '--',
        'sh',
        '-c',
        'exit 3',
      )
      assert.equal(failing.code, 3)
      const child = mesh.spawnKubectl(
        '-n',
        'bookinfo',
        'port-forward',
        'deploy/details-v1',
        ':9080',
      )
      const port = await new Promise<string>((done) => {
        let text = ''
        child.stdout?.on('data', (chunk) => {
          text += String(chunk)
          const match = /127\.0\.0\.1:(\d+)/.exec(text)
          if (match?.[1] !== undefined) done(match[1])
        })
      })
      const { status, body } = await httpStatus(`http://127.0.0.1:${port}/details/0`)
      assert.equal(status, 200)
      assert.match(body, /"author":"William Shakespeare"/)
      child.kill()
    })

    test('a second up changes nothing and says that the mesh runs', async () => {
      const pid = mesh.brokerPid
      const again = await mesh.weft(mesh.upArguments())
      assert.equal(again.code, 0, again.stderr)
      assert.equal(mesh.brokerPid, pid)
      const status = await mesh.weft(['status', '--name', mesh.name, '-o', 'json'])
      assert.equal(status.code, 0, status.stderr)
      assert.equal((JSON.parse(status.stdout) as { state: string }).state, 'running')
    })

    test('the kubeconfig and the state are private', () => {
      assert.equal(statSync(mesh.kubeconfig).mode & 0o777, 0o600)
      assert.equal(statSync(join(mesh.stateHome, 'weft', mesh.name)).mode & 0o777, 0o700)
    })

    test('down leaves no process, keeps the objects, and up brings them back', async () => {
      const pids = mesh.processes().map((entry) => entry.pid)
      await mesh.apply(
        '{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: default}, data: {a: b}}',
      )
      const down = await mesh.weft(['down', '--name', mesh.name])
      assert.equal(down.code, 0, down.stderr)
      for (const pid of pids)
        assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is still there`)
      assert.ok(!existsSync(join(mesh.stateHome, 'weft', mesh.name, 'control.sock')))
      const status = await mesh.weft(['status', '--name', mesh.name])
      assert.equal(status.code, 3)
      const up = await mesh.weft(mesh.upArguments())
      assert.equal(up.code, 0, up.stderr + mesh.logs())
      assert.equal(await mesh.kubectlOk('get', 'cm', 'kept', '-o', 'jsonpath={.data.a}'), 'b')
      await eventually(async () => {
        const { status } = await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)
        assert.equal(status, 200)
      })
    })
  })
}

test('the launcher works through a symlink and from another directory', { skip }, async () => {
  const mesh = await Mesh.prepare()
  const folder = mkdtempSync(join(tmpdir(), 'weft-link-'))
  try {
    symlinkSync(weft, join(folder, 'weft-link'))
    const ran = await mesh.run(join(folder, 'weft-link'), ['version', '-o', 'json'])
    assert.equal(ran.code, 0, ran.stderr)
    const { version } = JSON.parse(readFileSync(join(weft, '../package.json'), 'utf8')) as {
      version: string
    }
    const answer = JSON.parse(ran.stdout) as { clientVersion: { version: string } }
    assert.equal(answer.clientVersion.version, version)
  } finally {
    rmSync(folder, { recursive: true })
    await mesh.stop()
  }
})

test('Ctrl-C in the middle of up leaves nothing', { skip }, async () => {
  const mesh = await Mesh.prepare()
  const child = mesh.spawn(weft, mesh.upArguments())
  const ended = new Promise<number | null>((done) => child.once('exit', done))
  // In the middle: the broker is there, the pods are not yet ready.
  await eventually(() => assert.ok(mesh.brokerPid > 0), 20_000, 20)
  await new Promise((done) => setTimeout(done, 700))
  const pids = descendants(mesh.brokerPid).map((entry) => entry.pid)
  child.kill('SIGINT')
  assert.equal(await ended, 130)
  await eventually(() => {
    for (const pid of pids) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is still there`)
  }, 10_000)
  await mesh.stop()
})
