import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Pod } from '../workload-types.ts'
import { formatIndexes, parseIndexes } from './indexes.ts'
import { outcomeOf, pendingIndexes, surplusPods, viewJob, wantedActive } from './plan.ts'
import { indexLabel, type Job, type JobSpec, trackingFinalizer } from './types.ts'

const now = Date.UTC(2026, 0, 1)

const job = (spec: Partial<JobSpec>, status: Job['status'] = {}): Job => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'j', uid: 'u' },
  spec: { template: { spec: { restartPolicy: 'Never' } }, backoffLimit: 2, ...spec },
  status,
})

let serial = 0
const pod = (
  phase: string,
  more: { index?: number; deleted?: boolean; tracked?: boolean } = {},
): Pod => {
  const { index, deleted = false, tracked = true } = more
  const name = `p${serial++}`
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      uid: name,
      creationTimestamp: `2026-01-01T00:00:${String(serial % 60).padStart(2, '0')}Z`,
      ...(tracked ? { finalizers: [trackingFinalizer] } : {}),
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
      ...(index === undefined ? {} : { labels: { [indexLabel]: String(index) } }),
    },
    status: { phase },
  }
}

const none = new Set<string>()

test('sets of indexes are written as ranges, and read back', () => {
  assert.equal(formatIndexes(new Set([7, 0, 3, 2, 4, 8])), '0,2-4,7,8')
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(200)), (indexes) => {
      const set = new Set(indexes)
      assert.deepEqual(
        [...parseIndexes(formatIndexes(set), 201)].toSorted((a, b) => a - b),
        indexes.toSorted((a, b) => a - b),
      )
    }),
  )
})

test('an ended pod counts once: not again without its finalizer, nor while it is in the status', () => {
  const ended = pod('Succeeded')
  const uid = ended.metadata.uid ?? ''
  const counted = pod('Succeeded', { tracked: false })
  const status = { succeeded: 1, uncountedTerminatedPods: { succeeded: [uid] } }
  const view = viewJob(job({ completions: 5 }, status), [ended, counted], none)
  assert.equal(view.succeeded, 2)
  assert.deepEqual(view.succeededNow, [])
  const settled = viewJob(job({ completions: 5 }, { succeeded: 1 }), [ended], new Set([uid]))
  assert.equal(settled.succeeded, 1)
})

test('a pod that is being deleted is a failure, unless only ended pods are replaced', () => {
  const leaving = [pod('Running', { deleted: true })]
  assert.equal(viewJob(job({}), leaving, none).failed, 1)
  const patient = job({ podReplacementPolicy: 'Failed' })
  assert.equal(viewJob(patient, leaving, none).failed, 0)
})

test('what decides a job: failures, restarts, the deadline, and success only without them', () => {
  const reason = (object: Job, pods: Pod[]): string | undefined =>
    outcomeOf(object, viewJob(object, pods, none), now)?.reason
  const failures = [pod('Failed'), pod('Failed'), pod('Failed')]
  assert.equal(reason(job({ completions: 1 }), failures), 'BackoffLimitExceeded')
  assert.equal(reason(job({ completions: 1 }), failures.slice(1)), undefined)
  assert.equal(reason(job({ completions: 1 }), [pod('Succeeded')]), 'CompletionsReached')
  assert.equal(
    reason(job({}), [pod('Succeeded'), pod('Running')]),
    undefined,
    'a queue still works',
  )
  assert.equal(reason(job({}), [pod('Succeeded')]), 'CompletionsReached')
  const late = job({ activeDeadlineSeconds: 5 }, { startTime: '2025-12-31T23:59:50Z' })
  assert.equal(reason(late, [pod('Running')]), 'DeadlineExceeded')
  const restarting = job({ template: { spec: { restartPolicy: 'OnFailure' } } })
  const crashing = pod('Running')
  crashing.status = { phase: 'Running', containerStatuses: [{ name: 'c', restartCount: 2 }] }
  assert.equal(reason(restarting, [crashing]), 'BackoffLimitExceeded')
  const indexed = job({
    completions: 4,
    completionMode: 'Indexed',
    successPolicy: { rules: [{ succeededIndexes: '0-1', succeededCount: 1 }] },
  })
  assert.equal(reason(indexed, [pod('Succeeded', { index: 2 })]), undefined)
  assert.equal(reason(indexed, [pod('Succeeded', { index: 1 })]), 'SuccessPolicy')
})

test('an index is worked on by one pod; the others of it are too many', () => {
  const indexed = job({ completions: 4, parallelism: 3, completionMode: 'Indexed' })
  const pods = [
    pod('Running', { index: 0 }),
    pod('Running', { index: 0 }),
    pod('Succeeded', { index: 1 }),
  ]
  const view = viewJob(indexed, pods, none)
  assert.deepEqual(pendingIndexes(indexed, view, 5), [2, 3])
  assert.deepEqual(surplusPods(indexed, view, 0), [pods[1]])
  assert.equal(wantedActive(indexed, view), 3)
})

test('never more active pods than parallelism or than is left to do', () => {
  fc.assert(
    fc.property(
      fc.record({ parallelism: fc.nat(10), completions: fc.nat(10), succeeded: fc.nat(10) }),
      ({ parallelism, completions, succeeded }) => {
        const object = job({ parallelism, completions }, { succeeded })
        const wanted = wantedActive(object, viewJob(object, [], none))
        assert.ok(wanted >= 0 && wanted <= parallelism)
        assert.ok(succeeded + wanted <= Math.max(completions, succeeded))
      },
    ),
  )
})
