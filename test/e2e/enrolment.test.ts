/** Joining and leaving the mesh by a label, seen on the wire. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Capture, inNetns, type PodInfo, pidInPod, pods } from './kit.ts'
import { cannotRun, eventually, httpStatus, Mesh, root } from './mesh.ts'

const enrolled = 'istio.io/dataplane-mode=ambient'

/** Gateways carry the label themselves, whatever their namespace says. */
const applications = (all: PodInfo[]): PodInfo[] =>
  all.filter((pod) => !pod.name.startsWith('bookinfo-gateway'))

for (const user of ['root', 'nobody'] as const) {
  describe(`enrolment in a mesh of ${user}`, { skip: cannotRun() }, () => {
    let mesh: Mesh
    before(async () => {
      mesh = await Mesh.up({ user, sample: 'none' })
      await mesh.kubectlOk('apply', '-k', `${root}/samples/bookinfo`)
      await mesh.kubectlOk(
        'wait',
        '-n',
        'bookinfo',
        '--for=condition=available',
        'deployment',
        '--all',
        '--timeout=60s',
      )
      await mesh.kubectlOk('apply', '-n', 'bookinfo', '-f', `${root}/samples/sleep/sleep.yaml`)
      await mesh.kubectlOk('rollout', 'status', '-n', 'bookinfo', 'deploy/sleep', '--timeout=30s')
    })
    after(async () => {
      await mesh?.stop()
    })

    const page = 'curl -sS -m 10 -o /dev/null -w "%{http_code}" http://productpage:9080/productpage'

    test('a namespace without the label talks readable HTTP', async () => {
      const [reviews] = await pods(mesh, 'bookinfo', 'app=productpage')
      assert.ok(reviews)
      const capture = await new Capture(pidInPod(mesh, reviews.ip), 'tcp').ready()
      const ran = await mesh.exec('bookinfo', 'deploy/sleep', page)
      assert.equal(ran.stdout, '200', ran.stderr)
      const text = await capture.stop()
      assert.match(text, /GET \/productpage HTTP\/1\.1/)
      assert.doesNotMatch(text, /\.15008/)
    })

    test('[A1.41] [A1.8] [A4.2] [A4.9] [G42] [G45] the label encrypts every later connection, restarts nothing and fails no request', async (t) => {
      const before = await pods(mesh, 'bookinfo')
      const target = before.find((pod) => pod.name.startsWith('productpage'))
      assert.ok(target)
      const capture = await new Capture(pidInPod(mesh, target.ip), 'tcp').ready()
      let stop = false
      const results: string[] = []
      const traffic = (async () => {
        while (!stop) {
          const ran = await mesh.exec('bookinfo', 'deploy/sleep', `${page}; ${page}; ${page}`)
          results.push(ran.stdout)
        }
      })()
      t.after(async () => {
        stop = true
        await Promise.all([traffic, capture.stop()])
      })
      await mesh.kubectlOk('label', 'namespace', 'bookinfo', enrolled, '--overwrite')
      const joined = await eventually(async () => {
        const now = await pods(mesh, 'bookinfo')
        for (const pod of applications(now)) {
          assert.equal(pod.redirection, 'enabled', pod.name)
        }
        return now
      })
      // The control plane tells the proxies within a moment; connections opened before are told apart below.
      await new Promise((done) => setTimeout(done, 500))
      const openedBefore = new Set(capture.opened)
      const mark = capture.text.length
      await new Promise((done) => setTimeout(done, 6_000))
      stop = true
      await traffic
      const whole = await capture.stop()
      const text = whole.slice(mark)
      for (const answer of results) assert.match(answer, /^(200)+$/, 'a request failed')
      const opened = [...text.matchAll(/IP (\S+ > \S+): Flags \[S\]/g)].map(
        (match) => match[1] ?? '',
      )
      const late = opened.filter((flow) => !openedBefore.has(flow))
      // Pooled connections carry what comes later: the first requests have opened them.
      assert.match(whole, /\.15008: Flags \[S\]/, 'no HBONE connection was opened')
      const peers = late.filter((flow) => !/169\.254\.7\.127/.test(flow) && !flow.endsWith('.53'))
      for (const flow of peers) assert.match(flow, /\.15008$/, `${flow} is not HBONE`)
      assert.doesNotMatch(
        text,
        /GET \/(productpage|reviews|details)/,
        'readable HTTP after enrolment',
      )
      for (const pod of joined) {
        const earlier = before.find((entry) => entry.uid === pod.uid)
        assert.ok(earlier, `${pod.name} is new`)
        assert.equal(pod.restarts, earlier.restarts, `${pod.name} was restarted`)
      }
      const second = await mesh.kubectlOk('label', 'namespace', 'bookinfo', enrolled, '--overwrite')
      assert.match(second, /not labeled/)
    })

    test('[A0.2] the certificate of a hop names the workload and comes from the mesh root', async () => {
      const [target] = await pods(mesh, 'bookinfo', 'app=productpage')
      assert.ok(target)
      const ca = await mesh.kubectlOk(
        'get',
        'cm',
        '-n',
        'bookinfo',
        'istio-ca-root-cert',
        '-o',
        'jsonpath={.data.root-cert\\.pem}',
      )
      const folder = mesh.stateHome
      writeFileSync(join(folder, 'root.pem'), ca)
      const line = `echo | openssl s_client -connect ${target.ip}:15008 -alpn h2 -tls1_3 -CAfile ${folder}/root.pem > ${folder}/out 2>&1; openssl x509 -noout -ext subjectAltName < ${folder}/out; cat ${folder}/out`
      // From the node: in the pod the connection would be redirected to its own proxy.
      const [program, args] = inNetns(mesh.processOf('standalone/init/main.ts'), ['sh', '-c', line])
      const text = execFileSync(program, args).toString()
      assert.match(text, /URI:spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/bookinfo-productpage/)
      assert.match(text, /TLSv1\.3/)
      assert.match(text, /Verif(y return code: 0|ication: OK)/)
    })

    test('[A1.42] [A3.21] without the label traffic is plaintext again and the pods stay', async () => {
      const before = await pods(mesh, 'bookinfo')
      await mesh.kubectlOk('label', 'namespace', 'bookinfo', 'istio.io/dataplane-mode-')
      await eventually(async () => {
        for (const pod of applications(await pods(mesh, 'bookinfo'))) {
          assert.equal(pod.redirection, undefined, pod.name)
        }
      })
      const target = before.find((pod) => pod.name.startsWith('productpage'))
      assert.ok(target)
      await eventually(async () => {
        const capture = await new Capture(pidInPod(mesh, target.ip), 'tcp').ready()
        const ran = await mesh.exec('bookinfo', 'deploy/sleep', page)
        const text = await capture.stop()
        assert.equal(ran.stdout, '200', ran.stderr)
        assert.match(text, /GET \/productpage HTTP\/1\.1/)
      })
      const [program, args] = inNetns(pidInPod(mesh, target.ip), [
        'sh',
        '-c',
        'nft list ruleset; ip rule',
      ])
      const left = execFileSync(program, args).toString()
      assert.doesNotMatch(left, /ISTIO|istio|15001|0x111/)
      assert.deepEqual(
        (await pods(mesh, 'bookinfo')).map((pod) => `${pod.uid} ${pod.restarts}`).toSorted(),
        before.map((pod) => `${pod.uid} ${pod.restarts}`).toSorted(),
      )
    })

    test('the ingress keeps answering, enrolled or not', async () => {
      const { status } = await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)
      assert.equal(status, 200)
    })
  })
}
