import assert from 'node:assert/strict'
import test from 'node:test'
import { phaseOf, podStatus, qosClass } from './status.ts'
import type { Container, ContainerState, ContainerStatus, Pod, PodSpec } from './types.ts'

function podWith(spec: Partial<PodSpec> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'a' }], ...spec },
  }
}

function status(
  name: string,
  state: ContainerState,
  more: Partial<ContainerStatus> = {},
): ContainerStatus {
  const ready = state.running !== undefined
  return {
    name,
    state,
    lastState: {},
    ready,
    started: ready,
    restartCount: 0,
    image: '',
    imageID: '',
    ...more,
  }
}

const running = { running: { startedAt: 't' } }
const waiting = { waiting: { reason: 'ContainerCreating' } }
const exited = (exitCode: number): ContainerState => ({
  terminated: { exitCode, reason: '', finishedAt: 't' },
})

test('the phase follows the containers and the restart policy', () => {
  const cases: [string, ContainerState[], string][] = [
    ['Always', [waiting], 'Pending'],
    ['Always', [running, waiting], 'Pending'],
    ['Always', [running], 'Running'],
    ['Always', [exited(0)], 'Running'],
    ['OnFailure', [exited(1)], 'Running'],
    ['OnFailure', [exited(0)], 'Succeeded'],
    ['Never', [exited(0), exited(1)], 'Failed'],
    ['Never', [exited(0), running], 'Running'],
  ]
  for (const [restartPolicy, states, phase] of cases) {
    const statuses = states.map((state, index) => status(`c${index}`, state))
    assert.equal(
      phaseOf(podWith({ restartPolicy }), [], statuses),
      phase,
      `${restartPolicy} ${JSON.stringify(states)}`,
    )
  }
})

test('a crash loop is still a running pod', () => {
  const loop = status('a', { waiting: { reason: 'CrashLoopBackOff' } }, { lastState: exited(1) })
  assert.equal(phaseOf(podWith(), [], [loop]), 'Running')
})

test('init containers keep a pod pending, sidecars keep an ended one running', () => {
  const initContainers: Container[] = [{ name: 'i' }, { name: 's', restartPolicy: 'Always' }]
  const pod = podWith({ initContainers, restartPolicy: 'Never' })
  const done = status('i', exited(0))
  assert.equal(
    phaseOf(pod, [status('i', running), status('s', waiting)], [status('a', waiting)]),
    'Pending',
  )
  assert.equal(
    phaseOf(pod, [status('i', exited(1)), status('s', waiting)], [status('a', waiting)]),
    'Failed',
  )
  assert.equal(phaseOf(pod, [done, status('s', running)], [status('a', exited(0))]), 'Running')
  const ended = status('s', exited(143))
  assert.equal(phaseOf(pod, [done, ended], [status('a', exited(0))]), 'Succeeded')
})

test('conditions keep their times while they do not change, and those of others stay', () => {
  const pod = podWith({ readinessGates: [{ conditionType: 'gate' }] })
  const input = {
    pod,
    hostIp: '10.0.0.1',
    podIp: '10.0.0.9',
    startTime: 't',
    init: [],
    main: [status('a', running)],
    failed: undefined,
    terminating: false,
  }
  const closed = podStatus({ ...input, nowMs: 0 })
  const of = (answer: typeof closed, type: string) =>
    answer.conditions?.find((c) => c.type === type)
  assert.equal(of(closed, 'ContainersReady')?.status, 'True')
  assert.equal(of(closed, 'Ready')?.reason, 'ReadinessGatesNotReady')
  pod.status = { conditions: [...(closed.conditions ?? []), { type: 'gate', status: 'True' }] }
  const open = podStatus({ ...input, nowMs: 60_000 })
  assert.equal(of(open, 'Ready')?.status, 'True')
  assert.equal(of(open, 'Ready')?.lastTransitionTime, '1970-01-01T00:01:00Z')
  assert.equal(of(open, 'ContainersReady')?.lastTransitionTime, '1970-01-01T00:00:00Z')
  assert.equal(of(open, 'gate')?.status, 'True')
  assert.equal(open.conditions?.length, 6)
})

test('QoS is guaranteed only when every container has equal requests and limits', () => {
  const of = (...resources: Container['resources'][]): string =>
    qosClass(
      podWith({
        containers: resources.map((r, i) => ({ name: `c${i}`, ...(r ? { resources: r } : {}) })),
      }),
    )
  const full = { limits: { cpu: '1', memory: '1Gi' } }
  assert.equal(of(undefined), 'BestEffort')
  assert.equal(of(full), 'Guaranteed')
  assert.equal(of({ ...full, requests: { cpu: '1000m', memory: '1024Mi' } }), 'Guaranteed')
  assert.equal(of({ ...full, requests: { cpu: '500m' } }), 'Burstable')
  assert.equal(of(full, undefined), 'Burstable')
})
