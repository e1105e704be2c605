import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GroupVersionKind } from '../../kube/index.ts'
import {
  addServiceAccountVolume,
  applyDefaults,
  builtinDefaults,
  builtinValidation,
  loadBuiltinSchemas,
  unknownFields,
  validate,
} from '../index.ts'

const registry = loadBuiltinSchemas()

/** Defaults an object as the registry does; what comes out must be valid and hold no unknown field. */
function defaulted<T extends object>(
  gvk: GroupVersionKind,
  object: T,
): T & Record<string, unknown> {
  const kind = registry.get(gvk)
  assert.ok(kind)
  applyDefaults(kind, object)
  builtinDefaults(gvk, object)
  assert.deepEqual(unknownFields(kind, object), [])
  assert.deepEqual([...validate(kind, object), ...builtinValidation(gvk, object)], [])
  const again = structuredClone(object)
  applyDefaults(kind, again)
  builtinDefaults(gvk, again)
  assert.deepEqual(again, object, 'defaulting twice changes something')
  return object as T & Record<string, unknown>
}

const template = (image = 'nginx') => ({
  metadata: { labels: { app: 'a' } },
  spec: { containers: [{ name: 'c', image, ports: [{ containerPort: 80 }] }] },
})

const container = {
  name: 'c',
  image: 'nginx',
  ports: [{ containerPort: 80, protocol: 'TCP' }],
  resources: {},
  terminationMessagePath: '/dev/termination-log',
  terminationMessagePolicy: 'File',
  imagePullPolicy: 'Always',
}

const podSpec = {
  containers: [container],
  restartPolicy: 'Always',
  terminationGracePeriodSeconds: 30,
  dnsPolicy: 'ClusterFirst',
  securityContext: {},
  schedulerName: 'default-scheduler',
}

const apps = (kind: string) => ({ group: 'apps', version: 'v1', kind })
const core = (kind: string) => ({ group: '', version: 'v1', kind })

test('a minimal Deployment becomes what the API stores', () => {
  const spec = { selector: { matchLabels: { app: 'a' } }, template: template() }
  assert.deepEqual(defaulted(apps('Deployment'), { metadata: { name: 'a' }, spec }), {
    metadata: { name: 'a' },
    spec: {
      selector: { matchLabels: { app: 'a' } },
      template: { metadata: { labels: { app: 'a' } }, spec: podSpec },
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' },
      },
    },
    status: {},
  })
})

test('a strategy Recreate gets no rolling update', () => {
  const spec = {
    selector: { matchLabels: { app: 'a' } },
    template: template(),
    strategy: { type: 'Recreate' },
  }
  assert.deepEqual(defaulted(apps('Deployment'), { metadata: { name: 'a' }, spec }).spec.strategy, {
    type: 'Recreate',
  })
})

test('the pull policy follows the tag', () => {
  const policyOf = (image: string) => {
    const pod = { metadata: { name: 'a' }, spec: template(image).spec }
    const [first] = defaulted(core('Pod'), pod).spec.containers
    return (first as unknown as { imagePullPolicy: string }).imagePullPolicy
  }
  assert.equal(policyOf('nginx'), 'Always')
  assert.equal(policyOf('localhost:5000/nginx'), 'Always')
  assert.equal(policyOf('nginx:latest'), 'Always')
  assert.equal(policyOf('nginx:1.27'), 'IfNotPresent')
  assert.equal(policyOf(`nginx@sha256:${'a'.repeat(64)}`), 'IfNotPresent')
})

test('a minimal Pod gets its account, tolerations, priority and first status', () => {
  const pod = defaulted(core('Pod'), { metadata: { name: 'a' }, spec: template().spec })
  assert.deepEqual(pod.spec, {
    ...podSpec,
    serviceAccountName: 'default',
    serviceAccount: 'default',
    enableServiceLinks: true,
    priority: 0,
    preemptionPolicy: 'PreemptLowerPriority',
    tolerations: ['not-ready', 'unreachable'].map((name) => ({
      key: `node.kubernetes.io/${name}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 300,
    })),
  })
  assert.deepEqual(pod['status'], { phase: 'Pending', qosClass: 'BestEffort' })
})

test('probes, environment, volumes and requests of a pod are filled', () => {
  const pod = defaulted(core('Pod'), {
    metadata: { name: 'a' },
    spec: {
      containers: [
        {
          name: 'c',
          image: 'a:1',
          readinessProbe: { httpGet: { port: 80 } },
          env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
          resources: { limits: { cpu: '1' } } as object,
        },
      ],
      volumes: [{ name: 'e' }, { name: 's', secret: { secretName: 'x' } }],
    },
  })
  const [first] = pod.spec.containers
  assert.deepEqual(first?.readinessProbe, {
    httpGet: { port: 80, path: '/', scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  })
  assert.deepEqual(first?.env[0]?.valueFrom.fieldRef, {
    fieldPath: 'status.podIP',
    apiVersion: 'v1',
  })
  assert.deepEqual(first?.resources, { limits: { cpu: '1' }, requests: { cpu: '1' } })
  assert.deepEqual(pod.spec.volumes, [
    { name: 'e', emptyDir: {} },
    { name: 's', secret: { secretName: 'x', defaultMode: 420 } },
  ])
  assert.deepEqual(pod['status'], { phase: 'Pending', qosClass: 'Burstable' })
})

test('the service account volume is mounted into every container once', () => {
  const pod = defaulted(core('Pod'), { metadata: { name: 'a' }, spec: template().spec })
  addServiceAccountVolume(pod, 'abcde')
  addServiceAccountVolume(pod, 'fghij')
  const { containers, volumes } = pod.spec as unknown as {
    containers: { volumeMounts: unknown[] }[]
    volumes: { name: string }[]
  }
  assert.deepEqual(containers[0]?.volumeMounts, [
    {
      name: 'kube-api-access-abcde',
      readOnly: true,
      mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
    },
  ])
  assert.deepEqual(
    volumes.map(({ name }) => name),
    ['kube-api-access-abcde'],
  )
})

test('a minimal Service becomes what the API stores, but for its address', () => {
  const service = { metadata: { name: 'a' }, spec: { ports: [{ port: 80 }] } }
  assert.deepEqual(defaulted(core('Service'), service), {
    metadata: { name: 'a' },
    spec: {
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      sessionAffinity: 'None',
      type: 'ClusterIP',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
    },
    status: { loadBalancer: {} },
  })
  const balanced = {
    metadata: { name: 'a' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  }
  const { spec } = defaulted(core('Service'), balanced)
  assert.deepEqual(
    [
      Reflect.get(spec, 'externalTrafficPolicy'),
      Reflect.get(spec, 'allocateLoadBalancerNodePorts'),
    ],
    ['Cluster', true],
  )
})

test('a minimal Job selects its pods by its uid', () => {
  const job = defaulted(
    { group: 'batch', version: 'v1', kind: 'Job' },
    {
      metadata: { name: 'j', uid: 'u-1' },
      spec: { template: { spec: { ...template().spec, restartPolicy: 'Never' } } },
    },
  )
  const labels = {
    'batch.kubernetes.io/controller-uid': 'u-1',
    'batch.kubernetes.io/job-name': 'j',
    'controller-uid': 'u-1',
    'job-name': 'j',
  }
  assert.deepEqual(Reflect.get(job.metadata, 'labels'), labels)
  const { template: made, ...spec } = job.spec
  assert.deepEqual(spec, {
    completions: 1,
    parallelism: 1,
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    suspend: false,
    manualSelector: false,
    podReplacementPolicy: 'TerminatingOrFailed',
    selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u-1' } },
  })
  assert.deepEqual(Reflect.get(made, 'metadata'), { labels })
})

test('StatefulSets, DaemonSets and CronJobs get their update and history defaults', () => {
  const spec = () => ({ selector: { matchLabels: { app: 'a' } }, template: template() })
  const stateful = defaulted(apps('StatefulSet'), { metadata: { name: 'a' }, spec: spec() }).spec
  assert.deepEqual(Reflect.get(stateful, 'updateStrategy'), {
    type: 'RollingUpdate',
    rollingUpdate: { partition: 0 },
  })
  assert.equal(Reflect.get(stateful, 'podManagementPolicy'), 'OrderedReady')
  const daemon = defaulted(apps('DaemonSet'), { metadata: { name: 'a' }, spec: spec() }).spec
  assert.deepEqual(Reflect.get(daemon, 'updateStrategy'), {
    type: 'RollingUpdate',
    rollingUpdate: { maxUnavailable: 1, maxSurge: 0 },
  })
  const job = { spec: { template: { spec: { ...template().spec, restartPolicy: 'Never' } } } }
  const cron = defaulted(
    { group: 'batch', version: 'v1', kind: 'CronJob' },
    { metadata: { name: 'a' }, spec: { schedule: '*/5 * * * *', jobTemplate: job } },
  ).spec
  assert.equal(Reflect.get(cron, 'successfulJobsHistoryLimit'), 3)
})

test('a Secret encodes stringData into data and forgets it', () => {
  const secret = { metadata: { name: 'a' }, data: { a: 'eA==' }, stringData: { b: 'y' } }
  assert.deepEqual(defaulted(core('Secret'), secret), {
    metadata: { name: 'a' },
    data: { a: 'eA==', b: 'eQ==' },
    type: 'Opaque',
  })
})

test('bindings, policies, namespaces and definitions get theirs', () => {
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', kind: 'RoleBinding' }
  const binding = defaulted(rbac, {
    metadata: { name: 'a' },
    roleRef: { kind: 'Role', name: 'r' },
    subjects: [{ kind: 'User', name: 'u' }],
  })
  assert.deepEqual(binding.roleRef, { kind: 'Role', name: 'r', apiGroup: rbac.group })
  assert.deepEqual(binding.subjects, [{ kind: 'User', name: 'u', apiGroup: rbac.group }])
  const policy = { group: 'networking.k8s.io', version: 'v1', kind: 'NetworkPolicy' }
  const both = defaulted(policy, {
    metadata: { name: 'a' },
    spec: { podSelector: {}, egress: [{}] },
  })
  assert.deepEqual(Reflect.get(both.spec, 'policyTypes'), ['Ingress', 'Egress'])
  const namespace = defaulted(core('Namespace'), { metadata: { name: 'n' } })
  assert.deepEqual(namespace, {
    metadata: { name: 'n', labels: { 'kubernetes.io/metadata.name': 'n' } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  })
})
