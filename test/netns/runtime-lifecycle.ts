/** The life of pods: start, volumes, logs, probes, order, end, restart. Run by `runtime.test.ts`, once as root and once rootless. */
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { resources } from '../../src/kube/index.ts'
import {
  eventsOf,
  isReady,
  type PodBench,
  pod,
  shell,
  sleeper,
  until,
  untilPod,
} from './runtime-kit.ts'

export function lifecycleCases(bench: PodBench): void {
  const { create, reference, logsOf, exec, remove } = bench

  void test('a pod is scheduled, gets an address, runs, and goes when deleted', async () => {
    const began = performance.now()
    await create(pod('first', sleeper))
    const running = await untilPod(bench.client, 'first', isReady)
    const tookMs = performance.now() - began
    assert.ok(tookMs < 2_000, `${tookMs} ms`)
    process.stdout.write(`# pod start: ${Math.round(tookMs)} ms\n`)
    const { status } = running
    assert.equal(status?.phase, 'Running')
    assert.match(status?.podIP ?? '', /^10\.244\./)
    assert.equal(status?.qosClass, 'BestEffort')
    assert.deepEqual(
      new Set(status?.conditions?.filter((c) => c.status === 'True').map((c) => c.type)),
      new Set([
        'PodReadyToStartContainers',
        'Initialized',
        'Ready',
        'ContainersReady',
        'PodScheduled',
      ]),
    )
    const [container] = status?.containerStatuses ?? []
    assert.equal(container?.imageID, 'weft://busybox')
    assert.ok(container?.state.running)
    await remove('first')
    const reasons = await until('events', async () => {
      const events = (await eventsOf(bench.client, 'first')).map(({ reason }) => reason)
      return events.includes('Killing') ? events : undefined
    })
    for (const reason of ['Scheduled', 'Pulled', 'Created', 'Started', 'Killing']) {
      assert.ok(reasons.includes(reason), reason)
    }
  })

  void test('tokens, ConfigMaps, Secrets, fields and emptyDir are mounted, and changes arrive', async () => {
    const { client } = bench
    await client.create(resources.configmaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'settings', namespace: 'default' },
      data: { color: 'red', 'nested.txt': 'n' },
    } as never)
    await client.create(resources.secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'keys', namespace: 'default' },
      data: { key: Buffer.from('s3').toString('base64') },
    } as never)
    await create(
      pod('volumes', {
        initContainers: [
          {
            ...shell('prepare', 'echo from-init > /data/x'),
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          },
        ],
        containers: [
          {
            ...shell('main', 'exec sleep 1000'),
            env: [
              { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
              { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
              { name: 'ODD', value: 'it\'s $(COLOR) "and" `more`\nlines' },
            ],
            volumeMounts: [
              { name: 'settings', mountPath: '/etc/settings' },
              { name: 'settings', mountPath: '/tmp/one.txt', subPath: 'nested.txt' },
              { name: 'keys', mountPath: '/keys' },
              { name: 'data', mountPath: '/data' },
              { name: 'fields', mountPath: '/fields' },
              { name: 'share', mountPath: '/share', readOnly: true },
            ],
          },
        ],
        volumes: [
          { name: 'settings', configMap: { name: 'settings' } },
          { name: 'keys', secret: { secretName: 'keys', defaultMode: 0o400 } },
          { name: 'data', emptyDir: {} },
          { name: 'share', hostPath: { path: '/usr/share' } },
          {
            name: 'fields',
            downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] },
          },
        ],
      }),
    )
    const subject = await untilPod(client, 'volumes', isReady)
    const read = async (command: string): Promise<string> => (await exec(subject, command)).out
    assert.equal(
      await read('cat /etc/settings/color /keys/key /data/x /fields/name /tmp/one.txt'),
      'reds3from-init\nvolumesn',
    )
    assert.equal(
      await read('printf %s "$COLOR $IP $ODD"'),
      `red ${subject.status?.podIP} it's red "and" \`more\`\nlines`,
    )
    assert.equal((await exec(subject, 'echo x > /etc/settings/color')).code === 0, false)
    assert.equal((await exec(subject, 'touch /share/x')).code === 0, false)
    const token = await read('cat /var/run/secrets/kubernetes.io/serviceaccount/token')
    const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    assert.equal(payload['kubernetes.io'].pod.uid, subject.metadata.uid)
    assert.match(
      await read('cat /etc/resolv.conf'),
      /search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local\nnameserver 10\.96\.0\.10\noptions ndots:5/,
    )
    assert.match(await read('cat /etc/hosts'), new RegExp(`${subject.status?.podIP}\tvolumes`))
    await client.patch(resources.configmaps, 'default', 'settings', 'merge', {
      data: { color: 'blue' },
    })
    await until('the new content', async () =>
      (await read('cat /etc/settings/color')) === 'blue' ? true : undefined,
    )
    await remove('volumes')
  })

  void test('output is logged, codes come back, and a crashing container is started again', async () => {
    await create(
      pod('crasher', {
        containers: [
          shell(
            'main',
            'echo run; echo oops > /dev/stderr; echo because > /dev/termination-log; exit 3',
          ),
        ],
      }),
    )
    const subject = await untilPod(
      bench.client,
      'crasher',
      (p) => p.status?.containerStatuses?.[0]?.state.waiting?.reason === 'CrashLoopBackOff',
    )
    const [status] = subject.status?.containerStatuses ?? []
    assert.equal(status?.restartCount, 1)
    assert.equal(status?.lastState.terminated?.exitCode, 3)
    assert.equal(status?.lastState.terminated?.message, 'because\n')
    assert.deepEqual((await logsOf(subject)).split('\n').toSorted(), ['', 'oops', 'run'])
    assert.deepEqual((await logsOf(subject, true)).split('\n').toSorted(), ['', 'oops', 'run'])
    await remove('crasher')

    await create(pod('exec', sleeper))
    const target = await untilPod(bench.client, 'exec', isReady)
    assert.deepEqual(await exec(target, 'echo out; echo err >&2; exit 7'), {
      out: 'out\n',
      err: 'err\n',
      code: 7,
    })
    const big = await exec(target, 'head -c 3000000 /dev/zero | tr "\\0" x')
    assert.equal(big.out.length, 3_000_000)
    await assert.rejects(
      bench.runtime.backend.exec(
        { ...reference(target), uid: 'none' },
        { container: '', command: ['x'], stdin: false, tty: false },
      ),
      { code: 'POD_NOT_FOUND' },
    )
    await remove('exec')
  })

  void test('a terminal has a size, and input goes through', async () => {
    await create(pod('terminal', sleeper))
    const subject = await untilPod(bench.client, 'terminal', isReady)
    const session = await bench.runtime.backend.exec(reference(subject), {
      container: '',
      command: ['sh'],
      stdin: true,
      tty: true,
    })
    const output = text(session.stdout)
    session.stdin?.write('tty\n')
    await new Promise((resolve) => setTimeout(resolve, 200))
    session.resize(101, 42)
    await new Promise((resolve) => setTimeout(resolve, 300))
    session.stdin?.write('stty size; exit 5\n')
    const said = await output
    assert.match(said, /\/dev\/pts\/0/)
    assert.match(said, /42 101/)
    assert.equal(await session.exitCode, 5)
    await remove('terminal')
  })

  void test('probes decide readiness and restarts; they come from the probe address', async () => {
    const server = `require('http').createServer((q, r) => { console.log(q.socket.remoteAddress); r.statusCode = require('fs').existsSync('/tmp/bad') ? 500 : 200; r.end() }).listen(80)`
    await create(
      pod('probed', {
        containers: [
          {
            name: 'main',
            image: 'busybox',
            command: ['node', '-e', server],
            readinessProbe: { httpGet: { port: 80 }, periodSeconds: 1, failureThreshold: 1 },
            livenessProbe: {
              exec: { command: ['test', '!', '-e', '/tmp/dead'] },
              periodSeconds: 1,
              failureThreshold: 1,
            },
            startupProbe: { tcpSocket: { port: 80 }, periodSeconds: 1, failureThreshold: 10 },
          },
        ],
      }),
    )
    const subject = await untilPod(bench.client, 'probed', isReady)
    assert.match(await logsOf(subject), /169\.254\.7\.127/)
    await exec(subject, 'touch /tmp/bad')
    await untilPod(bench.client, 'probed', (p) => !isReady(p))
    await exec(subject, 'rm /tmp/bad; touch /tmp/dead')
    const again = await untilPod(
      bench.client,
      'probed',
      (p) => (p.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0 && isReady(p),
    )
    assert.equal(again.metadata.uid, subject.metadata.uid)
    const reasons = (await eventsOf(bench.client, 'probed')).map(({ reason }) => reason)
    assert.ok(reasons.includes('Unhealthy'))
    await remove('probed')
  })

  void test('init containers run in order, sidecars before and beside, and a job-like pod ends', async () => {
    await create(
      pod('ordered', {
        restartPolicy: 'Never',
        initContainers: [
          shell('one', 'echo one >> /w/log'),
          {
            ...shell(
              'side',
              'echo side >> /w/log; trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done',
            ),
            restartPolicy: 'Always',
          },
          shell('two', 'while ! grep -q side /w/log; do sleep 0.05; done; echo two >> /w/log'),
        ].map((container) => ({ ...container, volumeMounts: [{ name: 'w', mountPath: '/w' }] })),
        containers: [
          { ...shell('main', 'cat /w/log'), volumeMounts: [{ name: 'w', mountPath: '/w' }] },
        ],
        volumes: [{ name: 'w', emptyDir: { medium: 'Memory' } }],
      }),
    )
    const subject = await untilPod(bench.client, 'ordered', (p) => p.status?.phase === 'Succeeded')
    assert.equal(await logsOf(subject), 'one\nside\ntwo\n')
    assert.equal(await logsOf(subject, false, 'side'), 'bye\n')
    await remove('ordered')
  })

  void test('TERM is given its time, then KILL; force deletion does not wait', async () => {
    const stubborn = shell('main', 'trap "" TERM; while :; do sleep 0.1; done')
    await create(pod('stubborn', { containers: [stubborn] }))
    const subject = await untilPod(bench.client, 'stubborn', isReady)
    const began = performance.now()
    await remove('stubborn')
    const took = performance.now() - began
    assert.ok(took > 900 && took < 3_000, `${took} ms`)
    await assert.rejects(exec(subject, 'true'), { code: 'POD_NOT_FOUND' })
  })

  void test('port-forward reaches a server that listens on localhost only', async () => {
    const server = `require('net').createServer({ allowHalfOpen: true }, (s) => s.pipe(s)).listen(7000, '127.0.0.1')`
    await create(
      pod('echo', {
        containers: [
          {
            name: 'main',
            image: 'busybox',
            command: ['node', '-e', server],
            readinessProbe: {
              exec: { command: ['sh', '-c', 'grep -q 1B58 /proc/net/tcp'] },
              periodSeconds: 1,
            },
          },
        ],
      }),
    )
    const subject = await untilPod(bench.client, 'echo', isReady)
    const socket = await bench.runtime.backend.portForward(reference(subject), 7000)
    socket.end('ping')
    assert.equal(await text(socket), 'ping')
    await remove('echo')
  })

  void test('after a restart of the tree the pods run again as the same objects', async () => {
    await create(
      pod('survivor', {
        ...sleeper,
        containers: [
          {
            ...shell('main', 'echo up; exec sleep 1000'),
            volumeMounts: [{ name: 'w', mountPath: '/w' }],
          },
        ],
        volumes: [{ name: 'w', emptyDir: {} }],
      }),
    )
    await create(
      pod('once', { restartPolicy: 'Never', containers: [shell('main', 'exec sleep 1000')] }),
    )
    const before = await untilPod(bench.client, 'survivor', isReady)
    await untilPod(bench.client, 'once', isReady)
    await exec(before, 'echo kept > /w/x')
    await bench.restart()
    const again = await untilPod(
      bench.client,
      'survivor',
      (p) => isReady(p) && (p.status?.containerStatuses?.[0]?.restartCount ?? 0) === 1,
    )
    assert.equal(again.metadata.uid, before.metadata.uid)
    assert.equal(again.status?.containerStatuses?.[0]?.lastState.terminated?.exitCode, 255)
    assert.equal((await exec(again, 'cat /w/x')).out, 'kept\n')
    const once = await untilPod(bench.client, 'once', (p) => p.status?.phase === 'Failed')
    assert.equal(once.status?.containerStatuses?.[0]?.restartCount, 0)
    await remove('survivor', 'once')
  })
}
