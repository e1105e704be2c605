/** Workloads that are special: they speak first, have probes, use the proxy's ports or its user id. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Capture, pidInPod, pods, serverFirst } from './kit.ts'
import { cannotRun, eventually, Mesh, root } from './mesh.ts'

const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
`

/** Ports that Istio reserves somewhere, but that nothing of ours has in the pod of an application. */
const freePorts = [15000, 15004, 15009, 15010, 15012, 15014, 15020, 15021, 15090]
/** Those which the node proxy has in every enrolled pod. */
const takenPorts = [15001, 15006, 15008]

const server = (name: string, image: string, args: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: default, labels: {app: ${name}}}
spec:
  containers:
  - name: ${name}
    image: ${image}
    args: ${args}
`

describe('special workloads in the mesh', { skip: cannotRun() }, () => {
  let mesh: Mesh
  const sh = (line: string) => mesh.exec('default', 'deploy/sleep', line)

  /** Applies pods and waits until they are ready and enrolled. */
  const start = async (...objects: string[]): Promise<void> => {
    await mesh.apply(objects.join('\n---\n'))
    const names = objects.flatMap(
      (text) => /^kind: Pod\nmetadata: \{name: ([^,]+)/m.exec(text)?.[1] ?? [],
    )
    for (const name of names) {
      await eventually(async () => {
        const [pod] = await pods(mesh, 'default', `app=${name}`)
        assert.equal(pod?.redirection, 'enabled', `${name} is not enrolled`)
      })
      await mesh.kubectlOk('wait', '--for=condition=ready', `pod/${name}`, '--timeout=20s')
    }
  }
  const ipOf = async (app: string): Promise<string> => {
    const [pod] = await pods(mesh, 'default', `app=${app}`)
    assert.ok(pod, `no pod of ${app}`)
    return pod.ip
  }

  before(async () => {
    mesh = await Mesh.up({ sample: 'none' })
    await mesh.kubectlOk('label', 'namespace', 'default', 'istio.io/dataplane-mode=ambient')
    await mesh.apply(strict)
    await mesh.kubectlOk('create', 'namespace', 'outside')
    for (const namespace of ['default', 'outside']) {
      await mesh.kubectlOk('apply', '-n', namespace, '-f', `${root}/samples/sleep/sleep.yaml`)
    }
    await mesh.kubectlOk('apply', '-f', `${root}/samples/httpbin/httpbin.yaml`)
    for (const [namespace, name] of [
      ['default', 'sleep'],
      ['outside', 'sleep'],
      ['default', 'httpbin'],
    ] as const) {
      await mesh.kubectlOk('rollout', 'status', '-n', namespace, `deploy/${name}`, '--timeout=30s')
    }
  })
  after(async () => {
    await mesh?.stop()
  })

  test('[A3.17] a server that speaks first is heard through the mesh, by Service and by address', async () => {
    await start(
      server(
        'mail',
        'docker.io/istio/tcp-echo-server:1.3',
        '["25", "said", "--banner", "220 ready"]',
      ),
      `apiVersion: v1
kind: Service
metadata: {name: mail, namespace: default}
spec: {selector: {app: mail}, ports: [{name: tcp-smtp, port: 25}]}
`,
    )
    const address = await ipOf('mail')
    const capture = await new Capture(pidInPod(mesh, address), 'tcp').ready()
    for (const host of ['mail', address]) {
      await eventually(async () => {
        const ran = await sh(serverFirst(host, 25))
        assert.equal(ran.stdout, '220 ready\nsaid ping\n', `${host}: ${ran.code} ${ran.stderr}`)
      }, 5_000)
    }
    const text = await capture.stop()
    assert.doesNotMatch(text, /220 ready/, 'the banner was readable on the wire')
    assert.match(text, /\.15008: Flags \[S\]/)
  })

  test('[A3.18] an application may use the reserved ports, but for those of the proxy in its pod', async () => {
    const ports = freePorts.join(',')
    await start(server('ports', 'docker.io/istio/tcp-echo-server:1.3', `["${ports}", "port"]`))
    const address = await ipOf('ports')
    const talk = `const one = (p) => new Promise((done) => { const s = require("net").connect(p, "${address}");
s.setTimeout(3000, () => done(p + " silent")); s.on("error", (e) => done(p + " " + e.code))
s.on("connect", () => s.write("x\\n")); s.on("data", (d) => { done(p + " " + String(d).trim()); s.destroy() }) })
Promise.all([${ports}].map(one)).then((all) => console.log(all.join("\\n")))`
    const expected = freePorts.map((port) => `${port} port x`).join('\n')
    await eventually(async () => {
      const ran = await sh(`/opt/weft/bin/node -e '${talk}'`)
      assert.equal(ran.stdout.trim(), expected, ran.stderr)
    }, 5_000)
    const bind = `for (const p of [${takenPorts}]) require("net").createServer()
.on("error", (e) => console.log(p, e.code)).listen(p, "0.0.0.0", () => { console.log(p, "free"); process.exit() })`
    const ran = await mesh.exec('default', 'pod/ports', `/opt/weft/bin/node -e '${bind}'`)
    assert.equal(ran.stdout.trim(), takenPorts.map((port) => `${port} EADDRINUSE`).join('\n'))
  })

  test('a program that had a port of the proxy before its pod joined is told so by an event', async () => {
    const outside = server('clash', 'docker.io/istio/tcp-echo-server:1.3', '["15006", "x"]')
    await mesh.apply(outside.replaceAll('namespace: default', 'namespace: outside'))
    await mesh.kubectlOk('wait', '-n', 'outside', '--for=condition=ready', 'pod/clash')
    const label = ['label', '-n', 'outside', 'pod/clash', '--overwrite']
    await mesh.kubectlOk(...label, 'istio.io/dataplane-mode=ambient')
    await eventually(async () => {
      const text = await mesh.kubectlOk('describe', '-n', 'outside', 'pod/clash')
      assert.match(text, /Warning\s+NotInMesh .*15006.*EADDRINUSE.*let the program use another one/)
      assert.match(text, /ambient\.istio\.io\/redirection: pending/)
    })
    await mesh.kubectlOk(...label, 'istio.io/dataplane-mode=none')
    await eventually(async () => {
      const [pod] = await pods(mesh, 'outside', 'app=clash')
      assert.equal(pod?.redirection, undefined)
    })
  })

  test("[A3.19] a container with the proxy's user id is captured like any other", async () => {
    await start(`
apiVersion: v1
kind: Pod
metadata: {name: sneaky, namespace: default, labels: {app: sneaky}}
spec:
  securityContext: {runAsUser: 1337, runAsGroup: 1337}
  containers:
  - {name: sneaky, image: weft/sleep}
`)
    const identity = await mesh.exec('default', 'pod/sneaky', 'id -u')
    assert.equal(identity.stdout.trim(), '1337')
    const address = await ipOf('sneaky')
    const capture = await new Capture(pidInPod(mesh, address), 'tcp').ready()
    const line = `curl -sS -m 5 -o /dev/null -w "%{http_code}" http://httpbin:8000/get`
    // STRICT on the other side: only what went through the proxy gets there.
    assert.equal((await mesh.exec('default', 'pod/sneaky', line)).stdout, '200')
    const text = await capture.stop()
    assert.match(text, /\.15008: Flags \[S\]/)
    assert.doesNotMatch(text, /GET \/get|\.(80|8000|8080): Flags \[S\]/)
  })

  test('[A3.16] the label of a namespace enrols its pods; that of a pod decides otherwise, both ways', async () => {
    const labelled = (name: string, namespace: string, mode: string): string => `
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: {app: ${name}, istio.io/dataplane-mode: ${mode}}
spec:
  containers:
  - {name: ${name}, image: weft/sleep}
`
    await mesh.apply(
      `${labelled('loner', 'default', 'none')}---${labelled('joiner', 'outside', 'ambient')}`,
    )
    for (const [name, namespace] of [
      ['loner', 'default'],
      ['joiner', 'outside'],
    ] as const) {
      const ready = ['wait', '-n', namespace, '--for=condition=ready', `pod/${name}`]
      await mesh.kubectlOk(...ready, '--timeout=20s')
    }
    await eventually(async () => {
      const [loner] = await pods(mesh, 'default', 'app=loner')
      const [joiner] = await pods(mesh, 'outside', 'app=joiner')
      assert.deepEqual([loner?.redirection, joiner?.redirection], [undefined, 'enabled'])
    })
    // STRICT tells them apart: only what comes through a proxy gets in.
    const line =
      'curl -sS -m 5 -o /dev/null -w "%{http_code}" http://httpbin.default.svc.cluster.local:8000/get'
    await eventually(async () => {
      assert.equal((await mesh.exec('outside', 'pod/joiner', line)).stdout, '200')
    })
    assert.notEqual((await mesh.exec('default', 'pod/loner', line)).stdout, '200')
  })

  test('a headless Service leads to its pods, a pod reaches itself by address and Service, UDP passes beside the mesh', async () => {
    await start(
      server('self', 'docker.io/istio/tcp-echo-server:1.3', '["9000", "self"]'),
      `apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, selector: {app: self}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: self, namespace: default}
spec: {selector: {app: self}, ports: [{name: tcp, port: 9000}]}
`,
    )
    const address = await ipOf('self')
    const talk = (host: string): string => `/opt/weft/bin/node -e '
const s = require("net").connect(9000, "${host}", () => s.write("x\\n"))
s.on("data", (d) => { process.stdout.write(d); process.exit(0) })
s.on("error", (e) => { console.error(e.code); process.exit(7) }); setTimeout(() => process.exit(9), 5000)'`
    for (const [from, host] of [
      ['deploy/sleep', 'headless'],
      ['pod/self', address],
      ['pod/self', 'self'],
    ] as const) {
      await eventually(async () => {
        const ran = await mesh.exec('default', from, talk(host))
        assert.equal(ran.stdout, 'self x\n', `${from} to ${host}: ${ran.code} ${ran.stderr}`)
      }, 5_000)
    }
    const listen = `const u = require("dgram").createSocket("udp4"); u.bind(5300)
u.on("message", (m, p) => u.send("heard " + m, p.port, p.address, () => process.exit(0)))
setTimeout(() => process.exit(9), 10000)`
    const heard = mesh.exec('default', 'pod/self', `/opt/weft/bin/node -e '${listen}'`)
    const ask = `const u = require("dgram").createSocket("udp4")
u.on("message", (m) => { process.stdout.write(String(m)); process.exit(0) })
setInterval(() => u.send("x", 5300, "${address}"), 100); setTimeout(() => process.exit(9), 8000)`
    const ran = await sh(`/opt/weft/bin/node -e '${ask}'`)
    assert.equal(ran.stdout, 'heard x', ran.stderr)
    await heard
  })

  test('[G44] probes come from 169.254.7.127 past the proxy, under STRICT and a policy that allows nothing', async () => {
    await mesh.apply(
      '{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: nothing, namespace: default}, spec: {selector: {matchLabels: {app: probed}}}}',
    )
    await start(`
apiVersion: v1
kind: Pod
metadata: {name: probed, namespace: default, labels: {app: probed}}
spec:
  containers:
  - name: probed
    image: mccutchen/go-httpbin
    readinessProbe: {periodSeconds: 1, httpGet: {path: /healthz, port: 8080}, failureThreshold: 1}
    livenessProbe: {periodSeconds: 1, tcpSocket: {port: 8080}}
`)
    const address = await ipOf('probed')
    const capture = await new Capture(pidInPod(mesh, address), 'tcp port 8080').ready()
    for (const namespace of ['default', 'outside']) {
      const line = `curl -sS -m 3 http://${address}:8080/get`
      const ran = await mesh.exec(namespace, 'deploy/sleep', line)
      assert.notEqual(ran.code, 0, `a pod of ${namespace} got in: ${ran.stdout}`)
    }
    await new Promise((done) => setTimeout(done, 1_500))
    const text = await capture.stop()
    const probes = [...text.matchAll(/IP (\S+)\.\d+ > \S+\.8080: Flags \[S\]/g)]
    const sources = new Set(probes.map((match) => match[1]))
    assert.ok(sources.has('169.254.7.127'), [...sources].join())
    assert.match(text, /GET \/healthz? HTTP/)
    const [pod] = await pods(mesh, 'default', 'app=probed')
    assert.equal(pod?.restarts, 0)
    assert.equal(pod?.redirection, 'enabled')
    const ready = await mesh.kubectlOk(
      'wait',
      '--for=condition=ready',
      'pod/probed',
      '--timeout=3s',
    )
    assert.match(ready, /condition met/)
  })
})
