/** What is measured, and what acts on it: `kubectl top`, autoscalers, budgets, `/metrics`, the proxy. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import type { ResourceUsage, UsageReport } from '../../src/registry/index.ts'
import { ControllersKit, conditionsOf, eventually } from './controllers-kit.ts'
import { nodeName } from './fake-kubelet.ts'
import { LocalBackend } from './harness.ts'

const mebibyte = 1024 * 1024

/** Says of every pod that it uses what the test wants. */
class MeasuringBackend extends LocalBackend {
  readonly #kit: ControllersKit
  cpuCores = 0.05

  constructor(kit: ControllersKit) {
    super()
    this.#kit = kit
  }

  usage(): Promise<UsageReport> {
    const one: ResourceUsage = {
      cpuNanoCores: this.cpuCores * 1e9,
      memoryBytes: 30 * mebibyte,
    }
    const pods = ['web', 'idle']
      .flatMap((app) => this.#kit.kubelet.list(app))
      .map(({ metadata }) => [metadata.uid ?? '', new Map([['c', one]])] as const)
    const node = { cpuNanoCores: 5e8, memoryBytes: 512 * mebibyte }
    return Promise.resolve({
      atMs: Date.now(),
      windowMs: 15_000,
      nodes: new Map([[nodeName, node]]),
      pods: new Map(pods),
    })
  }
}

const deployment = (name: string, replicas: number, rest = ''): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec: {containers: [{name: c, image: 'run:1'${rest}}]}
`

for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) {
  describe(`metrics with kubectl ${version}`, () => {
    let kit: ControllersKit
    let backend: MeasuringBackend

    before(async () => {
      kit = await ControllersKit.start(version)
      backend = new MeasuringBackend(kit)
      await kit.kubectl(
        `patch node ${nodeName} --subresource=status -p {"status":{"allocatable":{"cpu":"2","memory":"2Gi"}}}`,
      )
      const resources = ', resources: {requests: {cpu: 100m, memory: 64Mi}}'
      await kit.apply(deployment('web', 1, resources))
      await kit.kubectl('rollout status deploy/web --timeout=8s')
    })
    after(async () => {
      await kit?.stop()
    })

    test('without somebody who measures there is no metrics API, and top says so', async () => {
      const outcome = await kit.harness.run(['top', 'pods'])
      assert.match(outcome.stderr, /Metrics API not available/)
      assert.doesNotMatch(await kit.kubectl('api-versions'), /metrics\.k8s\.io/)
    })

    test('top shows pods, containers and the node, sorted as asked', async () => {
      kit.harness.registry.setBackend(backend)
      await kit.kubectl('api-resources')
      assert.match(
        await kit.kubectl('top pods'),
        /NAME\s+CPU\(cores\)\s+MEMORY\(bytes\)\s+web-\S+\s+50m\s+30Mi/,
      )
      assert.match(
        await kit.kubectl('top pods --containers --sort-by=cpu'),
        /web-\S+\s+c\s+50m\s+30Mi/,
      )
      assert.match(await kit.kubectl('top nodes'), /test-node\s+500m\s+25%\s+512Mi\s+25%/)
      assert.match(await kit.kubectl('top pods -l app=web'), /web-/)
      assert.equal((await kit.harness.run(['top', 'pods', '-l', 'app=other'])).stdout, '')
      const table = await kit.kubectl('get pods.metrics.k8s.io')
      assert.match(table, /NAME\s+CPU\s+MEMORY\s+WINDOW\s+web-\S+\s+50000000n\s+30720Ki\s+15\.000s/)
      const missing = await kit.harness.run(['get', 'pods.metrics.k8s.io', 'nope'])
      assert.match(missing.stderr, /podmetrics\.metrics\.k8s\.io "default\/nope" not found/)
    })

    test('an autoscaler made by kubectl follows the load, and both versions of it tell the same', async () => {
      const line = `autoscale deploy/web --min=1 --max=4 ${version === '1.32' ? '--cpu-percent=50' : '--cpu=50%'}`
      kit.harness.registry.setBackend(backend)
      await kit.kubectl(line)
      // A new pod's first sample still holds its start.
      await kit.pass(60)
      await eventually(async () =>
        assert.match(
          await kit.kubectl('get hpa web'),
          /web\s+Deployment\/web\s+cpu: 50%\/50%\s+1\s+4\s+1/,
        ),
      )
      backend.cpuCores = 0.15
      await kit.pass(16)
      await eventually(() => assert.equal(kit.kubelet.list('web').length, 3))
      const old = JSON.parse(
        await kit.kubectl('get horizontalpodautoscalers.v1.autoscaling web -o json'),
      ) as { apiVersion: string; spec: Record<string, unknown>; status: Record<string, unknown> }
      assert.equal(old.apiVersion, 'autoscaling/v1')
      assert.equal(old.spec['targetCPUUtilizationPercentage'], 50)
      assert.equal(old.status['currentCPUUtilizationPercentage'], 150)
      assert.ok(
        (await kit.events('web')).some((event) =>
          event.startsWith(
            'SuccessfulRescale: New size: 3; reason: cpu resource utilization (percentage of request) above target',
          ),
        ),
      )
      // It falls back only when the load was low for five minutes.
      await kit.kubectl('rollout status deploy/web --timeout=8s')
      backend.cpuCores = 0.001
      await kit.pass(200)
      assert.equal(kit.kubelet.list('web').length, 3)
      const conditions = conditionsOf(await kit.get('hpa', 'web'))
      assert.deepEqual(conditions.map(({ type, status }) => `${type}=${status}`).toSorted(), [
        'AbleToScale=True',
        'ScalingActive=True',
        'ScalingLimited=False',
      ])
      assert.equal(
        conditions.find(({ type }) => type === 'AbleToScale')?.reason,
        'ScaleDownStabilized',
      )
      await kit.pass(150)
      await eventually(() => assert.equal(kit.kubelet.list('web').length, 1))
      const limited = conditionsOf(await kit.get('hpa', 'web')).find(
        ({ type }) => type === 'ScalingLimited',
      )
      assert.ok(['TooFewReplicas', 'DesiredWithinRange'].includes(limited?.reason ?? ''))
      assert.match(
        await kit.kubectl('describe hpa web'),
        /resource cpu on pods\s+\(as a percentage of request\):\s+1% \(1m\) \/ 50%/,
      )
    })

    test('an autoscaler without requests says why it cannot tell', async () => {
      await kit.apply(deployment('idle', 1))
      await kit.kubectl('rollout status deploy/idle --timeout=8s')
      await kit.apply(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: idle}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: idle}
  maxReplicas: 3
  metrics:
  - {type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 50}}}
  behavior: {scaleUp: {stabilizationWindowSeconds: 30}}
`)
      await eventually(async () => {
        const active = conditionsOf(await kit.get('hpa', 'idle')).find(
          ({ type }) => type === 'ScalingActive',
        )
        assert.equal(active?.reason, 'FailedGetResourceMetric')
        assert.match(
          active?.message ?? '',
          /missing request for memory in container c of Pod idle-/,
        )
      })
      // What the old version can't say stands in its annotations, and comes back from there.
      const before = await kit.get('hpa', 'idle')
      const old = await kit.kubectl('get horizontalpodautoscalers.v1.autoscaling idle -o yaml')
      assert.match(old, /autoscaling\.alpha\.kubernetes\.io\/metrics: .*targetAverageUtilization/)
      await kit.kubectl('replace -f -', old.replace('maxReplicas: 3', 'maxReplicas: 5'))
      const now = await kit.get('hpa', 'idle')
      assert.deepEqual(now.spec, { ...before.spec, maxReplicas: 5 })
      assert.equal(now.metadata.annotations?.['autoscaling.alpha.kubernetes.io/metrics'], undefined)
    })

    test('an eviction that a budget forbids is refused, and drain waits for it', async () => {
      await kit.kubectl('scale deploy/idle --replicas=2')
      await kit.kubectl('rollout status deploy/idle --timeout=8s')
      await kit.kubectl('create pdb idle --selector=app=idle --min-available=1')
      await eventually(async () =>
        assert.match(await kit.kubectl('get pdb idle'), /idle\s+1\s+N\/A\s+1\s/),
      )
      const [first = '', second = ''] = kit.kubelet.names('idle')
      kit.kubelet.holdDeletions = true
      const evict = (pod: string) =>
        kit.client.raw('POST', `/api/v1/namespaces/default/pods/${pod}/eviction`, {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name: pod, namespace: 'default' },
        })
      // Both at once: after the first alone its replacement may be ready before the second is asked.
      const outcomes = await Promise.all([evict(first), evict(second)])
      assert.deepEqual(
        outcomes.map(({ code }) => code).toSorted((left, right) => left - right),
        [201, 429],
      )
      const refused = outcomes.find(({ code }) => code === 429) ?? assert.fail()
      const evicted = outcomes[0]?.code === 201 ? first : second
      const status = JSON.parse(refused.body.toString()) as {
        message: string
        details: { causes: { reason: string; message: string }[] }
      }
      assert.equal(
        status.message,
        "Cannot evict pod as it would violate the pod's disruption budget.",
      )
      assert.equal(status.details.causes[0]?.reason, 'DisruptionBudget')
      assert.match(
        status.details.causes[0]?.message ?? '',
        /^The disruption budget idle needs 1 healthy pods and has \d currently$/,
      )
      const going = await kit.get('pod', evicted)
      assert.ok(conditionsOf(going).some(({ type }) => type === 'DisruptionTarget'))
      await kit.kubelet.release()
      await eventually(async () => {
        assert.equal((await kit.get('pdb', 'idle')).status?.['disruptionsAllowed'], 1)
        assert.equal(kit.kubelet.list('idle').length, 2)
      })
    })

    test('debug is refused with what to use instead', async () => {
      const [pod = ''] = kit.kubelet.names('idle')
      const outcome = await kit.harness.run(['debug', pod, '--image=busybox', '--', 'sh'])
      assert.notEqual(outcome.code, 0)
      assert.match(
        outcome.stderr,
        /ephemeral containers are not supported in standalone mode.*--copy-to/,
      )
      const proxy = await kit.harness.run([
        'get',
        '--raw',
        `/api/v1/nodes/${nodeName}/proxy/metrics`,
      ])
      assert.match(proxy.stderr, /nodes\/proxy is not supported in standalone mode/)
    })

    test('the proxy reaches a pod and a Service by plain HTTP, without the caller’s credentials', async () => {
      const seen: IncomingMessage['headers'][] = []
      const server = createServer((request, response) => {
        seen.push(request.headers)
        response.writeHead(request.url === '/missing' ? 404 : 200, { 'x-own': 'yes' })
        response.end(`${request.method} ${request.url}`)
      })
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
      const { port } = server.address() as AddressInfo
      try {
        await kit.apply(`
apiVersion: v1
kind: Service
metadata: {name: idle}
spec: {selector: {app: idle}, ports: [{name: http, port: 80, targetPort: ${port}}]}
`)
        const [pod = ''] = kit.kubelet.names('idle')
        const root = '/api/v1/namespaces/default'
        await eventually(async () =>
          assert.equal(
            await kit.kubectl(`get --raw ${root}/services/idle:http/proxy/a/b?c=d`),
            'GET /a/b?c=d',
          ),
        )
        assert.equal(await kit.kubectl(`get --raw ${root}/pods/${pod}:${port}/proxy/`), 'GET /')
        const missing = await kit.client.raw('GET', `${root}/services/http:idle:80/proxy/missing`)
        assert.equal(missing.code, 404)
        assert.equal(missing.headers['x-own'], 'yes')
        assert.ok(seen.every((headers) => headers.authorization === undefined))
        const tls = await kit.client.raw('GET', `${root}/services/https:idle:http/proxy/`)
        assert.equal(tls.code, 400)
        const nobody = await kit.client.raw('GET', `${root}/services/idle:99/proxy/`)
        assert.equal(nobody.code, 503)
      } finally {
        server.close()
      }
    })

    test('the registry tells about itself, to those who may ask', async () => {
      const text = await kit.kubectl('get --raw /metrics')
      assert.match(
        text,
        /apiserver_request_total\{verb="LIST",group="apps",version="v1",resource="deployments",subresource="",scope="cluster",component="apiserver",dry_run="",code="200"\} [1-9]/,
      )
      assert.match(
        text,
        /apiserver_request_duration_seconds_bucket\{verb="GET",[^}]*resource="pods"[^}]*le="60"\} [1-9]/,
      )
      assert.match(text, /apiserver_current_inflight_requests\{request_kind="readOnly"\} 1\n/)
      assert.match(
        text,
        /apiserver_longrunning_requests\{verb="WATCH",group="",version="v1",resource="pods",[^}]*\} [1-9]/,
      )
      assert.match(text, /apiserver_storage_objects\{resource="deployments.apps"\} 2\n/)
      assert.match(text, /process_resident_memory_bytes [1-9]\d{7}/)
      const anybody = await kit.harness.run(['get', '--raw', '/metrics', '--as=somebody'])
      assert.match(anybody.stderr, /User "somebody" cannot get path "\/metrics"/)
    })
  })
}
