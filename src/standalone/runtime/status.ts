/** A pod's status from the states of its containers: phase, conditions, QoS. Pure. */
import { quantityToNumber } from '../../kube/index.ts'
import {
  type Container,
  type ContainerStatus,
  isSidecar,
  kubeTime,
  type Pod,
  type PodCondition,
  type PodStatus,
  specOf,
} from './types.ts'

export interface StatusInput {
  readonly pod: Pod
  readonly nowMs: number
  readonly hostIp: string
  /** Undefined until there is a sandbox. */
  readonly podIp: string | undefined
  readonly startTime: string
  readonly init: readonly ContainerStatus[]
  readonly main: readonly ContainerStatus[]
  /** Ends the pod whatever the containers say (deadline, a restart that must not be). */
  readonly failed: { readonly reason: string; readonly message: string } | undefined
  readonly terminating: boolean
}

type Phase = NonNullable<PodStatus['phase']>

export function podStatus(input: StatusInput): PodStatus {
  const { pod, hostIp, podIp, init, main, failed } = input
  const phase = failed === undefined ? phaseOf(pod, init, main) : 'Failed'
  return {
    phase,
    ...(failed === undefined ? {} : { reason: failed.reason, message: failed.message }),
    conditions: conditionsOf(input, phase),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(podIp === undefined ? {} : { podIP: podIp, podIPs: [{ ip: podIp }] }),
    startTime: input.startTime,
    qosClass: qosClass(pod),
    ...(init.length === 0 ? {} : { initContainerStatuses: init }),
    containerStatuses: main,
  }
}

/** Sidecars never decide the phase: when all others have ended, so has the pod. */
export function phaseOf(
  pod: Pod,
  init: readonly ContainerStatus[],
  main: readonly ContainerStatus[],
): Phase {
  const { restartPolicy = 'Always', initContainers = [] } = specOf(pod)
  for (const status of init) {
    const spec = initContainers.find((container) => container.name === status.name)
    if (spec !== undefined && isSidecar(spec)) {
      if (!status.started && main.every((other) => neverRan(other))) return 'Pending'
      continue
    }
    const { terminated } = status.state
    if (terminated === undefined) return 'Pending'
    if (terminated.exitCode !== 0) return restartPolicy === 'Never' ? 'Failed' : 'Pending'
  }
  let running = 0
  let succeeded = 0
  let failed = 0
  for (const { state, lastState } of main) {
    if (state.running) running++
    else if (state.terminated?.exitCode === 0) succeeded++
    else if (state.terminated) failed++
    // Waiting for its next start counts as running; never started as pending.
    else if (lastState.terminated) running++
    else return 'Pending'
  }
  const besides = init.some((status) => status.state.running !== undefined)
  if (running > 0 || besides) return 'Running'
  if (restartPolicy === 'Always') return 'Running'
  if (failed === 0) return 'Succeeded'
  return restartPolicy === 'Never' ? 'Failed' : 'Running'
}

function neverRan({ state, lastState }: ContainerStatus): boolean {
  return (
    state.running === undefined &&
    state.terminated === undefined &&
    lastState.terminated === undefined
  )
}

function conditionsOf(input: StatusInput, phase: Phase): PodCondition[] {
  const { pod, podIp, init, main } = input
  const done = phase === 'Succeeded' || phase === 'Failed'
  const sidecars = init.filter((status) => isSidecarStatus(pod, status))
  const unready = [...sidecars, ...main].filter((status) => !status.ready).map(({ name }) => name)
  const pendingInit = init.filter((status) => !initDone(pod, status)).map(({ name }) => name)
  const gates = specOf(pod).readinessGates ?? []
  const openGates = gates.filter(({ conditionType }) => valueOf(pod, conditionType) !== 'True')
  const notReady: Partial<PodCondition> | undefined = done
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : unready.length > 0
      ? {
          reason: 'ContainersNotReady',
          message: `containers with unready status: [${unready.join(' ')}]`,
        }
      : undefined
  const gateClosed: Partial<PodCondition> | undefined =
    openGates.length === 0
      ? undefined
      : {
          reason: 'ReadinessGatesNotReady',
          message: `the status of pod readiness gate "${openGates[0]?.conditionType}" is not "True"`,
        }
  const incomplete: Partial<PodCondition> | undefined =
    pendingInit.length === 0 || main.some((status) => !neverRan(status))
      ? undefined
      : {
          reason: 'ContainersNotInitialized',
          message: `containers with incomplete status: [${pendingInit.join(' ')}]`,
        }
  const wanted: PodCondition[] = [
    condition('PodReadyToStartContainers', podIp === undefined || done ? {} : undefined),
    condition('Initialized', incomplete),
    condition('Ready', notReady ?? gateClosed),
    condition('ContainersReady', notReady),
    condition('PodScheduled', undefined),
  ]
  const known = pod.status?.conditions ?? []
  const now = kubeTime(input.nowMs)
  const ours = wanted.map((next) => {
    const before = known.find(({ type }) => type === next.type)
    const same = before?.status === next.status && before.lastTransitionTime !== undefined
    return {
      ...next,
      lastProbeTime: null,
      lastTransitionTime: same ? before.lastTransitionTime : now,
    }
  })
  // Readiness gates and what others write stay as they are.
  return [...known.filter(({ type }) => !wanted.some((next) => next.type === type)), ...ours]
}

/** @param problem undefined: True */
function condition(type: string, problem: Partial<PodCondition> | undefined): PodCondition {
  return problem === undefined ? { type, status: 'True' } : { type, status: 'False', ...problem }
}

function valueOf(pod: Pod, type: string): string | undefined {
  return pod.status?.conditions?.find((candidate) => candidate.type === type)?.status
}

function isSidecarStatus(pod: Pod, status: ContainerStatus): boolean {
  return specOf(pod).initContainers?.some((c) => c.name === status.name && isSidecar(c)) ?? false
}

function initDone(pod: Pod, status: ContainerStatus): boolean {
  return isSidecarStatus(pod, status) ? status.started : status.state.terminated?.exitCode === 0
}

/** Guaranteed: limits of cpu and memory everywhere, equal to requests; BestEffort: none at all. */
export function qosClass(pod: Pod): string {
  const { containers, initContainers = [] } = specOf(pod)
  const all = [...containers, ...initContainers]
  const values = (container: Container, kind: 'limits' | 'requests', name: string): number =>
    quantityToNumber(container.resources?.[kind]?.[name] ?? 0)
  const some = all.some((container) =>
    (['limits', 'requests'] as const).some((kind) =>
      ['cpu', 'memory'].some((name) => values(container, kind, name) > 0),
    ),
  )
  if (!some) return 'BestEffort'
  const guaranteed = all.every((container) =>
    ['cpu', 'memory'].every((name) => {
      const limit = values(container, 'limits', name)
      const request =
        container.resources?.requests?.[name] === undefined
          ? limit
          : values(container, 'requests', name)
      return limit > 0 && limit === request
    }),
  )
  return guaranteed ? 'Guaranteed' : 'Burstable'
}
