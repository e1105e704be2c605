import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { KubeObject } from '../../kube/index.ts'
import { autoscalerFromHub, autoscalerToHub } from './autoscaler-shapes.ts'

const hub = (metrics: unknown[], rest: object = {}): KubeObject => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: 'h' },
  spec: { scaleTargetRef: { kind: 'Deployment', name: 'd' }, maxReplicas: 3, metrics, ...rest },
  status: { currentMetrics: null, desiredReplicas: 1, currentReplicas: 1 },
})

const name = fc.constantFrom('cpu', 'memory', 'requests')
const selector = fc.record({ matchLabels: fc.constant({ app: 'x' }) })
const identity = fc.record(
  { name, selector: fc.option(selector, { nil: undefined }) },
  { requiredKeys: ['name'] },
)
const amount = fc.constantFrom('10', '100m', '1Gi')
const averageValue = fc.record({ type: fc.constant('AverageValue'), averageValue: amount })
const utilization = fc.record({
  type: fc.constant('Utilization'),
  averageUtilization: fc.integer({ min: 1, max: 100 }),
})
const plain = fc.record({ type: fc.constant('Value'), value: amount })
const resourceTarget = fc.oneof(averageValue, utilization)
const describedObject = fc.constant({
  kind: 'Ingress',
  name: 'i',
  apiVersion: 'networking.k8s.io/v1',
})
const metric = fc.oneof(
  fc.record({
    type: fc.constant('Resource'),
    resource: fc.record({ name: fc.constant('memory'), target: resourceTarget }),
  }),
  fc.record({
    type: fc.constant('ContainerResource'),
    containerResource: fc.record({ name, container: fc.constant('c'), target: resourceTarget }),
  }),
  fc.record({
    type: fc.constant('Pods'),
    pods: fc.record({ metric: identity, target: averageValue }),
  }),
  fc.record({
    type: fc.constant('Object'),
    object: fc.record({ describedObject, metric: identity, target: fc.oneof(plain, averageValue) }),
  }),
  fc.record({
    type: fc.constant('External'),
    external: fc.record({ metric: identity, target: fc.oneof(plain, averageValue) }),
  }),
)

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('any autoscaler comes back from its old shape as it was', () => {
  const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } }
  fc.assert(
    fc.property(fc.array(metric, { minLength: 1, maxLength: 4 }), fc.boolean(), (metrics, cpu) => {
      const first = {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
      }
      const object = hub(cpu ? [first, ...metrics] : metrics, { behavior })
      const flat = autoscalerFromHub(object)
      assert.equal(flat.apiVersion, 'autoscaling/v1')
      assert.deepEqual(json(autoscalerToHub(flat)), json(object))
    }),
  )
})

test('without a target of its own the old shape means 80 percent of the processor', () => {
  const flat: KubeObject = {
    apiVersion: 'autoscaling/v1',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'h', annotations: { other: 'kept' } },
    spec: { scaleTargetRef: { kind: 'Deployment', name: 'd' }, maxReplicas: 3 },
  }
  const made = autoscalerToHub(flat)
  assert.deepEqual((made.spec as { metrics: unknown[] }).metrics, [
    {
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
    },
  ])
  assert.deepEqual(made.metadata.annotations, { other: 'kept' })
})
