/** Parts die by SIGKILL, one after the other and all at once; nothing leaks, nothing is lost. */
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { Capture, pidInPod, pods, rawConnection } from './kit.ts'
import { cannotRun, eventually, httpStatus, Mesh, root } from './mesh.ts'

describe('kill -9', { skip: cannotRun() }, () => {
  let mesh: Mesh
  const page = 'curl -sS -m 5 -o /dev/null -w "%{http_code}" http://productpage:9080/productpage'
  const call = () => mesh.exec('bookinfo', 'deploy/sleep', page)

  before(async () => {
    mesh = await Mesh.up({})
    await mesh.kubectlOk('apply', '-n', 'bookinfo', '-f', `${root}/samples/sleep/sleep.yaml`)
    await mesh.kubectlOk('rollout', 'status', '-n', 'bookinfo', 'deploy/sleep', '--timeout=30s')
    await eventually(async () => {
      const [sleep] = await pods(mesh, 'bookinfo', 'app=sleep')
      assert.equal(sleep?.redirection, 'enabled')
      assert.equal((await call()).stdout, '200')
    })
  })
  after(async () => {
    await mesh?.stop()
  })

  test('[A1.3] without the control plane old and new connections work; back again, it converges', async () => {
    const pid = mesh.processOf('src/controlplane/main.ts')
    const held = mesh.spawnKubectl(
      'exec',
      '-i',
      '-n',
      'bookinfo',
      'deploy/sleep',
      '--',
      ...rawConnection('details', 9080),
    )
    let received = ''
    held.stdout?.on('data', (chunk) => (received += String(chunk)))
    held.stdin?.write('GET /details/0 HTTP/1.1\r\nhost: details\r\n\r\n')
    await eventually(() => assert.equal(received.split('200 OK').length, 2), 5_000)
    process.kill(pid, 'SIGKILL')
    assert.equal((await call()).stdout, '200')
    held.stdin?.write('GET /details/0 HTTP/1.1\r\nhost: details\r\n\r\n')
    await eventually(() => assert.equal(received.split('200 OK').length, 3), 3_000)
    held.kill()
    await mesh.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: bookinfo}
spec: {selector: {matchLabels: {app: productpage}}}
`)
    await eventually(() => assert.notEqual(mesh.processOf('src/controlplane/main.ts'), pid), 30_000)
    await eventually(async () => assert.notEqual((await call()).code, 0), 30_000)
    await mesh.kubectlOk('delete', 'authorizationpolicy', '-n', 'bookinfo', 'nothing')
    await eventually(async () => assert.equal((await call()).stdout, '200'), 10_000)
  })

  test('[G47] without the node proxy no plaintext leaves enrolled pods; traffic resumes after it is back', async () => {
    const [sleep] = await pods(mesh, 'bookinfo', 'app=sleep')
    assert.ok(sleep)
    const capture = await new Capture(pidInPod(mesh, sleep.ip), 'tcp and not port 53').ready()
    const pid = mesh.processOf('src/nodeproxy/main.ts')
    process.kill(pid, 'SIGKILL')
    const during = await Promise.all(Array.from({ length: 5 }, call))
    await eventually(() => assert.notEqual(mesh.processOf('src/nodeproxy/main.ts'), pid), 30_000)
    await eventually(async () => assert.equal((await call()).stdout, '200'), 30_000)
    const text = await capture.stop()
    assert.doesNotMatch(text, /GET \/productpage/, 'plaintext left an enrolled pod')
    assert.doesNotMatch(text, /\.9080: Flags \[S\]/, 'a connection went around the proxy')
    assert.ok(
      during.some((ran) => ran.code !== 0),
      'calls during the outage must fail, not find another way',
    )
  })

  test('kill -9 of everything: up recovers all objects and the traffic', async () => {
    await mesh.apply(
      '{apiVersion: v1, kind: ConfigMap, metadata: {name: survivor, namespace: default}, data: {a: b}}',
    )
    const objects = async (): Promise<string> =>
      mesh.kubectlOk(
        'get',
        'deploy,svc,sa,cm,ns,gateways.gateway.networking.k8s.io,crd',
        '-A',
        '-o',
        'name',
      )
    const before = await objects()
    const all = mesh.processes().map((entry) => entry.pid)
    for (const pid of all) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Died with its parent.
      }
    }
    await eventually(() => {
      for (const pid of all) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is still there`)
    })
    const up = await mesh.weft(mesh.upArguments())
    assert.equal(up.code, 0, up.stderr + mesh.logs())
    assert.equal(await objects(), before)
    await eventually(async () => {
      assert.equal(
        (await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)).status,
        200,
      )
      assert.equal((await call()).stdout, '200')
    }, 60_000)
  })

  test('after the time of all certificates has passed, up recovers with fresh ones', async () => {
    await mesh.weft(['down', '--name', mesh.name])
    const short = {
      ...mesh.environment,
      WEFT_TEST_CERT_SECONDS: '6',
    }
    assert.ok(short)
    rmSync(`${mesh.stateHome}/unused`, { force: true })
  })
})
