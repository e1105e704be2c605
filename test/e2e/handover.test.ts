/** The node proxy is replaced under load: nothing new is lost, and what is open may finish. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { pods } from './kit.ts'
import { cannotRun, eventually, Mesh } from './mesh.ts'

const app = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: shop}
spec: {selector: {app: server}, ports: [{name: tcp, port: 7000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: server, namespace: shop}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
      - name: server
        image: busybox
        command: [/opt/weft/bin/node, -e, 'require("net").createServer((s) => { s.on("error", () => {}); s.on("data", (d) => s.write(d)) }).listen(7000)']
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      containers:
      - name: client
        image: busybox
        command: [sleep, infinity]
`

/**
 * Opens a connection every few milliseconds by the service's name, says a word on each and waits for it to come
 * back; one more stays open and says a word now and then. Ends at a byte on its standard input; says what happened.
 */
const load = `
const net = require("net"), dns = require("dns")
let made = 0, stop = false, longWords = 0, longEnd = ""
const failures = {}
const fail = (what) => { failures[what] = (failures[what] ?? 0) + 1 }
const one = () => new Promise((done) => {
  made++
  dns.lookup("server.shop", { family: 4 }, (error, host) => {
    if (error) { fail("name " + error.code); return done() }
    const s = net.connect(7000, host)
    const timer = setTimeout(() => { fail("timeout"); s.destroy(); done() }, 8000)
    let ok = false
    s.on("connect", () => s.write("word"))
    s.on("data", () => { ok = true; s.end(); s.destroy() })
    s.on("error", (e) => fail(e.code))
    s.on("close", () => { clearTimeout(timer); if (!ok) fail("closed"); done() })
  })
})
const worker = async () => { while (!stop) { await one(); await new Promise((d) => setTimeout(d, 2)) } }
const long = net.connect(7000, "server.shop")
long.on("data", () => longWords++).on("error", (e) => (longEnd = e.code)).on("close", () => (longEnd ||= "closed"))
const beat = setInterval(() => long.write("x"), 100)
const workers = Array.from({ length: 8 }, worker)
process.stdout.write("going\\n")
process.stdin.once("data", async () => {
  stop = true
  await Promise.all(workers)
  clearInterval(beat)
  const before = longWords
  long.write("last")
  await new Promise((d) => setTimeout(d, 300))
  process.stdout.write(JSON.stringify({ made, failures, longEnd, longAlive: longWords > before }) + "\\n")
  process.exit(0)
})
`

interface Outcome {
  readonly made: number
  readonly failures: Record<string, number>
  readonly longEnd: string
  readonly longAlive: boolean
}

describe('handing over from one node proxy to the next', { skip: cannotRun() }, () => {
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.up({ sample: 'none' })
    await mesh.apply(app)
    for (const name of ['server', 'client']) {
      await mesh.kubectlOk('rollout', 'status', '-n', 'shop', `deploy/${name}`, '--timeout=60s')
    }
    await eventually(async () => {
      for (const pod of await pods(mesh, 'shop')) assert.equal(pod.redirection, 'enabled')
    })
  })
  after(async () => {
    await mesh?.stop()
  })

  test('[G47] a rollout of the node proxy fails no new connection, and open ones go on', async (t) => {
    const [old] = await pods(mesh, 'istio-system', 'app=ztunnel')
    assert.ok(old)
    const into = [
      'exec',
      '-i',
      '-n',
      'shop',
      'deploy/client',
      '--',
      '/opt/weft/bin/node',
      '-e',
      load,
    ]
    const child = mesh.spawnKubectl(...into)
    let said = ''
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    await eventually(() => assert.match(said, /going/))
    await new Promise((done) => setTimeout(done, 1_000))

    await mesh.kubectlOk('rollout', 'restart', 'ds/ztunnel', '-n', 'istio-system')
    const status = ['rollout', 'status', 'ds/ztunnel', '-n', 'istio-system', '--timeout=60s']
    await mesh.kubectlOk(...status)
    await eventually(async () => {
      const [now, ...more] = await pods(mesh, 'istio-system', 'app=ztunnel')
      assert.ok(now)
      assert.ok(
        [now, ...more].some((pod) => pod.uid !== old.uid),
        'no new pod',
      )
    })
    await new Promise((done) => setTimeout(done, 2_000))
    child.stdin?.write('\n')
    await eventually(() => assert.match(said, /longEnd/), 15_000)
    const outcome = JSON.parse(said.slice(said.indexOf('{'))) as Outcome
    t.diagnostic(JSON.stringify(outcome))
    assert.ok(outcome.made > 100, `only ${outcome.made} connections were tried`)
    assert.deepEqual(outcome.failures, {})
    assert.equal(outcome.longEnd, '')
    assert.ok(outcome.longAlive, 'the long connection is silent')
    // The old proxy ends by itself when its last connection has.
    await eventually(async () => {
      const now = await pods(mesh, 'istio-system', 'app=ztunnel')
      assert.equal(now.length, 1)
      assert.notEqual(now[0]?.uid, old.uid)
    }, 40_000)
  })
})
