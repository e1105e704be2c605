/** StatefulSets, DaemonSets, Deployments and budgets through kubectl, with a test in the role of the kubelet. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { ControllersKit, conditionsOf, eventually, type Loose } from './controllers-kit.ts'

const template = (app: string, image: string): string => `template:
    metadata: {labels: {app: ${app}}}
    spec: {containers: [{name: c, image: '${image}'}]}`

const workload = (kind: string, name: string, spec: string, image = 'run:1'): string => `
apiVersion: apps/v1
kind: ${kind}
metadata: {name: ${name}}
spec:
  selector: {matchLabels: {app: ${name}}}
  ${spec}
  ${template(name, image)}
`

const setImage = (image: string): string =>
  `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"${image}"}]}}}}`

describe('stateful sets', () => {
  let kit: ControllersKit

  before(async () => {
    kit = await ControllersKit.start()
  })
  after(async () => {
    await kit?.stop()
  })

  const stateful = (name: string, spec: string, image = 'run:1'): string =>
    workload('StatefulSet', name, `serviceName: ${name}\n  ${spec}`, image)

  test('pods come one after the other, and go in the opposite order', async () => {
    await kit.apply(stateful('web', 'replicas: 3', 'slow:1'))
    for (const index of [0, 1, 2]) {
      const pod = await eventually(() => {
        const found = kit.kubelet.list('web')
        assert.equal(found.length, index + 1)
        const newest = found[index]
        assert.equal(newest?.status?.phase, 'Running')
        return newest
      })
      assert.equal(pod.metadata.name, `web-${index}`)
      assert.deepEqual([pod.spec?.hostname, pod.spec?.subdomain], [`web-${index}`, 'web'])
      assert.equal(pod.metadata.labels?.['apps.kubernetes.io/pod-index'], String(index))
      await kit.kubelet.setReady(pod, true)
    }
    assert.match(
      await kit.kubectl('rollout status sts/web --timeout=5s'),
      /roll out complete: 3 new pods/,
    )
    await kit.kubectl('scale sts/web --replicas=1')
    await eventually(() => assert.deepEqual(kit.kubelet.names('web'), ['web-0']))
    const gone = kit.kubelet.history.filter((entry) => entry.startsWith('-web'))
    assert.deepEqual(gone, ['-web-2', '-web-1'])
    const events = await kit.events('web')
    assert.ok(events.includes('SuccessfulCreate: create Pod web-0 in StatefulSet web successful'))
    assert.ok(events.includes('SuccessfulDelete: delete Pod web-2 in StatefulSet web successful'))
  })

  test('Parallel does not wait, and a deleted pod comes back under its name', async () => {
    await kit.apply(stateful('par', 'replicas: 3\n  podManagementPolicy: Parallel', 'slow:1'))
    const pods = await eventually(() => {
      const found = kit.kubelet.list('par')
      assert.equal(found.length, 3)
      return found
    })
    const uid = pods[1]?.metadata.uid
    await kit.kubectl('delete pod par-1 --timeout=5s')
    await eventually(() => {
      const again = kit.kubelet.list('par')[1]
      assert.equal(again?.metadata.name, 'par-1')
      assert.notEqual(again?.metadata.uid, uid)
    })
  })

  test('an update goes from the last pod to the partition, and is kept as a revision', async () => {
    const spec = 'replicas: 3\n  updateStrategy: {rollingUpdate: {partition: 2}}'
    await kit.apply(stateful('roll', spec))
    await kit.kubectl('rollout status sts/roll --timeout=5s')
    await kit.kubectl(`patch sts roll -p ${setImage('run:2')}`)
    await eventually(async () => {
      assert.deepEqual(kit.kubelet.images('roll'), ['run:1', 'run:1', 'run:2'])
      const { status } = await kit.get('sts', 'roll')
      assert.deepEqual([status?.['currentReplicas'], status?.['updatedReplicas']], [2, 1])
      assert.notEqual(status?.['currentRevision'], status?.['updateRevision'])
    })
    // A pod below the partition comes back as it was.
    await kit.kubectl('delete pod roll-0 --timeout=5s')
    await eventually(() =>
      assert.deepEqual(kit.kubelet.images('roll'), ['run:1', 'run:1', 'run:2']),
    )
    await kit.kubectl(
      'patch sts roll -p {"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}',
    )
    await kit.kubectl('rollout status sts/roll --timeout=8s')
    assert.deepEqual(kit.kubelet.images('roll'), ['run:2', 'run:2', 'run:2'])
    assert.match(await kit.kubectl('rollout history sts/roll'), /1\s+<none>\n2\s+<none>/)
    await kit.kubectl('rollout undo sts/roll')
    await eventually(() =>
      assert.deepEqual(kit.kubelet.images('roll'), ['run:1', 'run:1', 'run:1']),
    )
    await kit.kubectl('rollout status sts/roll --timeout=5s')
    assert.match(await kit.kubectl('rollout history sts/roll'), /2\s+<none>\n3\s+<none>/)
  })

  test('OnDelete updates a pod when somebody deletes it', async () => {
    await kit.apply(stateful('hand', 'replicas: 2\n  updateStrategy: {type: OnDelete}'))
    await eventually(() => assert.equal(kit.kubelet.list('hand').length, 2))
    await kit.kubectl(`patch sts hand -p ${setImage('run:2')}`)
    await new Promise((done) => setTimeout(done, 200))
    assert.deepEqual(kit.kubelet.images('hand'), ['run:1', 'run:1'])
    await kit.kubectl('delete pod hand-0 --timeout=5s')
    await eventually(() => assert.deepEqual(kit.kubelet.images('hand'), ['run:2', 'run:1']))
  })

  test('claims are made for each pod, outlive it, and say why they stay Pending', async () => {
    const claims = `replicas: 1
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`
    await kit.apply(stateful('disk', claims))
    const [pod] = await eventually(() => {
      const found = kit.kubelet.list('disk')
      assert.equal(found.length, 1)
      return found
    })
    const volume = pod?.spec?.volumes?.find(({ name }) => name === 'data')
    assert.equal(volume?.persistentVolumeClaim?.claimName, 'data-disk-0')
    assert.match(await kit.kubectl('get pvc data-disk-0'), /data-disk-0\s+Pending/)
    await eventually(async () =>
      assert.match((await kit.events('data-disk-0')).join(), /ProvisioningUnavailable: .*emptyDir/),
    )
    await kit.kubectl('delete sts disk --timeout=5s')
    await eventually(() => assert.deepEqual(kit.kubelet.names('disk'), []))
    assert.match(await kit.kubectl('get pvc data-disk-0'), /Pending/)
  })

  test('pods left behind by an orphaning deletion are taken up again by the next set', async () => {
    await kit.apply(stateful('adopt', 'replicas: 2'))
    await kit.kubectl('rollout status sts/adopt --timeout=5s')
    const uids = kit.kubelet.list('adopt').map(({ metadata }) => metadata.uid)
    await kit.kubectl('delete sts adopt --cascade=orphan --timeout=5s')
    assert.equal(kit.kubelet.list('adopt')[0]?.metadata.ownerReferences, undefined)
    await kit.apply(stateful('adopt', 'replicas: 2'))
    await kit.kubectl('rollout status sts/adopt --timeout=5s')
    const again = kit.kubelet.list('adopt')
    assert.deepEqual(
      again.map(({ metadata }) => metadata.uid),
      uids,
    )
    assert.equal(again[0]?.metadata.ownerReferences?.[0]?.name, 'adopt')
  })
})

for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) {
  describe(`rollouts with kubectl ${version}`, () => {
    let kit: ControllersKit

    before(async () => {
      kit = await ControllersKit.start(version)
    })
    after(async () => {
      await kit?.stop()
    })

    test('a surging daemon set starts the new pod before the old one stops', async () => {
      const surge = 'updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}'
      await kit.apply(workload('DaemonSet', 'agent', surge))
      await kit.kubectl('rollout status ds/agent --timeout=5s')
      const [old] = kit.kubelet.list('agent')
      assert.ok(old)
      await kit.kubectl(`patch ds agent -p ${setImage('slow:2')}`)
      const fresh = await eventually(() => {
        const found = kit.kubelet.list('agent').find((pod) => pod.metadata.uid !== old.metadata.uid)
        assert.equal(found?.status?.phase, 'Running')
        return found
      })
      const present = kit.kubelet.list('agent')
      assert.equal(present.length, 2)
      assert.ok(present.every(({ metadata }) => metadata.deletionTimestamp === undefined))
      await kit.kubelet.setReady(fresh, true)
      await kit.kubectl('rollout status ds/agent --timeout=5s')
      await eventually(() => assert.deepEqual(kit.kubelet.names('agent'), [fresh.metadata.name]))
      assert.match(await kit.kubectl('get ds agent'), /agent\s+1\s+1\s+1\s+1\s+1\s+<none>/)
    })

    test('without surge the old pod is gone before the new one comes; undo brings the template back', async () => {
      await kit.apply(workload('DaemonSet', 'plain', 'updateStrategy: {type: RollingUpdate}'))
      await kit.kubectl('rollout status ds/plain --timeout=5s')
      const [old] = kit.kubelet.names('plain')
      await kit.kubectl(`patch ds plain -p ${setImage('run:2')}`)
      await eventually(() => assert.deepEqual(kit.kubelet.images('plain'), ['run:2']))
      const own = kit.kubelet.history.filter((entry) => entry.includes('plain-'))
      assert.deepEqual(own.slice(0, 2), [`+${old}`, `-${old}`])
      await kit.kubectl('rollout status ds/plain --timeout=5s')
      assert.match(await kit.kubectl('rollout history ds/plain'), /1\s+<none>\n2\s+<none>/)
      assert.match(await kit.kubectl('rollout history ds/plain --revision=1'), /Image:\s+run:1/)
      await kit.kubectl('rollout undo ds/plain')
      await eventually(() => assert.deepEqual(kit.kubelet.images('plain'), ['run:1']))
      await kit.kubectl('rollout restart ds/plain')
      await kit.kubectl('rollout status ds/plain --timeout=5s')
      assert.match(
        await kit.kubectl('rollout history ds/plain'),
        /2\s+<none>\n3\s+<none>\n4\s+<none>/,
      )
    })

    test('a deployment keeps its history: undo, undo to a revision, restart, change cause', async () => {
      await kit.apply(workload('Deployment', 'web', 'replicas: 2'))
      await kit.kubectl('annotate deploy/web kubernetes.io/change-cause=first')
      await kit.kubectl('rollout status deploy/web --timeout=5s')
      for (const image of ['run:2', 'run:3']) {
        await kit.kubectl(`set image deploy/web c=${image}`)
        await kit.kubectl('rollout status deploy/web --timeout=5s')
      }
      assert.match(
        await kit.kubectl('rollout history deploy/web'),
        /1\s+first\n2\s+first\n3\s+first/,
      )
      await kit.kubectl('rollout undo deploy/web')
      await kit.kubectl('rollout status deploy/web --timeout=5s')
      assert.deepEqual(kit.kubelet.images('web'), ['run:2', 'run:2'])
      await kit.kubectl('rollout undo deploy/web --to-revision=1')
      await kit.kubectl('rollout status deploy/web --timeout=5s')
      assert.deepEqual(kit.kubelet.images('web'), ['run:1', 'run:1'])
      assert.match(
        await kit.kubectl('rollout history deploy/web'),
        /3\s+first\n4\s+first\n5\s+first/,
      )
      await kit.kubectl('rollout restart deploy/web')
      await kit.kubectl('rollout status deploy/web --timeout=5s')
      const sets = JSON.parse(await kit.kubectl('get rs -l app=web -o json')) as { items: Loose[] }
      assert.equal(sets.items.length, 4)
    })

    test('a paused deployment follows its scale but not its template', async () => {
      await kit.apply(workload('Deployment', 'still', 'replicas: 2'))
      await kit.kubectl('rollout status deploy/still --timeout=5s')
      await kit.kubectl('rollout pause deploy/still')
      await kit.kubectl('set image deploy/still c=run:2')
      await kit.kubectl('scale deploy/still --replicas=3')
      await eventually(async () => {
        assert.deepEqual(kit.kubelet.images('still'), ['run:1', 'run:1', 'run:1'])
        const progressing = conditionsOf(await kit.get('deploy', 'still')).find(
          ({ type }) => type === 'Progressing',
        )
        assert.equal(progressing?.reason, 'DeploymentPaused')
      })
      await kit.kubectl('rollout resume deploy/still')
      await kit.kubectl('rollout status deploy/still --timeout=5s')
      assert.deepEqual(kit.kubelet.images('still'), ['run:2', 'run:2', 'run:2'])
    })
  })
}

describe('deployments and budgets', () => {
  let kit: ControllersKit

  before(async () => {
    kit = await ControllersKit.start()
  })
  after(async () => {
    await kit?.stop()
  })

  test('Recreate waits until the last old pod is gone', async () => {
    await kit.apply(workload('Deployment', 're', 'replicas: 2\n  strategy: {type: Recreate}'))
    await kit.kubectl('rollout status deploy/re --timeout=5s')
    kit.kubelet.holdDeletions = true
    await kit.kubectl('set image deploy/re c=run:2')
    await eventually(() =>
      assert.ok(kit.kubelet.list('re').every(({ metadata }) => metadata.deletionTimestamp)),
    )
    await new Promise((done) => setTimeout(done, 200))
    assert.deepEqual(kit.kubelet.images('re'), ['run:1', 'run:1'])
    await kit.kubelet.release()
    await kit.kubectl('rollout status deploy/re --timeout=5s')
    assert.deepEqual(kit.kubelet.images('re'), ['run:2', 'run:2'])
  })

  test('a rollout that makes no progress says so after its deadline', async () => {
    await kit.apply(workload('Deployment', 'stuck', 'progressDeadlineSeconds: 30', 'slow:1'))
    await eventually(async () =>
      assert.equal((await kit.get('deploy', 'stuck')).status?.['updatedReplicas'], 1),
    )
    await kit.pass(40)
    const outcome = await kit.harness.run(['rollout', 'status', 'deploy/stuck', '--timeout=5s'])
    assert.match(outcome.stderr, /exceeded its progress deadline/)
  })

  test('why pods cannot be made stands on the deployment', async () => {
    const spec = workload('Deployment', 'nobody', 'replicas: 1')
    await kit.apply(spec.replace('containers:', 'serviceAccountName: missing, containers:'))
    await eventually(async () => {
      const failure = conditionsOf(await kit.get('deploy', 'nobody')).find(
        ({ type }) => type === 'ReplicaFailure',
      )
      assert.match(failure?.message ?? '', /serviceaccount "missing" not found/)
    })
    await kit.kubectl('create serviceaccount missing')
    await kit.kubectl('delete rs -l app=nobody')
    await kit.kubectl('rollout status deploy/nobody --timeout=8s')
  })

  test('a pod whose label is changed leaves its set, which replaces it', async () => {
    await kit.apply(workload('Deployment', 'free', 'replicas: 1'))
    await kit.kubectl('rollout status deploy/free --timeout=5s')
    const [name = ''] = kit.kubelet.names('free')
    await kit.kubectl(`label pod ${name} app=debug --overwrite`)
    await eventually(() => {
      assert.equal(kit.kubelet.list('debug')[0]?.metadata.ownerReferences, undefined)
      assert.equal(kit.kubelet.list('free').length, 1)
    })
    await kit.kubectl(`delete pod ${name} --timeout=5s`)
  })

  test('events are gone an hour after they were written last', async () => {
    const count = async (): Promise<number> =>
      (await kit.kubectl('get events --no-headers')).split('\n').filter(Boolean).length
    await eventually(async () => assert.ok((await count()) > 5))
    await kit.pass(3_590)
    await kit.kubectl('scale deploy/re --replicas=3')
    await eventually(() => assert.equal(kit.kubelet.list('re').length, 3))
    assert.ok((await count()) > 5)
    await kit.pass(15)
    await eventually(async () => {
      const text = await kit.kubectl('get events --no-headers')
      assert.match(text, /Scaled up replica set re-/)
      assert.doesNotMatch(text, /free/)
    })
  })
})
