/** Jobs and CronJobs as kubectl and helm see them, with a test in the role of the kubelet. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  ControllersKit,
  conditionsOf,
  conditionTypes,
  eventually,
  type Loose,
} from './controllers-kit.ts'

const job = (name: string, spec: string, image = 'succeed:1', policy = 'Never'): string => `
apiVersion: batch/v1
kind: Job
metadata: {name: ${name}}
spec:
  ${spec}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      restartPolicy: ${policy}
      containers: [{name: c, image: '${image}'}]
`

describe('jobs', () => {
  let kit: ControllersKit

  before(async () => {
    kit = await ControllersKit.start()
  })
  after(async () => {
    await kit?.stop()
  })

  const statusOf = async (name: string): Promise<Record<string, unknown>> =>
    (await kit.get('job', name)).status ?? {}
  const finished = (name: string, type: string): Promise<Loose> =>
    eventually(async () => {
      const object = await kit.get('job', name)
      assert.ok(conditionTypes(object).includes(type), JSON.stringify(object.status))
      return object
    })

  test('a job runs its pods, at most so many at once, and is complete when enough succeeded', async () => {
    await kit.apply(job('three', 'completions: 3\n  parallelism: 2'))
    const waited = await kit.kubectl('wait --for=condition=complete job/three --timeout=10s')
    assert.match(waited, /condition met/)
    const object = await kit.get('job', 'three')
    assert.deepEqual(conditionTypes(object), ['SuccessCriteriaMet', 'Complete'])
    const { succeeded, active, ready, uncountedTerminatedPods, startTime, completionTime } =
      object.status ?? {}
    assert.deepEqual([succeeded, active, ready, uncountedTerminatedPods], [3, undefined, 0, {}])
    assert.ok(typeof startTime === 'string' && typeof completionTime === 'string')
    const pods = kit.kubelet.list('three')
    assert.equal(pods.length, 3)
    assert.ok(pods.every(({ metadata }) => metadata.finalizers === undefined))
    assert.match(await kit.kubectl('get job three'), /three\s+Complete\s+3\/3/)
    const events = await kit.events('three')
    assert.equal(events.filter((event) => event.startsWith('SuccessfulCreate')).length, 3)
    assert.ok(events.includes('Completed: Job completed'), events.join())
    await kit.kubectl('delete job three --timeout=10s')
    await eventually(() => assert.deepEqual(kit.kubelet.names('three'), []))
  })

  test('failed pods are replaced after growing pauses, until the limit fails the job', async () => {
    await kit.apply(job('bad', 'backoffLimit: 1', 'exit-3:1'))
    await eventually(async () => assert.equal((await statusOf('bad'))['failed'], 1))
    await kit.pass(5)
    assert.equal(kit.kubelet.list('bad').length, 1, 'the second pod came before its time')
    await kit.pass(6)
    const object = await finished('bad', 'Failed')
    assert.equal(object.status?.['failed'], 2)
    const [target, failed] = conditionsOf(object)
    assert.deepEqual([target?.type, failed?.type], ['FailureTarget', 'Failed'])
    assert.equal(failed?.reason, 'BackoffLimitExceeded')
    const wait = await kit.harness.run(['wait', '--for=condition=failed', 'job/bad'])
    assert.equal(wait.code, 0, wait.stderr)
  })

  test('an indexed job gives each pod its number, in its name, host name and environment', async () => {
    await kit.apply(job('idx', 'completions: 3\n  parallelism: 3\n  completionMode: Indexed'))
    const object = await finished('idx', 'Complete')
    assert.equal(object.status?.['completedIndexes'], '0-2')
    const pods = kit.kubelet.list('idx')
    assert.deepEqual(
      pods.map(({ spec }) => spec?.hostname),
      ['idx-0', 'idx-1', 'idx-2'],
    )
    assert.ok(pods.every(({ metadata, spec }) => metadata.name.startsWith(`${spec?.hostname}-`)))
    assert.equal(pods[1]?.metadata.annotations?.['batch.kubernetes.io/job-completion-index'], '1')
    assert.equal(pods[1]?.spec?.containers[0]?.env?.[0]?.name, 'JOB_COMPLETION_INDEX')
  })

  test('a suspended job has no pods and no start; resumed, it runs', async () => {
    await kit.apply(job('later', 'suspend: true'))
    await eventually(async () => {
      const object = await kit.get('job', 'later')
      assert.deepEqual(conditionTypes(object), ['Suspended'])
      assert.equal(object.status?.['startTime'], undefined)
    })
    assert.deepEqual(kit.kubelet.names('later'), [])
    await kit.kubectl('patch job later -p {"spec":{"suspend":false}}')
    await finished('later', 'Complete')
    const events = await kit.events('later')
    assert.ok(
      events.includes('Suspended: Job suspended') && events.includes('Resumed: Job resumed'),
    )
  })

  test('a job that is suspended while it works loses its pods without a failure', async () => {
    await kit.apply(job('pause', 'parallelism: 2\n  completions: 2', 'run:1'))
    await eventually(async () => assert.equal((await statusOf('pause'))['ready'], 2))
    await kit.kubectl('patch job pause -p {"spec":{"suspend":true}}')
    await eventually(async () => {
      assert.deepEqual(kit.kubelet.names('pause'), [])
      const { failed, active } = await statusOf('pause')
      assert.deepEqual([failed, active], [undefined, undefined])
    })
  })

  test('the deadline ends a job and its pods', async () => {
    await kit.apply(job('slow', 'activeDeadlineSeconds: 60', 'run:1'))
    await eventually(async () => assert.equal((await statusOf('slow'))['active'], 1))
    await kit.pass(62)
    const object = await finished('slow', 'Failed')
    assert.equal(conditionsOf(object).at(-1)?.reason, 'DeadlineExceeded')
    await eventually(() => assert.deepEqual(kit.kubelet.names('slow'), []))
  })

  test('a finished job with a time to live goes, and its pods with it', async () => {
    await kit.apply(job('short', 'ttlSecondsAfterFinished: 30'))
    await finished('short', 'Complete')
    await kit.pass(20)
    assert.ok(await kit.get('job', 'short'))
    await kit.pass(15)
    await eventually(async () => {
      assert.equal((await kit.harness.run(['get', 'job', 'short'])).code, 1)
      assert.deepEqual(kit.kubelet.names('short'), [])
    })
  })

  test('the failure policy decides by exit code', async () => {
    const rules = `backoffLimit: 6
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: c, operator: In, values: [42]}}`
    await kit.apply(job('policy', rules, 'exit-42:1'))
    const failed = conditionsOf(await finished('policy', 'Failed')).at(-1)
    assert.equal(failed?.reason, 'PodFailurePolicy')
    assert.match(
      failed?.message ?? '',
      /^Container c for pod default\/policy-\w+ failed with exit code 42 matching FailJob rule at index 0$/,
    )
  })

  test('limits by index let the other indexes finish', async () => {
    const spec = `completions: 2
  parallelism: 2
  completionMode: Indexed
  backoffLimitPerIndex: 0`
    await kit.apply(job('part', spec, 'wait:1'))
    const pods = await eventually(() => {
      const found = kit.kubelet.list('part').filter((pod) => pod.spec?.nodeName !== undefined)
      assert.equal(found.length, 2)
      return found
    })
    const set = (name: string | undefined, phase: string): Promise<string> =>
      kit.kubectl(`patch pod ${name} --subresource=status -p {"status":{"phase":"${phase}"}}`)
    await set(pods[0]?.metadata.name, 'Failed')
    await set(pods[1]?.metadata.name, 'Succeeded')
    const object = await finished('part', 'Failed')
    assert.equal(conditionsOf(object).at(-1)?.reason, 'FailedIndexes')
    assert.deepEqual(
      [object.status?.['completedIndexes'], object.status?.['failedIndexes']],
      ['1', '0'],
    )
  })

  test('a deleted job takes its running pods along', async () => {
    await kit.apply(job('gone', 'parallelism: 1', 'run:1'))
    await eventually(async () => assert.equal((await statusOf('gone'))['ready'], 1))
    await kit.kubectl('delete job gone --timeout=10s')
    await eventually(() => assert.deepEqual(kit.kubelet.names('gone'), []))
  })
})

const cron = (name: string, spec: string, image = 'succeed:1'): string => `
apiVersion: batch/v1
kind: CronJob
metadata: {name: ${name}}
spec:
  ${spec}
  jobTemplate:
    metadata: {labels: {cron: ${name}}}
    spec:
      template:
        metadata: {labels: {app: ${name}}}
        spec:
          restartPolicy: Never
          containers: [{name: c, image: '${image}'}]
`

describe('cron jobs', () => {
  let kit: ControllersKit

  before(async () => {
    kit = await ControllersKit.start('1.32')
  })
  after(async () => {
    await kit?.stop()
  })

  const jobsOf = async (name: string): Promise<Loose[]> =>
    (JSON.parse(await kit.kubectl(`get jobs -l cron=${name} -o json`)) as { items: Loose[] }).items
  /** To one second after the next full minute. */
  const nextMinute = async (): Promise<void> => {
    const left = 60 - (Math.floor(kit.clock.now() / 1000) % 60)
    await kit.pass(left + 1)
  }

  test('a cron job starts a job at its time, remembers when, and keeps a short history', async () => {
    await kit.apply(cron('tick', "schedule: '* * * * *'\n  successfulJobsHistoryLimit: 2"))
    await eventually(async () =>
      assert.match(
        await kit.kubectl('get cronjob tick'),
        /tick\s+\* \* \* \* \*\s+<none>\s+False\s+0\s+<none>/,
      ),
    )
    for (const count of [1, 2, 2]) {
      const before = (await jobsOf('tick')).map(({ metadata }) => metadata.name)
      await nextMinute()
      await eventually(async () => {
        const jobs = await jobsOf('tick')
        assert.ok(jobs.some(({ metadata }) => !before.includes(metadata.name)))
        assert.ok(jobs.every((one) => conditionTypes(one).includes('Complete')))
        assert.equal(jobs.length, count)
      })
    }
    const object = await kit.get('cronjob', 'tick')
    const minute = Math.floor(Date.parse(String(object.status?.['lastScheduleTime'])) / 60_000)
    const names = (await jobsOf('tick')).map(({ metadata }) => metadata.name)
    assert.ok(names.includes(`tick-${minute}`), `${names.join()} ${minute}`)
    assert.ok(object.status?.['lastSuccessfulTime'])
    const events = await kit.events('tick')
    assert.ok(events.includes(`SuccessfulCreate: Created job tick-${minute}`), events.join())
    assert.ok(
      events.some((event) => event.startsWith('SawCompletedJob')),
      events.join(),
    )
  })

  test('Forbid waits for the running job, Replace ends it', async () => {
    await kit.apply(cron('forbid', "schedule: '* * * * *'\n  concurrencyPolicy: Forbid", 'run:1'))
    await kit.apply(cron('replace', "schedule: '* * * * *'\n  concurrencyPolicy: Replace", 'run:1'))
    await nextMinute()
    const first = await eventually(async () => {
      const all = [...(await jobsOf('forbid')), ...(await jobsOf('replace'))]
      assert.equal(all.length, 2)
      return all.map(({ metadata }) => metadata.name)
    })
    await nextMinute()
    await eventually(async () => {
      const [forbid, replace] = [await jobsOf('forbid'), await jobsOf('replace')]
      assert.deepEqual([forbid.length, replace.length], [1, 1])
      assert.ok(first.includes(forbid[0]?.metadata.name ?? ''))
      assert.ok(!first.includes(replace[0]?.metadata.name ?? ''))
      assert.ok((await kit.events('forbid')).some((event) => event.startsWith('JobAlreadyActive')))
    })
    assert.match(
      await kit.kubectl('get cronjob forbid'),
      /forbid\s+\S+ \* \* \* \*\s+<none>\s+False\s+1\s/,
    )
  })

  test('a suspended cron job does nothing; a job can be made of it by hand', async () => {
    await kit.apply(cron('manual', "schedule: '@hourly'\n  suspend: true"))
    assert.match(
      await kit.kubectl('create job once --from=cronjob/manual'),
      /job.batch\/once created/,
    )
    await kit.kubectl('wait --for=condition=complete job/once --timeout=10s')
    const once = await kit.get('job', 'once')
    assert.equal(once.metadata.ownerReferences?.[0]?.name, 'manual')
    await kit.pass(3_700)
    assert.equal((await kit.get('cronjob', 'manual')).status?.['lastScheduleTime'], undefined)
  })
})
