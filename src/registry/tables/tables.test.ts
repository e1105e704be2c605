import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from '../../kube/index.ts'
import { builtinTypes } from '../builtin-types.ts'
import { compileJsonPath } from './json-path.ts'
import { printerOf } from './printer.ts'

const now = Date.UTC(2026, 0, 1, 12)

function cells(resource: string, object: object): Record<string, unknown> {
  const type = builtinTypes().find(
    (each) => each.resource === resource && each.group !== 'events.k8s.io',
  )
  assert.ok(type)
  const printer = printerOf(type)
  const metadata = {
    name: 'x',
    creationTimestamp: '2026-01-01T11:58:00Z',
    ...(object as { metadata?: object }).metadata,
  }
  const values = printer.cells({ apiVersion: '', kind: '', ...object, metadata } as KubeObject, now)
  return Object.fromEntries(printer.columns.map(({ name }, index) => [name, values[index]]))
}

const containers = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `c${index}` }))

test("a pod's status word tells the most important thing", () => {
  const running = { state: { running: {} }, ready: true, restartCount: 0 }
  const cases: [string, string, object][] = [
    ['Pending', '0/1', { spec: { containers: containers(1) }, status: { phase: 'Pending' } }],
    [
      'Running',
      '2/2',
      {
        spec: { containers: containers(2) },
        status: { phase: 'Running', containerStatuses: [running, running] },
      },
    ],
    [
      'CrashLoopBackOff',
      '1/2',
      {
        spec: { containers: containers(2) },
        status: {
          phase: 'Running',
          containerStatuses: [
            running,
            { state: { waiting: { reason: 'CrashLoopBackOff' } }, restartCount: 3 },
          ],
        },
      },
    ],
    [
      'ErrImagePull',
      '0/1',
      {
        spec: { containers: containers(1) },
        status: {
          phase: 'Pending',
          containerStatuses: [{ state: { waiting: { reason: 'ErrImagePull' } } }],
        },
      },
    ],
    [
      'Completed',
      '0/1',
      {
        spec: { containers: containers(1) },
        status: {
          phase: 'Succeeded',
          containerStatuses: [{ state: { terminated: { reason: 'Completed', exitCode: 0 } } }],
        },
      },
    ],
    [
      'ExitCode:3',
      '0/1',
      {
        spec: { containers: containers(1) },
        status: {
          phase: 'Failed',
          containerStatuses: [{ state: { terminated: { exitCode: 3 } } }],
        },
      },
    ],
    [
      'Init:1/2',
      '0/1',
      {
        spec: { containers: containers(1), initContainers: containers(2) },
        status: {
          phase: 'Pending',
          initContainerStatuses: [
            { state: { terminated: { exitCode: 0 } } },
            { state: { running: {} } },
          ],
        },
      },
    ],
    [
      'Running',
      '2/2',
      {
        spec: {
          containers: containers(1),
          initContainers: [{ name: 'side', restartPolicy: 'Always' }],
        },
        status: {
          phase: 'Running',
          initContainerStatuses: [
            { name: 'side', started: true, ready: true, state: { running: {} } },
          ],
          containerStatuses: [running],
        },
      },
    ],
    [
      'Terminating',
      '1/1',
      {
        metadata: { deletionTimestamp: '2026-01-01T12:00:30Z' },
        spec: { containers: containers(1) },
        status: { phase: 'Running', containerStatuses: [running] },
      },
    ],
  ]
  for (const [status, ready, pod] of cases) {
    const row = cells('pods', pod)
    assert.deepEqual([row.Status, row.Ready], [status, ready], JSON.stringify(pod))
  }
})

test('restarts say when the last one was', () => {
  const status = {
    phase: 'Running',
    containerStatuses: [
      {
        state: { running: {} },
        ready: true,
        restartCount: 2,
        lastState: { terminated: { finishedAt: '2026-01-01T11:55:00Z' } },
      },
    ],
  }
  assert.equal(
    cells('pods', { spec: { containers: containers(1) }, status }).Restarts,
    '2 (5m ago)',
  )
})

test('services show where they can be reached', () => {
  const ports = [
    { port: 80, nodePort: 30080, protocol: 'TCP' },
    { port: 53, protocol: 'UDP' },
  ]
  const row = cells('services', { spec: { type: 'LoadBalancer', clusterIP: '10.96.0.9', ports } })
  assert.deepEqual(
    [row['External-IP'], row['Port(s)'], row.Age],
    ['<pending>', '80:30080/TCP,53/UDP', '2m'],
  )
  const ingress = [{ ip: '127.0.0.1' }]
  const ready = cells('services', {
    spec: { type: 'LoadBalancer' },
    status: { loadBalancer: { ingress } },
  })
  assert.equal(ready['External-IP'], '127.0.0.1')
  assert.equal(
    cells('services', { spec: { type: 'ExternalName', externalName: 'a.b' } })['External-IP'],
    'a.b',
  )
})

test('every built-in kind prints an object that has nothing but a name', () => {
  for (const type of builtinTypes()) {
    const printer = printerOf(type)
    const object = { apiVersion: 'v1', kind: type.kind, metadata: { name: 'bare' } }
    assert.equal(printer.cells(object, now).length, printer.columns.length, type.resource)
    assert.equal(
      printer.cells(object, now)[0] === 'bare' || type.resource === 'events',
      true,
      type.resource,
    )
  }
})

test('column paths find names, indexes, filters and quoted keys', () => {
  const object = {
    metadata: { labels: { 'a.b/c': 'label' } },
    spec: {
      ports: [
        { name: 'x', port: 1 },
        { name: 'y', port: 2 },
      ],
    },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  }
  const cases: [string, unknown[]][] = [
    ['.spec.ports[0].port', [1]],
    ['.spec.ports[*].name', ['x', 'y']],
    ['.status.conditions[?(@.type=="Ready")].status', ['True']],
    ["{.metadata.labels['a.b/c']}", ['label']],
    ['.metadata.labels.a\\.b/c', ['label']],
    ['.spec.missing', []],
  ]
  for (const [path, expected] of cases)
    assert.deepEqual(compileJsonPath(path)?.(object), expected, path)
  assert.equal(compileJsonPath('.spec.ports[?(@.port>1)]'), undefined)
})
