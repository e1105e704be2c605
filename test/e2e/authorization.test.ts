/** Policies that really deny: by identity, on new and on open connections, and plaintext under STRICT. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { pods, rawConnection } from './kit.ts'
import { cannotRun, eventually, httpStatus, Mesh, root } from './mesh.ts'

const onlyProductpage = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: bookinfo}
spec:
  selector: {matchLabels: {app: reviews}}
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/bookinfo/sa/bookinfo-productpage]
`

describe('authorization', { skip: cannotRun() }, () => {
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.up({})
    await mesh.kubectlOk('apply', '-n', 'bookinfo', '-f', `${root}/samples/sleep/sleep.yaml`)
    await mesh.apply('{apiVersion: v1, kind: Namespace, metadata: {name: outside}}')
    await mesh.kubectlOk('apply', '-n', 'outside', '-f', `${root}/samples/sleep/sleep.yaml`)
    for (const namespace of ['bookinfo', 'outside']) {
      await mesh.kubectlOk('rollout', 'status', '-n', namespace, 'deploy/sleep', '--timeout=30s')
    }
    await eventually(async () => {
      const [sleep] = await pods(mesh, 'bookinfo', 'app=sleep')
      assert.equal(sleep?.redirection, 'enabled')
    })
  })
  after(async () => {
    await mesh?.stop()
  })

  const call = (namespace: string) =>
    mesh.exec(
      namespace,
      'deploy/sleep',
      'curl -sS -m 5 -o /dev/null -w "%{http_code}" http://reviews.bookinfo:9080/reviews/0',
    )

  test('[B113] [B112] a policy for one principal stops the others within a second, on open connections too', async () => {
    assert.equal((await call('bookinfo')).stdout, '200')
    // An open connection, held by a program in the pod: bytes go through it before, none after.
    const raw = mesh.spawnKubectl(
      'exec',
      '-i',
      '-n',
      'bookinfo',
      'deploy/sleep',
      '--',
      ...rawConnection('reviews.bookinfo', 9080),
    )
    let received = ''
    raw.stdout?.on('data', (chunk) => (received += String(chunk)))
    const closed = new Promise<number>((done) => raw.once('exit', () => done(performance.now())))
    raw.stdin?.write('GET /reviews/0 HTTP/1.1\r\nhost: reviews\r\n\r\n')
    await eventually(() => assert.match(received, /200 OK/), 5_000)
    const appliedMs = performance.now()
    await mesh.apply(onlyProductpage)
    const cutMs = await Promise.race([
      closed,
      new Promise<number>((_, fail) =>
        setTimeout(() => fail(new Error('the open connection lives on')), 3_000),
      ),
    ])
    assert.ok(
      cutMs - appliedMs < 1_500,
      `the open connection was cut after ${(cutMs - appliedMs).toFixed(0)} ms`,
    )
    const denied = await call('bookinfo')
    assert.notEqual(denied.code, 0, `sleep still gets ${denied.stdout}`)
    const { status, body } = await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)
    assert.equal(status, 200)
    assert.doesNotMatch(body, /Error fetching product reviews/)
  })

  test('[A1.9] the access log and the metrics show both identities and the denial', async () => {
    const log = await mesh.kubectlOk('logs', '-n', 'istio-system', 'ds/ztunnel', '--tail=400')
    const denial = log
      .split('\n')
      .find(
        (line) =>
          /dst\.service="reviews/.test(line) &&
          /policy|denied|401/i.test(line) &&
          /sa\/sleep/.test(line),
      )
    assert.ok(denial, `no denial in the log:\n${log.split('\n').slice(-20).join('\n')}`)
    assert.match(denial, /src\.identity="spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/sleep"/)
    const allowed = log
      .split('\n')
      .find((line) => /sa\/bookinfo-productpage/.test(line) && /sa\/bookinfo-reviews/.test(line))
    assert.match(allowed ?? '', /bytes_sent=\d+ bytes_recv=\d+ duration="\d+ms"/)
    const [ztunnel] = await pods(mesh, 'istio-system', 'app=ztunnel')
    assert.ok(ztunnel)
    const metrics = await mesh.exec(
      'outside',
      'deploy/sleep',
      `curl -sS -m 5 http://${ztunnel.ip}:15020/stats/prometheus`,
    )
    assert.match(
      metrics.stdout,
      /istio_tcp_connections_opened_total\{[^}]*connection_security_policy="mutual_tls"/,
      metrics.stderr,
    )
    assert.match(
      metrics.stdout,
      /istio_tcp_connections_(opened|failed)_total\{[^}]*source_principal="spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/sleep"[^}]*destination_service_name="reviews"[^}]*\}/,
    )
    assert.match(metrics.stdout, /response_flags="DENY"/)
  })

  test('[B122] [A2.10] under STRICT a pod outside the mesh is refused, under PERMISSIVE it is served', async () => {
    await mesh.kubectlOk('delete', 'authorizationpolicy', '-n', 'bookinfo', 'reviews')
    await eventually(async () => assert.equal((await call('outside')).stdout, '200'), 5_000)
    const strict = (mode: string): string =>
      `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: bookinfo}, spec: {mtls: {mode: ${mode}}}}`
    await mesh.apply(strict('STRICT'))
    await eventually(async () => {
      const refused = await call('outside')
      assert.notEqual(refused.code, 0, `outside still gets ${refused.stdout}`)
    }, 5_000)
    assert.equal((await call('bookinfo')).stdout, '200')
    assert.equal((await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)).status, 200)
    await mesh.apply(strict('PERMISSIVE'))
    await eventually(async () => assert.equal((await call('outside')).stdout, '200'), 5_000)
  })
})
