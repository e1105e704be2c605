import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Pod } from '../workload-types.ts'
import { decide, type Memory } from './behavior.ts'
import { askedByMetric } from './calculate.ts'
import type { AutoscalerSpec, PodMetrics } from './types.ts'

const nowMs = Date.UTC(2026, 0, 1, 12)
const old = '2026-01-01T00:00:00Z'

const pod = (name: string, ready = true, since = old): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: { containers: [{ name: 'c', resources: { requests: { cpu: '100m' } } }] },
  status: {
    phase: 'Running',
    startTime: since,
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: since }],
  },
})

const used = (values: Record<string, string>): Map<string, PodMetrics> =>
  new Map(
    Object.entries(values).map(([name, cpu]) => [
      name,
      {
        apiVersion: 'metrics.k8s.io/v1beta1',
        kind: 'PodMetrics',
        metadata: { name },
        containers: [{ name: 'c', usage: { cpu, memory: '1Mi' } }],
      },
    ]),
  )

const asked = (pods: Pod[], values: Record<string, string>): number | string => {
  const answer = askedByMetric({
    resource: 'cpu',
    container: undefined,
    target: { type: 'Utilization', averageUtilization: 50 },
    replicas: pods.length,
    pods,
    metrics: used(values),
    nowMs,
  })
  return 'why' in answer ? answer.why : answer.replicas
}

test('the number follows the ratio of use to target; a tenth more or less is nothing', () => {
  const pods = [pod('a'), pod('b')]
  assert.equal(asked(pods, { a: '100m', b: '100m' }), 4)
  assert.equal(asked(pods, { a: '54m', b: '50m' }), 2)
  assert.equal(asked(pods, { a: '10m', b: '10m' }), 1)
})

test('pods that say nothing, or only start, hold the number back in both directions', () => {
  const pods = [pod('a'), pod('b'), pod('new', false)]
  assert.equal(asked(pods, { a: '60m', b: '60m', new: '100m' }), 3)
  assert.equal(asked(pods, { a: '150m', b: '150m', new: '0' }), 6)
  assert.equal(asked(pods, { a: '10m', b: '10m' }), 2)
  const fresh = pod('fresh', true, '2026-01-01T11:59:55Z')
  assert.equal(asked([fresh], { fresh: '100m' }), 'no metrics returned from resource metrics API')
})

const spec = (more: Partial<AutoscalerSpec> = {}): AutoscalerSpec => ({
  scaleTargetRef: { kind: 'Deployment', name: 'd' },
  minReplicas: 1,
  maxReplicas: 100,
  ...more,
})

test('growth is at most double or four more in 15 seconds; what grew counts', () => {
  const memory: Memory = { recommendations: [], changes: [] }
  const first = decide(spec(), memory, { replicas: 2, asked: 50, atMs: 0 })
  assert.deepEqual([first.replicas, first.limited?.reason], [6, 'ScaleUpLimit'])
  memory.changes.push({ atMs: 0, by: 4 })
  assert.equal(decide(spec(), memory, { replicas: 6, asked: 50, atMs: 5_000 }).replicas, 6)
  assert.equal(decide(spec(), memory, { replicas: 6, asked: 50, atMs: 16_000 }).replicas, 12)
})

test('shrinking waits for five quiet minutes, or as long as the behavior says', () => {
  const memory: Memory = { recommendations: [], changes: [] }
  decide(spec(), memory, { replicas: 5, asked: 5, atMs: 0 })
  const held = decide(spec(), memory, { replicas: 5, asked: 1, atMs: 100_000 })
  assert.deepEqual([held.replicas, held.able.reason], [5, 'ScaleDownStabilized'])
  assert.equal(decide(spec(), memory, { replicas: 5, asked: 1, atMs: 300_001 }).replicas, 1)
  const quick = spec({ behavior: { scaleDown: { stabilizationWindowSeconds: 0 } } })
  const none: Memory = { recommendations: [{ atMs: 0, replicas: 9 }], changes: [] }
  assert.equal(decide(quick, none, { replicas: 5, asked: 1, atMs: 1_000 }).replicas, 1)
  const never = spec({ behavior: { scaleDown: { selectPolicy: 'Disabled' } } })
  const empty: Memory = { recommendations: [], changes: [] }
  assert.equal(decide(never, empty, { replicas: 5, asked: 1, atMs: 0 }).replicas, 5)
})

test('whatever is asked, the result lies between the bounds', () => {
  const count = fc.integer({ min: 1, max: 200 })
  fc.assert(
    fc.property(fc.array(count, { minLength: 1 }), count, count, (askedFor, a, b) => {
      const bounds = spec({ minReplicas: Math.min(a, b), maxReplicas: Math.max(a, b) })
      const memory: Memory = { recommendations: [], changes: [] }
      let replicas = Math.min(a, b)
      for (const [turn, wanted] of askedFor.entries()) {
        const next = decide(bounds, memory, { replicas, asked: wanted, atMs: turn * 15_000 })
        assert.ok(next.replicas >= Math.min(a, b) && next.replicas <= Math.max(a, b))
        memory.changes.push({ atMs: turn * 15_000, by: next.replicas - replicas })
        replicas = next.replicas
      }
    }),
  )
})
