/** The unmodified kubectl against the registry: what the first issue promises of it, on both pinned versions. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { RegistryHarness } from './harness.ts'

const manifest = `
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: web, namespace: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: web, image: 'echo:1' }]
---
apiVersion: v1
kind: Pod
metadata: { name: solo, namespace: shop, labels: { app: solo } }
spec:
  serviceAccountName: web
  containers: [{ name: main, image: curl }]
`

const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, kind: Widget, shortNames: [wd] }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      additionalPrinterColumns:
        - { name: Size, type: integer, jsonPath: .spec.size }
        - { name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status' }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              properties:
                size: { type: integer, minimum: 1 }
                color: { type: string, default: blue }
            status: { type: object, x-kubernetes-preserve-unknown-fields: true }
`

const widget = (size: number): string => `
apiVersion: example.com/v1
kind: Widget
metadata: { name: w1, namespace: default }
spec: { size: ${size} }
`

for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) {
  describe(`kubectl ${version}`, () => {
    let harness: RegistryHarness
    before(async () => {
      harness = await RegistryHarness.start(version)
    })
    after(() => harness.stop())

    test('the kubeconfig is readable by its owner only', async () => {
      const { mode } = await stat(join(harness.dir, 'kubeconfig'))
      assert.equal(mode & 0o777, 0o600)
    })

    test('version and api-resources describe the server', async () => {
      assert.match(await harness.kubectl('version'), /Server Version: v1\.35\.0\+weft/)
      const resources = await harness.kubectl('api-resources')
      assert.match(resources, /^deployments +deploy +apps\/v1 +true +Deployment$/m)
      assert.match(
        resources,
        /^authorizationpolicies .*security\.istio\.io\/v1 +true +AuthorizationPolicy$/m,
      )
      assert.match(resources, /^httproutes +gateway\.networking\.k8s\.io\/v1 +true +HTTPRoute$/m)
    })

    test('apply creates, repeats without a change, and patches what differs', async () => {
      const created = await harness.kubectl('apply -f -', manifest)
      assert.match(created, /deployment\.apps\/web created/)
      const again = await harness.kubectl('apply -f -', manifest)
      assert.deepEqual(
        new Set(again.match(/created|configured|unchanged/g)),
        new Set(['unchanged']),
      )
      const changed = await harness.kubectl(
        'apply -f -',
        manifest.replace('replicas: 2', 'replicas: 3'),
      )
      assert.match(changed, /deployment\.apps\/web configured/)
      assert.match(changed, /service\/web unchanged/)
      const generation = await harness.kubectl(
        'get deploy web -n shop -o jsonpath={.metadata.generation}/{.spec.replicas}/{.spec.strategy.type}',
      )
      assert.equal(generation, '2/3/RollingUpdate')
    })

    test('apply -k takes a kustomization', async () => {
      const dir = join(harness.dir, 'kustomize')
      await mkdir(dir)
      await writeFile(
        join(dir, 'kustomization.yaml'),
        'namespace: default\nconfigMapGenerator:\n- name: settings\n  literals: [a=1]\n',
      )
      assert.match(await harness.kubectl(`apply -k ${dir}`), /configmap\/settings-\w+ created/)
    })

    test('get shows the columns that users know', async () => {
      const pods = await harness.kubectl('get pods -n shop -o wide')
      assert.match(pods, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/)
      assert.match(pods, /^solo +0\/1 +Pending +0 +\d+s/m)
      assert.match(
        await harness.kubectl('get svc -A'),
        /^default +kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443\/TCP/m,
      )
      assert.match(await harness.kubectl('get deploy -n shop'), /^web +0\/3 +0 +0 +\d+s$/m)
      assert.match(await harness.kubectl('get all -n shop'), /deployment\.apps\/web/)
    })

    test('describe shows pods, services and deployments', async () => {
      const pod = await harness.kubectl('describe pod solo -n shop')
      assert.match(pod, /Service Account: +web/)
      assert.match(pod, /serviceaccount from kube-api-access-\w{5} \(ro\)/)
      assert.match(await harness.kubectl('describe svc web -n shop'), /TargetPort: +8080\/TCP/)
      assert.match(await harness.kubectl('describe deploy web -n shop'), /Replicas: +3 desired/)
    })

    test('label, annotate, patch, scale and set image change objects', async () => {
      await harness.kubectl('label ns shop istio.io/dataplane-mode=ambient')
      assert.match(
        await harness.kubectl('get ns -l istio.io/dataplane-mode=ambient -o name'),
        /^namespace\/shop$/m,
      )
      await harness.kubectl('label ns shop istio.io/dataplane-mode-')
      assert.equal(await harness.kubectl('get ns -l istio.io/dataplane-mode -o name'), '')
      await harness.kubectl('annotate deploy web -n shop team=a')
      await harness.kubectl('scale deploy web -n shop --replicas=1')
      await harness.kubectl('set image deploy/web -n shop web=echo:2')
      await harness.kubectl(
        'patch svc web -n shop --type=json -p [{"op":"replace","path":"/spec/ports/0/targetPort","value":81}]',
      )
      const path =
        '{.metadata.annotations.team}/{.spec.replicas}/{.spec.template.spec.containers[0].image}'
      assert.equal(
        await harness.kubectl(`get deploy web -n shop -o jsonpath=${path}`),
        'a/1/echo:2',
      )
      assert.match(await harness.kubectl('describe svc web -n shop'), /TargetPort: +81\/TCP/)
    })

    test('wait sees a condition appear, and times out when it does not', async () => {
      const waiting = harness.kubectl('wait -n shop pod/solo --for=condition=Ready --timeout=10s')
      const status = {
        status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
      }
      await harness.kubectl(
        `patch pod solo -n shop --subresource=status --type=merge -p ${JSON.stringify(status)}`,
      )
      assert.match(await waiting, /condition met/)
      const late = await harness.run(
        'wait -n shop deploy/web --for=condition=Available --timeout=1s'.split(' '),
      )
      assert.equal(late.code, 1)
      assert.match(late.stderr, /timed out/)
    })

    test('get -w streams changes as table rows', async () => {
      const child = spawn(harness.kubectlProgram, ['get', 'cm', 'seen', '-w'], {
        env: harness.environment,
        stdio: 'pipe',
      })
      await harness.kubectl(
        'apply -f -',
        'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: seen }\n',
      )
      const watcher = spawn(harness.kubectlProgram, ['get', 'cm', '-w'], {
        env: harness.environment,
        stdio: 'pipe',
      })
      child.kill()
      let text = ''
      const shown = new Promise<void>((resolve) => {
        watcher.stdout.on('data', (chunk: Buffer) => {
          text += chunk.toString()
          if (/seen +0 [\s\S]*seen +1 /.test(text)) resolve()
          else if (/seen +0 /.test(text))
            void harness.kubectl('patch cm seen --type=merge -p {"data":{"a":"1"}}')
        })
      })
      await shown
      watcher.kill()
    })

    test('logs prints, tails and follows', async () => {
      assert.equal(await harness.kubectl('logs solo -n shop'), 'one\ntwo\nthree\n')
      assert.equal(await harness.kubectl('logs solo -n shop --tail=1'), 'three\n')
      assert.equal(await harness.kubectl('logs -f solo -n shop'), 'one\ntwo\nthree\nfour\n')
    })

    test('exec carries output, standard input and the exit code', async () => {
      assert.equal(await harness.kubectl('exec solo -n shop -- echo hello'), 'hello\n')
      const text = 'x'.repeat(300_000)
      assert.equal(await harness.kubectl('exec -i solo -n shop -- cat', text), text)
      const failed = await harness.run([
        'exec',
        'solo',
        '-n',
        'shop',
        '--',
        'sh',
        '-c',
        'echo oops >&2; exit 3',
      ])
      assert.equal(failed.code, 3)
      assert.match(failed.stderr, /oops/)
    })

    test('port-forward carries several connections, and half-closes', async () => {
      const upstream = createServer({ allowHalfOpen: true }, (socket) => {
        let size = 0
        socket.on('data', (chunk: Buffer) => {
          size += chunk.length
        })
        socket.on('end', () => socket.end(`got ${size}`))
        socket.on('error', () => {})
      })
      await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
      const { port } = upstream.address() as AddressInfo
      const forward = spawn(
        harness.kubectlProgram,
        ['port-forward', '-n', 'shop', 'pod/solo', `:${port}`],
        {
          env: harness.environment,
          stdio: 'pipe',
        },
      )
      try {
        const local = await new Promise<number>((resolve, reject) => {
          forward.stdout.on('data', (chunk: Buffer) => {
            const found = /127\.0\.0\.1:(\d+)/.exec(chunk.toString())
            if (found !== null) resolve(Number(found[1]))
          })
          forward.stderr.on('data', (chunk: Buffer) => reject(new Error(chunk.toString())))
        })
        const answers = await Promise.all([10, 5_000_000, 3].map((size) => ask(local, size)))
        assert.deepEqual(answers, ['got 10', 'got 5000000', 'got 3'])
      } finally {
        forward.kill()
        upstream.close()
      }
    })

    test('a third-party CRD is served at once, with its columns, defaults and validation', async () => {
      await harness.kubectl('apply -f -', crd)
      await harness.kubectl('wait --for=condition=Established crd/widgets.example.com --timeout=2s')
      assert.match(
        await harness.kubectl('apply -f -', widget(3)),
        /widget\.example\.com\/w1 created/,
      )
      assert.match(await harness.kubectl('get wd'), /^NAME +SIZE +READY\nw1 +3 *$/m)
      assert.equal(await harness.kubectl('get wd w1 -o jsonpath={.spec.color}'), 'blue')
      const bad = await harness.run(['apply', '-f', '-'], widget(0))
      assert.match(
        bad.stderr,
        /spec\.size: Invalid value: 0: spec\.size in body should be greater than or equal to 1/,
      )
      await harness.kubectl('delete crd widgets.example.com --timeout=5s')
      assert.match(
        (await harness.run(['get', 'wd'])).stderr,
        /doesn't have a resource type|could not find/,
      )
    })

    test('apply --server-side knows owners, conflicts and takeovers', async () => {
      const map = (value: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: owned, namespace: default }
data: { a: '${value}' }
`
      const ssa = (manager: string, value: string, ...more: string[]) =>
        harness.run(
          ['apply', '--server-side', `--field-manager=${manager}`, ...more, '-f', '-'],
          map(value),
        )
      assert.match((await ssa('one', '1')).stdout, /serverside-applied/)
      const conflict = await ssa('two', '2')
      assert.equal(conflict.code, 1)
      assert.match(conflict.stderr, /conflict with "one".*: \.data\.a/)
      assert.equal((await ssa('two', '2', '--force-conflicts')).code, 0)
      assert.equal(await harness.kubectl('get cm owned -o jsonpath={.data.a}'), '2')
      await harness.kubectl('apply -f -', map('3').replace('owned', 'client-side'))
      const taken = await harness.run(
        ['apply', '--server-side', '-f', '-'],
        map('4').replace('owned', 'client-side'),
      )
      assert.match(taken.stdout, /serverside-applied/, taken.stderr)
    })

    test('bad manifests are refused with the field, and nothing is stored', async () => {
      const unknown = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: bad }\ndatax: { a: b }\n'
      const strict = await harness.run(['apply', '-f', '-'], unknown)
      assert.match(strict.stderr, /strict decoding error: unknown field "datax"/)
      const warned = await harness.run(
        ['apply', '--validate=warn', '--dry-run=server', '-f', '-'],
        unknown,
      )
      assert.match(warned.stderr, /Warning: unknown field "datax"/)
      const policy = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: bad, namespace: shop }
spec: { action: NOPE }
`
      const refused = await harness.run(['apply', '-f', '-'], policy)
      assert.match(refused.stderr, /spec\.action: Unsupported value: "NOPE"/)
      assert.equal((await harness.run(['get', 'cm', 'bad'])).code, 1)
      const foreign = await harness.run(
        ['apply', '-f', '-'],
        'apiVersion: monitoring.example/v1\nkind: Monitor\nmetadata: { name: x }\n',
      )
      assert.match(foreign.stderr, /no matches for kind "Monitor"/)
      assert.match(foreign.stderr, /ensure CRDs are installed first/)
    })

    test('delete waits until a pod that runs on a node has ended', async () => {
      await harness.kubectl('apply -f -', manifest)
      const binding = JSON.stringify({
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: 'solo' },
        target: { kind: 'Node', name: 'n1' },
      })
      await writeFile(join(harness.dir, 'binding.json'), binding)
      await harness.kubectl(
        `create --raw /api/v1/namespaces/shop/pods/solo/binding -f ${join(harness.dir, 'binding.json')}`,
      )
      const deleting = harness.kubectl('delete pod solo -n shop --timeout=20s')
      await harness.kubectl(
        'wait -n shop pod/solo --for=jsonpath={.metadata.deletionGracePeriodSeconds}=30 --timeout=10s',
      )
      assert.match(await harness.kubectl('get pod solo -n shop'), /Terminating/)
      await harness.kubectl('delete pod solo -n shop --force --grace-period=0')
      assert.match(await deleting, /"solo" deleted/)
      assert.equal((await harness.run(['get', 'pod', 'solo', '-n', 'shop'])).code, 1)
    })
  })
}

/** Sends so many bytes, closes its writing side, and reads the answer. */
function ask(port: number, size: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.once('end', () => {
      socket.end()
      resolve(text)
    })
    socket.once('error', reject)
    socket.end(Buffer.alloc(size, 'a'))
  })
}
