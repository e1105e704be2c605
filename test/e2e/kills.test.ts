/** Parts die by SIGKILL, one after the other and all at once; nothing leaks, nothing is lost. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Capture, inNetns, pidInPod, pods, rawConnection } from './kit.ts'
import { cannotRun, eventually, httpStatus, Mesh, root } from './mesh.ts'

const controlPlane = 'src/controlplane/main.ts'

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

  test('[A1.3] without the control plane connections and policies work; back again, it brings what changed', async () => {
    const allowNothing = (app: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing-${app}, namespace: bookinfo}
spec: {selector: {matchLabels: {app: ${app}}}}
`
    const ratings = () =>
      mesh.exec('bookinfo', 'deploy/sleep', 'curl -sS -m 5 http://ratings:9080/ratings/0')
    await mesh.apply(allowNothing('ratings'))
    await eventually(async () => assert.notEqual((await ratings()).code, 0))
    const raw = rawConnection('details', 9080)
    const into = ['exec', '-i', '-n', 'bookinfo', 'deploy/sleep', '--']
    const held = mesh.spawnKubectl(...into, ...raw)
    let received = ''
    held.stdout?.on('data', (chunk) => (received += String(chunk)))
    const ask = 'GET /details/0 HTTP/1.1\r\nhost: details\r\n\r\n'
    held.stdin?.write(ask)
    await eventually(() => assert.equal(received.split('200 OK').length, 2), 5_000)

    process.kill(mesh.processOf(controlPlane), 'SIGKILL')
    // It is started again at once; without a replica it stays away.
    await mesh.kubectlOk('scale', '-n', 'istio-system', 'deploy/istiod', '--replicas=0')
    await eventually(() => assert.throws(() => mesh.processOf(controlPlane), /no process runs/))
    assert.equal((await call()).stdout, '200')
    assert.notEqual((await ratings()).code, 0, 'the policy is forgotten')
    held.stdin?.write(ask)
    await eventually(() => assert.equal(received.split('200 OK').length, 3), 3_000)
    held.kill()
    // Only deletions pass: new objects are validated by the control plane, as in Istio.
    await mesh.kubectlOk('delete', 'authorizationpolicy', '-n', 'bookinfo', 'nothing-ratings')
    await sleep(500)
    assert.notEqual((await ratings()).code, 0)
    assert.equal((await call()).stdout, '200')

    await mesh.kubectlOk('scale', '-n', 'istio-system', 'deploy/istiod', '--replicas=1')
    await eventually(async () => assert.equal((await ratings()).code, 0), 30_000)
    assert.equal((await call()).stdout, '200')
  })

  test('without the node proxy no plaintext leaves enrolled pods; traffic resumes after it is back', async () => {
    const [client] = await pods(mesh, 'bookinfo', 'app=sleep')
    assert.ok(client)
    const capture = await new Capture(pidInPod(mesh, client.ip), 'tcp and not port 53').ready()
    const results: number[] = []
    let away = true
    const traffic = (async () => {
      while (away) results.push((await call()).code)
    })()
    // Killed again whenever it comes back, for a while.
    const until = Date.now() + 3_000
    let kills = 0
    while (Date.now() < until) {
      try {
        process.kill(mesh.processOf('src/nodeproxy/main.ts'), 'SIGKILL')
        kills++
      } catch {
        // It is not back yet.
      }
      await sleep(20)
    }
    away = false
    await traffic
    assert.ok(kills > 0)
    await eventually(async () => assert.equal((await call()).stdout, '200'), 40_000)
    const text = await capture.stop()
    assert.doesNotMatch(text, /GET \/productpage/, 'plaintext left an enrolled pod')
    assert.doesNotMatch(text, /\.9080: Flags \[S\]/, 'a connection went around the proxy')
    assert.ok(results.length > 0)
    assert.deepEqual(
      results.slice(1).filter((code) => code === 0),
      [],
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
    signalAll(all, 'SIGKILL')
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
})

describe('reboot and suspend', { skip: cannotRun() }, () => {
  let mesh: Mesh
  const lifeSeconds = 8
  const call = () =>
    mesh.exec(
      'bookinfo',
      'deploy/sleep',
      'curl -sS -m 3 -o /dev/null -w "%{http_code}" http://productpage:9080/productpage',
    )
  const ingressAnswers = async (): Promise<void> => {
    const { status } = await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)
    assert.equal(status, 200)
  }

  before(async () => {
    mesh = await Mesh.up({ environment: { WEFT_TEST_CERTIFICATE_SECONDS: String(lifeSeconds) } })
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

  test('certificates are renewed all the time, and no request fails meanwhile', async () => {
    const first = certificatesOf(mesh, await productpageIp(mesh))
    for (const end of Object.values(first)) {
      assert.ok(end - Date.now() < lifeSeconds * 1_000 + 1_000, 'a certificate lives longer')
    }
    const failed: string[] = []
    const until = Date.now() + (lifeSeconds + 2) * 1_000
    while (Date.now() < until) {
      const ran = await call()
      if (ran.stdout !== '200') failed.push(ran.stdout + ran.stderr)
    }
    assert.deepEqual(failed, [])
    const later = certificatesOf(mesh, await productpageIp(mesh))
    for (const [what, end] of Object.entries(later)) {
      assert.ok(end > Date.now(), `the certificate of ${what} has expired`)
      assert.ok(end > (first[what] ?? 0), `the certificate of ${what} was not renewed`)
    }
  })

  test('suspended for longer than certificates live, it answers again within seconds', async () => {
    const ip = await productpageIp(mesh)
    const before = certificatesOf(mesh, ip)
    const all = mesh.processes().map((entry) => entry.pid)
    signalAll(all, 'SIGSTOP')
    await sleep((lifeSeconds + 2) * 1_000)
    for (const end of Object.values(before)) assert.ok(end < Date.now(), 'not yet expired')
    signalAll(all, 'SIGCONT')
    const resumedMs = performance.now()
    await eventually(async () => {
      assert.equal((await call()).stdout, '200')
      await ingressAnswers()
    }, 10_000)
    const tookMs = performance.now() - resumedMs
    assert.ok(tookMs < 5_000, `it took ${tookMs.toFixed(0)} ms`)
    await eventually(() => {
      for (const [what, end] of Object.entries(certificatesOf(mesh, ip))) {
        assert.ok(end > Date.now(), `the certificate of ${what} is still the expired one`)
      }
    }, 6_000)
    assert.equal(new Set(mesh.processes().map(({ pid }) => pid)).has(all[0] ?? 0), true)
  })

  test('after a reboot with everything expired, up recovers with fresh certificates', async () => {
    const ip = await productpageIp(mesh)
    const before = certificatesOf(mesh, ip)
    const root = await rootOf(mesh)
    signalAll(
      mesh.processes().map((entry) => entry.pid),
      'SIGKILL',
    )
    await sleep((lifeSeconds + 1) * 1_000)
    for (const end of Object.values(before)) assert.ok(end < Date.now(), 'not yet expired')
    const up = await mesh.weft(mesh.upArguments())
    assert.equal(up.code, 0, up.stderr + mesh.logs())
    await eventually(async () => {
      assert.equal((await call()).stdout, '200')
      await ingressAnswers()
    }, 30_000)
    // The pod has its address again, and the mesh its root: who pinned it still trusts it.
    await eventually(() => {
      for (const [what, end] of Object.entries(certificatesOf(mesh, ip))) {
        assert.ok(end > Date.now(), `the certificate of ${what} is still the expired one`)
      }
    }, 6_000)
    assert.equal(await rootOf(mesh), root)
  })
})

async function productpageIp(mesh: Mesh): Promise<string> {
  const [pod] = await pods(mesh, 'bookinfo', 'app=productpage')
  assert.ok(pod)
  return pod.ip
}

function rootOf(mesh: Mesh): Promise<string> {
  return mesh.kubectlOk(
    'get',
    'cm',
    '-n',
    'bookinfo',
    'istio-ca-root-cert',
    '-o',
    'jsonpath={.data}',
  )
}

/** When what the mesh issued ends: on the wire where it is served, in the file where it is read. */
function certificatesOf(mesh: Mesh, podIp: string): Record<string, number> {
  const served = (address: string, ...flags: string[]): string => {
    const line = `echo | timeout 5 openssl s_client -connect ${address} ${flags.join(' ')} 2>/dev/null`
    const [program, args] = inNetns(mesh.processOf('standalone/init/main.ts'), ['sh', '-c', line])
    // Without a certificate of its own the client is refused at the end, after it has seen ours.
    return spawnSync(program, args).stdout.toString()
  }
  const kubeconfig = readFileSync(mesh.kubeconfig, 'utf8')
  const admin = /client-certificate-data: (\S+)/.exec(kubeconfig)?.[1] ?? ''
  const ends = (text: string): number => {
    const pem = /-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----/.exec(text)?.[0]
    assert.ok(pem, text)
    return Date.parse(new X509Certificate(pem).validTo)
  }
  return {
    'a workload': ends(served(`${podIp}:15008`, '-alpn', 'h2', '-tls1_3')),
    istiod: ends(served('10.244.0.1:15012', '-alpn', 'h2')),
    'the registry': ends(served(`10.244.0.1:6443`)),
    'the administrator': ends(Buffer.from(admin, 'base64').toString()),
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // Died with its parent.
    }
  }
}
