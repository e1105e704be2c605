/** Run by `runtime.test.ts` inside a namespace tree, once as root and once rootless. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { resources } from '../../src/kube/index.ts'
import type { Pod } from '../../src/standalone/runtime/types.ts'
import {
  eventsOf,
  isReady,
  pod,
  shell,
  startNode,
  type TestNode,
  until,
  untilPod,
} from './runtime-kit.ts'

let node: TestNode
const builtinLog: string[] = []

before(async () => {
  node = await startNode(
    { allowHostPaths: ['/usr/share'] },
    {
      'node-agent': {
        start: async (subject) => void builtinLog.push(`start ${subject.metadata.name}`),
        stop: async (subject) => void builtinLog.push(`stop ${subject.metadata.name}`),
      },
    },
  )
})
after(() => node.stop())

async function create(subject: Pod): Promise<Pod> {
  return node.client.create(resources.pods, subject)
}

function reference(subject: Pod) {
  return { namespace: 'default', name: subject.metadata.name, uid: subject.metadata.uid ?? '' }
}

async function logsOf(subject: Pod, previous = false, container = ''): Promise<string> {
  const options = { container, follow: false, previous, timestamps: false }
  return text(await node.runtime.backend.logs(reference(subject), options))
}

async function exec(subject: Pod, script: string) {
  const session = await node.runtime.backend.exec(reference(subject), {
    container: '',
    command: ['sh', '-c', script],
    stdin: false,
    tty: false,
  })
  const [out, err] = await Promise.all([
    text(session.stdout),
    text(session.stderr ?? session.stdout),
  ])
  return { out, err, code: await session.exitCode }
}

async function remove(...names: string[]): Promise<void> {
  for (const name of names) await node.client.delete(resources.pods, 'default', name)
  for (const name of names) {
    await until(`end of ${name}`, async () =>
      (await node.client.get(resources.pods, 'default', name)) === undefined ? true : undefined,
    )
  }
}

const sleeper = { containers: [shell('main', 'exec sleep 1000')] }

test('a pod is scheduled, gets an address, runs, and goes when deleted', async () => {
  const began = performance.now()
  await create(pod('first', sleeper))
  const running = await untilPod(node.client, 'first', isReady)
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
    const events = (await eventsOf(node.client, 'first')).map(({ reason }) => reason)
    return events.includes('Killing') ? events : undefined
  })
  for (const reason of ['Scheduled', 'Pulled', 'Created', 'Started', 'Killing']) {
    assert.ok(reasons.includes(reason), reason)
  }
})

test('a workload has no capabilities, its own view of everything, and nothing of the machine', async () => {
  writeFileSync(join(node.stateDir, 'kubeconfig'), 'secret')
  await create(pod('lonely', sleeper))
  await create(pod('other', sleeper))
  const subject = await untilPod(node.client, 'lonely', isReady)
  const other = await untilPod(node.client, 'other', isReady)
  const { out } = await exec(
    subject,
    'grep -E "^(Cap|NoNewPrivs|Uid|Groups)" /proc/self/status; ps -eo pid= | wc -l; hostname; ls /',
  )
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.match(out, new RegExp(`${set}:\\s0{16}\\n`))
  }
  assert.match(out, /NoNewPrivs:\t1/)
  assert.match(out, node.root ? /Uid:\t65534/ : /Uid:\t0/)
  assert.match(out, /lonely/)
  const processes = Number(/^\s*(\d+)$/m.exec(out)?.[1])
  assert.ok(processes <= 7, `sees ${processes} processes`)
  const forbidden = [
    `cat ${node.stateDir}/kubeconfig`,
    `ls ${node.stateDir}`,
    `ls /run/weft`,
    'cat /etc/shadow',
    'touch /usr/x',
    'touch /x',
    'ip link add v9 type veth peer name v10',
    'mount -t tmpfs none /tmp',
    'chroot / true',
    'kill -9 1; sleep 0.2; false',
    'nft list ruleset',
    'unshare -n true && false',
    `find / -path /proc -prune -o -name ${other.metadata.uid} -print 2>/dev/null | grep .`,
    'ls /.vol',
  ]
  for (const command of forbidden) {
    const { code, out: said } = await exec(subject, command)
    assert.notEqual(code, 0, `${command}: ${said}`)
  }
  const mark = await exec(
    subject,
    `python3 -c "import socket; socket.socket().setsockopt(socket.SOL_SOCKET, 36, 0x539)" 2>&1`,
  )
  assert.match(mark.out, /Operation not permitted|not found/)
  await remove('lonely', 'other')
})

test('tokens, ConfigMaps, Secrets, fields and emptyDir are mounted, and changes arrive', async () => {
  const { client } = node
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

test('output is logged, codes come back, and a crashing container is started again', async () => {
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
    node.client,
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
  const target = await untilPod(node.client, 'exec', isReady)
  assert.deepEqual(await exec(target, 'echo out; echo err >&2; exit 7'), {
    out: 'out\n',
    err: 'err\n',
    code: 7,
  })
  const big = await exec(target, 'head -c 3000000 /dev/zero | tr "\\0" x')
  assert.equal(big.out.length, 3_000_000)
  await assert.rejects(
    node.runtime.backend.exec(
      { ...reference(target), uid: 'none' },
      { container: '', command: ['x'], stdin: false, tty: false },
    ),
    { code: 'POD_NOT_FOUND' },
  )
  await remove('exec')
})

test('a terminal has a size, and input goes through', async () => {
  await create(pod('terminal', sleeper))
  const subject = await untilPod(node.client, 'terminal', isReady)
  const session = await node.runtime.backend.exec(reference(subject), {
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

test('probes decide readiness and restarts; they come from the probe address', async () => {
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
  const subject = await untilPod(node.client, 'probed', isReady)
  assert.match(await logsOf(subject), /169\.254\.7\.127/)
  await exec(subject, 'touch /tmp/bad')
  await untilPod(node.client, 'probed', (p) => !isReady(p))
  await exec(subject, 'rm /tmp/bad; touch /tmp/dead')
  const again = await untilPod(
    node.client,
    'probed',
    (p) => (p.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0 && isReady(p),
  )
  assert.equal(again.metadata.uid, subject.metadata.uid)
  const reasons = (await eventsOf(node.client, 'probed')).map(({ reason }) => reason)
  assert.ok(reasons.includes('Unhealthy'))
  await remove('probed')
})

test('init containers run in order, sidecars before and beside, and a job-like pod ends', async () => {
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
  const subject = await untilPod(node.client, 'ordered', (p) => p.status?.phase === 'Succeeded')
  assert.equal(await logsOf(subject), 'one\nside\ntwo\n')
  assert.equal(await logsOf(subject, false, 'side'), 'bye\n')
  await remove('ordered')
})

test('what can not be done is said: unknown image, missing ConfigMap, refused mounts, ignored settings', async () => {
  await create(pod('unknown', { containers: [{ name: 'main', image: 'ghcr.io/me/app:1' }] }))
  await untilPod(
    node.client,
    'unknown',
    (p) => p.status?.containerStatuses?.[0]?.state.waiting?.reason === 'ImagePullBackOff',
  )
  const [event] = (await eventsOf(node.client, 'unknown')).filter(
    ({ reason }) => reason === 'Failed',
  )
  assert.match(event?.message ?? '', /map it in weft\.yaml.*me\/app/)

  await create(
    pod('missing', {
      containers: [{ ...shell('main', 'true'), envFrom: [{ configMapRef: { name: 'nope' } }] }],
    }),
  )
  await untilPod(
    node.client,
    'missing',
    (p) => p.status?.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError',
  )

  await create(
    pod('shadow', {
      containers: [
        { ...shell('main', 'true'), volumeMounts: [{ name: 'w', mountPath: '/usr/bin/' }] },
      ],
      volumes: [{ name: 'w', emptyDir: {} }],
    }),
  )
  const shadow = await untilPod(
    node.client,
    'shadow',
    (p) => p.status?.containerStatuses?.[0]?.state.waiting?.message !== undefined,
  )
  assert.match(
    shadow.status?.containerStatuses?.[0]?.state.waiting?.message ?? '',
    /mountPath \/usr\/bin\/ is the system/,
  )

  await create(
    pod('host', {
      containers: [{ ...shell('main', 'true'), volumeMounts: [{ name: 'w', mountPath: '/w' }] }],
      volumes: [{ name: 'w', hostPath: { path: '/etc' } }],
    }),
  )
  await until('FailedMount', async () =>
    (await eventsOf(node.client, 'host')).find(({ message }) =>
      message.includes('--allow-host-path'),
    ),
  )

  await create(
    pod('greedy', {
      containers: [
        {
          ...shell('main', 'exec sleep 1000'),
          resources: { limits: { memory: '64Mi' } },
          securityContext: {
            privileged: true,
            runAsUser: 1000,
            capabilities: { add: ['NET_ADMIN'] },
          },
        },
      ],
    }),
  )
  const greedy = await untilPod(node.client, 'greedy', isReady)
  const said = await until('NotEnforced', async () => {
    const events = (await eventsOf(node.client, 'greedy')).filter(
      ({ reason }) => reason === 'NotEnforced',
    )
    return events.length >= (node.root ? 3 : 4)
      ? events.map(({ message }) => message).join('\n')
      : undefined
  })
  assert.match(said, /capabilities\.add: NET_ADMIN refused/)
  assert.match(said, /privileged is refused/)
  assert.match(said, /limits \(memory\) are not enforced/)
  if (node.root) assert.equal((await exec(greedy, 'id -u')).out, '1000\n')
  else assert.match(said, /runAsUser 1000 is not honoured in rootless mode/)
  await remove('unknown', 'missing', 'shadow', 'host', 'greedy')
})

test('a volume link can not lead a mount over the system’s programs', async () => {
  const volumeMounts = [
    { name: 'w', mountPath: '/w' },
    { name: 'evil', mountPath: '/w/link' },
  ]
  await create(
    pod('linked', {
      restartPolicy: 'Never',
      initContainers: [
        { ...shell('plant', 'ln -s /usr/bin /w/link'), volumeMounts: volumeMounts.slice(0, 1) },
      ],
      containers: [{ ...shell('main', 'echo never'), volumeMounts }],
      volumes: [
        { name: 'w', emptyDir: {} },
        { name: 'evil', emptyDir: {} },
      ],
    }),
  )
  const subject = await untilPod(node.client, 'linked', (p) => p.status?.phase === 'Failed')
  assert.match(
    subject.status?.containerStatuses?.[0]?.state.terminated?.message ?? '',
    /mounted over the system/,
  )
  await remove('linked')
})

test('an init container may have NET_ADMIN in its own network, and only there', async () => {
  await create(
    pod('rules', {
      initContainers: [
        {
          ...shell(
            'init',
            'ip link add v7 type veth peer name v8 && grep CapEff /proc/self/status',
          ),
          securityContext: { capabilities: { add: ['NET_ADMIN', 'NET_RAW'] } },
        },
      ],
      containers: [shell('main', 'ip link show v7 && exec sleep 1000')],
    }),
  )
  const subject = await untilPod(node.client, 'rules', isReady)
  assert.match(await logsOf(subject, false, 'init'), /CapEff:\t0000000000003000/)
  await remove('rules')
})

test('builtin containers have no process, and mesh pods keep what they need', async () => {
  const hostNetwork = true
  await create(
    pod('agent', { hostNetwork, containers: [{ name: 'main', image: 'istio/install-cni' }] }),
  )
  const agent = await untilPod(node.client, 'agent', isReady)
  assert.equal(agent.status?.podIP, '10.244.0.1')
  assert.deepEqual(builtinLog, ['start agent'])
  await remove('agent')
  assert.deepEqual(builtinLog, ['start agent', 'stop agent'])

  const container = {
    name: 'main',
    image: 'istio/ztunnel',
    command: ['sh', '-c', 'grep CapEff /proc/self/status; ls /run/weft /run/weft/pods'],
  }
  await create(pod('impostor', { hostNetwork, restartPolicy: 'Never', containers: [container] }))
  const impostor = await untilPod(node.client, 'impostor', (p) => p.status?.phase === 'Failed')
  assert.match(await logsOf(impostor), /CapEff:\t0{16}/)
  const system = pod('real', { hostNetwork, restartPolicy: 'Never', containers: [container] })
  system.metadata.namespace = 'istio-system'
  await until('the service account', async () =>
    node.client.get(resources.serviceaccounts, 'istio-system', 'default'),
  )
  await node.client.create(resources.pods, system)
  const real = await until('the mesh pod', async () => {
    const found = await node.client.get<Pod>(resources.pods, 'istio-system', 'real')
    return found?.status?.phase === 'Failed' || found?.status?.phase === 'Succeeded'
      ? found
      : undefined
  })
  const said = await text(
    await node.runtime.backend.logs(
      { namespace: 'istio-system', name: 'real', uid: real.metadata.uid ?? '' },
      { container: '', follow: false, previous: false, timestamps: false },
    ),
  )
  assert.match(said, /CapEff:\t0000000000203000/)
  assert.match(said, /netns/)
})

test('TERM is given its time, then KILL; force deletion does not wait', async () => {
  const stubborn = shell('main', 'trap "" TERM; while :; do sleep 0.1; done')
  await create(pod('stubborn', { containers: [stubborn] }))
  const subject = await untilPod(node.client, 'stubborn', isReady)
  const began = performance.now()
  await remove('stubborn')
  const took = performance.now() - began
  assert.ok(took > 900 && took < 3_000, `${took} ms`)
  await assert.rejects(exec(subject, 'true'), { code: 'POD_NOT_FOUND' })
})

test('port-forward reaches a server that listens on localhost only', async () => {
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
  const subject = await untilPod(node.client, 'echo', isReady)
  const socket = await node.runtime.backend.portForward(reference(subject), 7000)
  socket.end('ping')
  assert.equal(await text(socket), 'ping')
  await remove('echo')
})

test('after a restart of the tree the pods run again as the same objects', async () => {
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
  const before = await untilPod(node.client, 'survivor', isReady)
  await untilPod(node.client, 'once', isReady)
  await exec(before, 'echo kept > /w/x')
  await node.restart()
  const again = await untilPod(
    node.client,
    'survivor',
    (p) => isReady(p) && (p.status?.containerStatuses?.[0]?.restartCount ?? 0) === 1,
  )
  assert.equal(again.metadata.uid, before.metadata.uid)
  assert.equal(again.status?.containerStatuses?.[0]?.lastState.terminated?.exitCode, 255)
  assert.equal((await exec(again, 'cat /w/x')).out, 'kept\n')
  const once = await untilPod(node.client, 'once', (p) => p.status?.phase === 'Failed')
  assert.equal(once.status?.containerStatuses?.[0]?.restartCount, 0)
  await remove('survivor', 'once')
})
