/** What a workload can not do, and what it is told about it. Run by `runtime.test.ts`, once as root and once rootless. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { resources } from '../../src/kube/index.ts'
import type { Pod } from '../../src/standalone/runtime/types.ts'
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

export function isolationCases(bench: PodBench): void {
  const { create, logsOf, exec, remove } = bench

  void test('a workload has no capabilities, its own view of everything, and nothing of the machine', async () => {
    writeFileSync(join(bench.stateDir, 'kubeconfig'), 'secret')
    await create(pod('lonely', sleeper))
    await create(pod('other', sleeper))
    const subject = await untilPod(bench.client, 'lonely', isReady)
    const other = await untilPod(bench.client, 'other', isReady)
    const { out } = await exec(
      subject,
      'grep -E "^(Cap|NoNewPrivs|Uid|Groups)" /proc/self/status; ps -eo pid= | wc -l; hostname; ls /',
    )
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      assert.match(out, new RegExp(`${set}:\\s0{16}\\n`))
    }
    assert.match(out, /NoNewPrivs:\t1/)
    assert.match(out, bench.root ? /Uid:\t65534/ : /Uid:\t0/)
    assert.match(out, /lonely/)
    const processes = Number(/^\s*(\d+)$/m.exec(out)?.[1])
    assert.ok(processes <= 7, `sees ${processes} processes`)
    const forbidden = [
      `cat ${bench.stateDir}/kubeconfig`,
      `ls ${bench.stateDir}`,
      `ls /run/weft`,
      'cat /etc/shadow',
      'touch /usr/x',
      'touch /x',
      'ip link add v9 type veth peer name v10',
      'mount -t tmpfs none /tmp',
      'chroot / true',
      'kill -9 1; sleep 0.2; false',
      'nft list ruleset',
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'echo x > /dev/tty',
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

  void test('what can not be done is said: unknown image, missing ConfigMap, refused mounts, ignored settings', async () => {
    await create(pod('unknown', { containers: [{ name: 'main', image: 'ghcr.io/me/app:1' }] }))
    await untilPod(
      bench.client,
      'unknown',
      (p) => p.status?.containerStatuses?.[0]?.state.waiting?.reason === 'ImagePullBackOff',
    )
    const [event] = (await eventsOf(bench.client, 'unknown')).filter(
      ({ reason }) => reason === 'Failed',
    )
    assert.match(event?.message ?? '', /map it in weft\.yaml.*me\/app/)

    await create(
      pod('missing', {
        containers: [{ ...shell('main', 'true'), envFrom: [{ configMapRef: { name: 'nope' } }] }],
      }),
    )
    await untilPod(
      bench.client,
      'missing',
      (p) =>
        p.status?.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError',
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
      bench.client,
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
      (await eventsOf(bench.client, 'host')).find(({ message }) =>
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
    const greedy = await untilPod(bench.client, 'greedy', isReady)
    const said = await until('NotEnforced', async () => {
      const events = (await eventsOf(bench.client, 'greedy')).filter(
        ({ reason }) => reason === 'NotEnforced',
      )
      return events.length >= (bench.root ? 3 : 4)
        ? events.map(({ message }) => message).join('\n')
        : undefined
    })
    assert.match(said, /capabilities\.add: NET_ADMIN refused/)
    assert.match(said, /privileged is refused/)
    assert.match(said, /limits \(memory\) are not enforced/)
    if (bench.root) assert.equal((await exec(greedy, 'id -u')).out, '1000\n')
    else assert.match(said, /runAsUser 1000 is not honoured in rootless mode/)
    await remove('unknown', 'missing', 'shadow', 'host', 'greedy')
  })

  void test('a volume link can not lead a mount over the system’s programs', async () => {
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
    const subject = await untilPod(bench.client, 'linked', (p) => p.status?.phase === 'Failed')
    assert.match(
      subject.status?.containerStatuses?.[0]?.state.terminated?.message ?? '',
      /mounted over the system/,
    )
    await remove('linked')
  })

  void test('an init container may have NET_ADMIN in its own network, and only there', async () => {
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
    const subject = await untilPod(bench.client, 'rules', isReady)
    assert.match(await logsOf(subject, false, 'init'), /CapEff:\t0000000000003000/)
    await remove('rules')
  })

  void test('builtin containers have no process, and mesh pods keep what they need', async () => {
    const hostNetwork = true
    await create(
      pod('agent', { hostNetwork, containers: [{ name: 'main', image: 'istio/install-cni' }] }),
    )
    const agent = await untilPod(bench.client, 'agent', isReady)
    assert.equal(agent.status?.podIP, '10.244.0.1')
    assert.deepEqual(bench.builtinLog, ['start agent'])
    await remove('agent')
    assert.deepEqual(bench.builtinLog, ['start agent', 'stop agent'])

    const container = {
      name: 'main',
      image: 'istio/ztunnel',
      command: ['sh', '-c', 'grep CapEff /proc/self/status; ls /run/weft /run/weft/pods'],
    }
    await create(pod('impostor', { hostNetwork, restartPolicy: 'Never', containers: [container] }))
    const impostor = await untilPod(bench.client, 'impostor', (p) => p.status?.phase === 'Failed')
    assert.match(await logsOf(impostor), /CapEff:\t0{16}/)
    const system = pod('real', { hostNetwork, restartPolicy: 'Never', containers: [container] })
    system.metadata.namespace = 'istio-system'
    await until('the service account', async () =>
      bench.client.get(resources.serviceaccounts, 'istio-system', 'default'),
    )
    await bench.client.create(resources.pods, system)
    const real = await until('the mesh pod', async () => {
      const found = await bench.client.get<Pod>(resources.pods, 'istio-system', 'real')
      return found?.status?.phase === 'Failed' || found?.status?.phase === 'Succeeded'
        ? found
        : undefined
    })
    const said = await text(
      await bench.runtime.backend.logs(
        { namespace: 'istio-system', name: 'real', uid: real.metadata.uid ?? '' },
        { container: '', follow: false, previous: false, timestamps: false },
      ),
    )
    assert.match(said, /CapEff:\t0000000000203000/)
    assert.match(said, /netns/)
  })
}
