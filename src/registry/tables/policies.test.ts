import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from '../../kube/index.ts'
import { builtinTypes } from '../builtin-types.ts'
import { printerOf } from './printer.ts'

const now = Date.UTC(2026, 0, 1, 12)

/** A row as kubectl prints it; `wide` with the columns that it hides otherwise. */
function row(resource: string, object: object, wide = false): unknown[] {
  const type = builtinTypes().find((each) => each.resource === resource)
  assert.ok(type)
  const metadata = {
    name: 'x',
    creationTimestamp: '2026-01-01T11:58:00Z',
    ...(object as { metadata?: object }).metadata,
  }
  const printer = printerOf(type)
  const cells = printer.cells({ apiVersion: '', kind: '', ...object, metadata } as KubeObject, now)
  return cells.filter((_cell, index) => wide || printer.columns[index]?.priority === 0)
}

test('an autoscaler shows each metric as it is and as it should be', () => {
  const resource = (name: string, target: object) => ({
    type: 'Resource',
    resource: { name, target },
  })
  const metrics = [
    resource('cpu', { type: 'Utilization', averageUtilization: 80 }),
    resource('memory', { type: 'AverageValue', averageValue: '1Gi' }),
    { type: 'Pods', pods: { metric: { name: 'rps' }, target: { averageValue: '10' } } },
  ]
  const spec = {
    scaleTargetRef: { kind: 'Deployment', name: 'd' },
    minReplicas: 1,
    maxReplicas: 4,
    metrics,
  }
  const currentMetrics = [
    { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 12 } } },
  ]
  const status = { currentReplicas: 2, currentMetrics }
  assert.deepEqual(row('horizontalpodautoscalers', { spec, status }), [
    'x',
    'Deployment/d',
    'cpu: 12%/80%, memory: <unknown>/1Gi (avg) + 1 more...',
    '1',
    4,
    2,
    '2m',
  ])
})

test('storage shows short access modes, and the default class by name', () => {
  const spec = {
    accessModes: ['ReadWriteOnce'],
    storageClassName: 'fast',
    volumeMode: 'Filesystem',
  }
  const pending = { spec, status: { phase: 'Pending' } }
  assert.deepEqual(row('persistentvolumeclaims', pending, true), [
    'x',
    'Pending',
    '',
    '',
    '',
    'fast',
    '<unset>',
    '2m',
    'Filesystem',
  ])
  const bound = {
    spec: { ...spec, volumeName: 'v' },
    status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] },
  }
  assert.deepEqual(row('persistentvolumeclaims', bound).slice(1, 5), ['Bound', 'v', '1Gi', 'RWO'])
  const volume = {
    spec: {
      ...spec,
      capacity: { storage: '1Gi' },
      claimRef: { namespace: 'n', name: 'c' },
      persistentVolumeReclaimPolicy: 'Retain',
    },
    status: { phase: 'Bound' },
  }
  assert.deepEqual(row('persistentvolumes', volume).slice(1, 7), [
    '1Gi',
    'RWO',
    'Retain',
    'Bound',
    'n/c',
    'fast',
  ])
  const annotations = { 'storageclass.kubernetes.io/is-default-class': 'true' }
  assert.deepEqual(row('storageclasses', { metadata: { annotations }, provisioner: 'p' }), [
    'x (default)',
    'p',
    'Delete',
    'Immediate',
    'false',
    '2m',
  ])
})

test('wide rows of cron jobs name containers and images of their jobs', () => {
  const containers = [
    { name: 'a', image: 'one' },
    { name: 'b', image: 'two' },
  ]
  const spec = { schedule: '@daily', jobTemplate: { spec: { template: { spec: { containers } } } } }
  assert.deepEqual(row('cronjobs', { spec }, true), [
    'x',
    '@daily',
    '<none>',
    'False',
    0,
    '<none>',
    '2m',
    'a,b',
    'one,two',
    '<none>',
  ])
})
