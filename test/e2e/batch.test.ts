/** Jobs, StatefulSets, autoscaled load and `kubectl top` on a real mesh, with real processes behind the pods. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { cannotRun, eventually, Mesh, root } from './mesh.ts'

const shell = (script: string): string =>
  `{name: c, image: busybox, command: ["sh", "-c", ${JSON.stringify(script)}]}`

describe('batch and stateful workloads', { skip: cannotRun() }, () => {
  let mesh: Mesh

  before(async () => {
    mesh = await Mesh.up({ sample: 'none', user: 'nobody' })
    await mesh.kubectlOk('apply', '-f', `${root}/samples/sleep/sleep.yaml`)
    await mesh.kubectlOk('rollout', 'status', 'deploy/sleep', '--timeout=30s')
  })
  after(async () => {
    await mesh?.stop()
  })

  test('an indexed job runs to its end, and each pod knew its number', async () => {
    await mesh.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: count}
spec:
  completions: 2
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - ${shell('echo index $JOB_COMPLETION_INDEX of $HOSTNAME')}
`)
    await mesh.kubectlOk('wait', '--for=condition=complete', 'job/count', '--timeout=30s')
    const logs = await mesh.kubectlOk('logs', '-l', 'job-name=count', '--prefix=false')
    assert.deepEqual(logs.trim().split('\n').toSorted(), [
      'index 0 of count-0',
      'index 1 of count-1',
    ])
    const events = await mesh.kubectlOk('get', 'events', '-o', 'wide')
    assert.match(events, /Started\s+pod\/count-0-\w+\s+spec\.containers\{c\}\s+kubelet/)
    await mesh.kubectlOk('delete', 'job', 'count', '--timeout=20s')
    assert.equal(await mesh.kubectlOk('get', 'pods', '-l', 'job-name=count', '-o', 'name'), '')
  })

  test('a job that is deleted while it runs leaves no pod behind', async () => {
    await mesh.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: endless}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 1
      containers:
      - ${shell('sleep 1000')}
`)
    await mesh.kubectlOk('wait', '--for=jsonpath={.status.ready}=1', 'job/endless', '--timeout=20s')
    await mesh.kubectlOk('delete', 'job', 'endless', '--timeout=20s')
    await eventually(async () =>
      assert.equal(await mesh.kubectlOk('get', 'pods', '-l', 'job-name=endless', '-o', 'name'), ''),
    )
  })

  test('the pods of a stateful set have names in DNS that stay when they are replaced', async () => {
    await mesh.apply(`
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: mccutchen/go-httpbin
        readinessProbe: {periodSeconds: 1, httpGet: {path: /get, port: 8080}}
`)
    await mesh.kubectlOk('rollout', 'status', 'sts/db', '--timeout=30s')
    const ask = async (index: number): Promise<void> => {
      const host = `db-${index}.db.default.svc.cluster.local`
      const line = `curl -sS -m 5 -o /dev/null -w '%{http_code} %{remote_ip}' http://${host}:8080/get`
      await eventually(async () => {
        const ran = await mesh.exec('default', 'deploy/sleep', line)
        const ip = await mesh.kubectlOk(
          'get',
          'pod',
          `db-${index}`,
          '-o',
          'jsonpath={.status.podIP}',
        )
        assert.equal(ran.stdout, `200 ${ip}`, ran.stderr)
      })
    }
    await ask(0)
    await ask(1)
    const own = await mesh.exec('default', 'pod/db-1', 'hostname')
    assert.equal(own.stdout.trim(), 'db-1')
    await mesh.kubectlOk('delete', 'pod', 'db-1', '--timeout=20s')
    await mesh.kubectlOk('rollout', 'status', 'sts/db', '--timeout=30s')
    await ask(1)
  })

  test('top shows who keeps the processor busy', async () => {
    await mesh.apply(`
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - ${shell('while :; do :; done')}
`)
    await mesh.kubectlOk('wait', '--for=condition=ready', 'pod/busy', '--timeout=20s')
    await eventually(async () => {
      const text = await mesh.kubectlOk('top', 'pods', '--containers')
      const cpu = (pod: string): number =>
        Number(new RegExp(`^${pod}\\S*\\s+\\S+\\s+(\\d+)m`, 'm').exec(text)?.[1] ?? -1)
      // On a machine shared with others it does not get a whole processor.
      assert.ok(cpu('busy') >= 150, text)
      assert.ok(cpu('sleep') >= 0 && cpu('sleep') < cpu('busy') / 3, text)
      assert.match(text, /^db-0\s+db\s+\d+m\s+[1-9]\d*Mi/m)
    })
    const node = await mesh.kubectlOk('top', 'nodes')
    const used = Number(/^\S+\s+(\d+)m/m.exec(node.split('\n')[1] ?? '')?.[1] ?? 0)
    assert.ok(used >= 150, node)
    await mesh.kubectlOk('delete', 'pod', 'busy', '--timeout=20s')
  })
})
