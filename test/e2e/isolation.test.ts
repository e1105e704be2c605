/** What a workload must not be able to do: read others' secrets, defeat the redirection, reach the host. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { pods } from './kit.ts'
import { cannotRun, eventually, Mesh, root } from './mesh.ts'

for (const user of ['root', 'nobody'] as const) {
  describe(`isolation in a mesh of ${user}`, { skip: cannotRun() }, () => {
    let mesh: Mesh
    let server: Server
    let port = 0
    const sh = (line: string) => mesh.exec('default', 'deploy/sleep', line)

    before(async () => {
      server = createServer((_request, response) => response.end('host loopback')).listen(
        0,
        '127.0.0.1',
      )
      await new Promise((done) => server.once('listening', done))
      port = (server.address() as { port: number }).port
      mesh = await Mesh.up({ user, sample: 'none' })
      await mesh.kubectlOk('label', 'namespace', 'default', 'istio.io/dataplane-mode=ambient')
      await mesh.kubectlOk('apply', '-f', `${root}/samples/sleep/sleep.yaml`)
      await mesh.kubectlOk('apply', '-f', `${root}/samples/httpbin/httpbin.yaml`)
      await mesh.kubectlOk('rollout', 'status', 'deploy/sleep', '--timeout=30s')
      await mesh.kubectlOk('rollout', 'status', 'deploy/httpbin', '--timeout=30s')
    })
    after(async () => {
      await mesh?.stop()
      server.close()
    })

    test('[A3.19] a workload has no capability, also not as the proxy user, and can gain none', async () => {
      const { stdout } = await sh('grep -E "^(Cap|NoNewPrivs)" /proc/self/status')
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        assert.match(stdout, new RegExp(`${set}:\\s+0+\\n`), stdout)
      }
      assert.match(stdout, /NoNewPrivs:\s+1/)
    })

    test('it sees neither other processes nor the state, the CA key, the kubeconfig or another token', async () => {
      const processes = await sh('cat /proc/[0-9]*/cmdline | tr "\\0" " "')
      assert.doesNotMatch(processes.stdout, /httpbin|nodeproxy|controlplane|broker/)
      for (const path of [
        mesh.kubeconfig,
        `${mesh.stateHome}/weft`,
        '/run/weft',
        '/root',
        '/home',
      ]) {
        const ran = await sh(`ls -A ${path} 2>/dev/null | head -1`)
        assert.equal(ran.stdout, '', `${path} is visible`)
      }
      const found = await sh(
        'find / -xdev \\( -name "*.db" -o -name "kubeconfig" -o -name "ca-key.pem" -o -name broker.json \\) -not -path "/proc/*" 2>/dev/null',
      )
      assert.doesNotMatch(found.stdout, /registry\.db|kubeconfig|ca-key|broker\.json/)
      const secret = await sh(
        'T=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token); curl -sk -o /dev/null -w "%{http_code}" -H "authorization: Bearer $T" https://kubernetes.default.svc/api/v1/namespaces/istio-system/secrets/istio-ca-secret',
      )
      assert.equal(secret.stdout, '403', secret.stderr)
    })

    test('it can neither mark its packets nor change its rules', async () => {
      const mark = await sh(
        `python3 -c 'import socket; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, 36, 0x539)' 2>&1 || echo refused`,
      )
      assert.match(mark.stdout, /refused|not permitted|not found/)
      const rules = await sh(
        'export PATH=$PATH:/usr/sbin:/sbin; nft flush ruleset 2>&1; iptables -t nat -F 2>&1; ip rule del pref 32764 2>&1; ip link set eth0 down 2>&1; echo done',
      )
      assert.match(rules.stdout, /not permitted|must be root|denied|not found/i)
      const [sleep] = await pods(mesh, 'default', 'app=sleep')
      assert.equal(sleep?.redirection, 'enabled')
      assert.equal(
        (await sh('curl -sS -o /dev/null -w "%{http_code}" http://httpbin:8000/get')).stdout,
        '200',
      )
    })

    test('debug ports need a token and the host is out of reach', async () => {
      const [istiod] = await pods(mesh, 'istio-system', 'app=istiod')
      assert.ok(istiod)
      const debug = await sh(
        `curl -sS -m 3 -o /dev/null -w "%{http_code}" http://${istiod.ip}:15014/debug/syncz`,
      )
      assert.notEqual(debug.stdout, '200')
      const admin = await sh(
        `curl -sS -m 3 -o /dev/null -w "%{http_code}" http://${istiod.ip}:15000/config_dump`,
      )
      assert.notEqual(admin.stdout, '200')
      for (const host of ['127.0.0.1', istiod.ip, '169.254.1.1']) {
        const ran = await sh(`curl -sS -m 3 http://${host}:${port}/`)
        assert.doesNotMatch(ran.stdout, /host loopback/, `${host} leads to the host's loopback`)
      }
    })
  })
}

describe('egress', { skip: cannotRun() }, () => {
  test("the host's loopback is reached only with --host-access", async () => {
    const server = createServer((_request, response) => response.end('host loopback')).listen(
      0,
      '127.0.0.1',
    )
    await new Promise((done) => server.once('listening', done))
    const { port } = server.address() as { port: number }
    const mesh = await Mesh.up({ sample: 'none', flags: ['--host-access'] })
    try {
      await mesh.kubectlOk('apply', '-f', `${root}/samples/sleep/sleep.yaml`)
      await mesh.kubectlOk('rollout', 'status', 'deploy/sleep', '--timeout=30s')
      await eventually(async () => {
        const ran = await mesh.exec(
          'default',
          'deploy/sleep',
          `curl -sS -m 3 http://host.weft.internal:${port}/`,
        )
        assert.equal(ran.stdout, 'host loopback', ran.stderr)
      }, 5_000)
    } finally {
      await mesh.stop()
      server.close()
    }
  })
})
