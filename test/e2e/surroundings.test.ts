/** Machines that lack something: IPv6, or everything that a container lacks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pods } from './kit.ts'
import { cannotRun, eventually, Mesh, root } from './mesh.ts'
import { Surroundings } from './surroundings.ts'

const skip = cannotRun()

/** The product page from within the surroundings, all of its parts there. */
async function pageAnswers(mesh: Mesh): Promise<void> {
  await eventually(async () => {
    const url = `http://127.0.0.1:${mesh.ingressPort}/productpage`
    const ran = await mesh.run('curl', ['-sS', '-m', '5', '-w', '\n%{http_code}', url])
    assert.match(ran.stdout, /\n200$/, ran.stderr)
    assert.match(ran.stdout, /ISBN-10/)
    assert.doesNotMatch(ran.stdout, /Error fetching/)
  })
}

for (const user of ['root', 'nobody'] as const) {
  test(`a mesh of ${user} comes up and encrypts on a machine without IPv6`, { skip }, async () => {
    const surroundings = await Surroundings.withoutIpv6()
    const mesh = await Mesh.up({ user, enter: surroundings.enter })
    try {
      const probe =
        'require("net").createServer().on("error", (e) => console.log(e.code)).listen(0, "::1")'
      const lacking = await mesh.run(process.execPath, ['-e', probe])
      assert.equal(lacking.stdout, 'EAFNOSUPPORT\n', 'the machine has IPv6')
      await pageAnswers(mesh)
      for (const pod of await pods(mesh, 'bookinfo'))
        assert.equal(pod.redirection, 'enabled', pod.name)
      await mesh.apply(
        '{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: bookinfo}, spec: {mtls: {mode: STRICT}}}',
      )
      await pageAnswers(mesh)
      const log = await mesh.kubectlOk('logs', '-n', 'istio-system', 'ds/ztunnel', '--tail=200')
      assert.match(
        log,
        /dst\.identity="spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/bookinfo-details"/,
      )
    } finally {
      await mesh.stop()
      surroundings.stop()
    }
  })
}

test('an unprivileged user gets a mesh in a container-like sandbox with a read-only checkout', {
  skip,
}, async () => {
  const surroundings = await Surroundings.container(root)
  const mesh = await Mesh.up({
    user: 'nobody',
    enter: surroundings.enter,
    environment: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  try {
    assert.notEqual(
      (await mesh.run('touch', [`${root}/written`])).code,
      0,
      'the checkout is writable',
    )
    await pageAnswers(mesh)
    for (const pod of await pods(mesh, 'bookinfo'))
      assert.equal(pod.redirection, 'enabled', pod.name)
    const status = await mesh.weft(['status', '--name', mesh.name, '-o', 'json'])
    assert.equal((JSON.parse(status.stdout) as { state: string }).state, 'running')
    const down = await mesh.weft(['down', '--name', mesh.name])
    assert.equal(down.code, 0, down.stderr)
    const left = await mesh.run('sh', ['-c', 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "'])
    assert.doesNotMatch(left.stdout, /standalone|nodeproxy|productpage\.ts/)
  } finally {
    await mesh.stop()
    surroundings.stop()
  }
})
