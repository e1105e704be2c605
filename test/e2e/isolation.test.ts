/** What a workload must not be able to do: read others' secrets, defeat the redirection, reach the host. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { OutsideHost, outsideBanner, pods, serverFirst } from './kit.ts'
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
      await mesh.kubectlOk('create', 'namespace', 'outside')
      await mesh.kubectlOk('apply', '-n', 'outside', '-f', `${root}/samples/sleep/sleep.yaml`)
      await mesh.kubectlOk('rollout', 'status', 'deploy/sleep', '--timeout=30s')
      await mesh.kubectlOk('rollout', 'status', '-n', 'outside', 'deploy/sleep', '--timeout=30s')
      await mesh.kubectlOk('rollout', 'status', 'deploy/httpbin', '--timeout=30s')
    })
    after(async () => {
      await mesh?.stop()
      server.close()
    })

    test('a workload has no capability and can gain none', async () => {
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

    test('it can neither mark its packets nor open raw sockets nor change its rules', async () => {
      // SOL_SOCKET 1, SO_MARK 36; AF_INET 2, SOCK_RAW 3, IPPROTO_TCP 6.
      const mark = await sh(
        `perl -MSocket -e 'socket(S, 2, 1, 0) or die; setsockopt(S, 1, 36, pack("i", 0x539)) and print "marked"; print "$!"'`,
      )
      assert.equal(mark.stdout, 'Operation not permitted', mark.stderr)
      const raw = await sh(`perl -MSocket -e 'socket(S, 2, 3, 6) and print "raw"; print "$!"'`)
      assert.equal(raw.stdout, 'Operation not permitted', raw.stderr)
      for (const change of [
        'nft flush ruleset',
        'iptables -t nat -F',
        'ip rule del pref 32764',
        'ip link set eth0 down',
        'ip route del default',
        // A namespace of its own would have all capabilities, but not over this network.
        'unshare -Ur nft flush ruleset',
      ]) {
        const ran = await sh(`PATH=$PATH:/usr/sbin:/sbin ${change} 2>&1`)
        assert.notEqual(ran.code, 0, `${change}: ${ran.stdout}`)
        assert.match(ran.stdout, /not permitted|must be root|denied|not found|No space left/i)
      }
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
      for (const host of ['127.0.0.1', istiod.ip, '169.254.1.1', '169.254.1.2']) {
        const ran = await sh(`curl -sS -m 3 http://${host}:${port}/`)
        assert.doesNotMatch(ran.stdout, /host loopback/, `${host} leads to the host's loopback`)
        assert.notEqual(ran.code, 0)
      }
    })

    test('a machine outside is reached through the relay, enrolled or not, but not this machine', async () => {
      const outside = await OutsideHost.start()
      const own = createServer((_request, response) => response.end('own address')).listen(
        0,
        outside.hostAddress,
      )
      try {
        await new Promise((done) => own.once('listening', done))
        for (const namespace of ['default', 'outside']) {
          const call = (line: string) => mesh.exec(namespace, 'deploy/sleep', line)
          const talk = await call(serverFirst(outside.address, 7000))
          assert.equal(
            talk.stdout,
            `${outsideBanner}\nyou said ping\n`,
            `${namespace}: ${talk.code}`,
          )
          const closed = await call(`curl -sS -m 5 http://${outside.address}:7001/`)
          assert.notEqual(closed.code, 0)
          const ownPort = (own.address() as { port: number }).port
          const home = await call(`curl -sS -m 3 http://${outside.hostAddress}:${ownPort}/`)
          assert.notEqual(home.code, 0, `${namespace} reached this machine: ${home.stdout}`)
        }
      } finally {
        own.close()
        outside.stop()
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
      const reached = (): Promise<void> =>
        eventually(async () => {
          for (const host of ['host.weft.internal', '169.254.1.2']) {
            const line = `curl -sS -m 3 http://${host}:${port}/`
            const ran = await mesh.exec('default', 'deploy/sleep', line)
            assert.equal(ran.stdout, 'host loopback', `${host}: ${ran.stderr}`)
          }
        }, 5_000)
      await reached()
      await mesh.kubectlOk('label', 'namespace', 'default', 'istio.io/dataplane-mode=ambient')
      await eventually(async () => {
        const [sleep] = await pods(mesh, 'default', 'app=sleep')
        assert.equal(sleep?.redirection, 'enabled')
      })
      await reached()
    } finally {
      await mesh.stop()
      server.close()
    }
  })
})
