/** Rows of pods: the one-word status sums up phase, containers, init containers and deletion. */
import { humanDuration, type KubeObject, parseTime } from '../../kube/index.ts'
import { type JsonMap, listOf, mapOf, textOf, valueAt } from '../values.ts'
import { age, type Cells, none } from './cells.ts'

interface Summary {
  readonly ready: number
  readonly total: number
  readonly reason: string
  readonly restarts: number
  /** When a container last ended, if one was restarted. */
  readonly lastRestart: number | undefined
}

interface Tally {
  ready: number
  restarts: number
  lastRestart: number | undefined
}

function count(tally: Tally, status: JsonMap): void {
  tally.restarts += typeof status.restartCount === 'number' ? status.restartCount : 0
  const finished = valueAt(status, 'lastState.terminated.finishedAt')
  const at = typeof finished === 'string' ? parseTime(finished) : undefined
  if (at !== undefined && at > (tally.lastRestart ?? 0)) tally.lastRestart = at
}

function endedReason(terminated: JsonMap): string {
  if (textOf(terminated.reason) !== '') return textOf(terminated.reason)
  const signal = terminated.signal
  return typeof signal === 'number' && signal !== 0
    ? `Signal:${signal}`
    : `ExitCode:${textOf(terminated.exitCode ?? 0)}`
}

/** The reason while init containers run, or undefined when they are done. */
function initReason(
  pod: KubeObject,
  tally: Tally,
  sidecars: ReadonlySet<string>,
): string | undefined {
  const initContainers = listOf(valueAt(pod, 'spec.initContainers'))
  for (const [index, status] of listOf(valueAt(pod, 'status.initContainerStatuses')).entries()) {
    count(tally, status)
    const terminated = valueAt(status, 'state.terminated')
    const waiting = textOf(valueAt(status, 'state.waiting.reason'))
    if (terminated !== undefined && mapOf(terminated).exitCode === 0) continue
    if (sidecars.has(textOf(status.name)) && status.started === true) {
      if (status.ready === true) tally.ready++
      continue
    }
    if (terminated !== undefined) return `Init:${endedReason(mapOf(terminated))}`
    if (waiting !== '' && waiting !== 'PodInitializing') return `Init:${waiting}`
    return `Init:${index}/${initContainers.length}`
  }
  return undefined
}

function conditionTrue(pod: KubeObject, type: string): boolean {
  return listOf(valueAt(pod, 'status.conditions')).some(
    (condition) => condition.type === type && condition.status === 'True',
  )
}

function containersReason(pod: KubeObject, tally: Tally, before: string): string {
  let reason = before
  let running = false
  for (const status of listOf(valueAt(pod, 'status.containerStatuses')).toReversed()) {
    count(tally, status)
    const waiting = textOf(valueAt(status, 'state.waiting.reason'))
    const terminated = valueAt(status, 'state.terminated')
    if (waiting !== '') reason = waiting
    else if (terminated !== undefined) reason = endedReason(mapOf(terminated))
    else if (status.ready === true && valueAt(status, 'state.running') !== undefined) {
      running = true
      tally.ready++
    }
  }
  if (reason === 'Completed' && running) return conditionTrue(pod, 'Ready') ? 'Running' : 'NotReady'
  return reason
}

function summarise(pod: KubeObject): Summary {
  const phase = textOf(valueAt(pod, 'status.phase'))
  const sidecars = new Set(
    listOf(valueAt(pod, 'spec.initContainers'))
      .filter((container) => container.restartPolicy === 'Always')
      .map((container) => textOf(container.name)),
  )
  const tally: Tally = { ready: 0, restarts: 0, lastRestart: undefined }
  const statusReason = textOf(valueAt(pod, 'status.reason'))
  let reason = statusReason === '' ? phase : statusReason
  const initialising = initReason(pod, tally, sidecars)
  if (initialising !== undefined) reason = initialising
  if (initialising === undefined || conditionTrue(pod, 'Initialized')) {
    if (initialising === undefined && sidecars.size === 0) tally.restarts = 0
    reason = containersReason(pod, tally, reason)
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (statusReason === 'NodeLost') reason = 'Unknown'
    else if (phase !== 'Succeeded' && phase !== 'Failed') reason = 'Terminating'
  }
  const total = listOf(valueAt(pod, 'spec.containers')).length + sidecars.size
  return { ...tally, total, reason }
}

function restarts(pod: KubeObject, now: number): string {
  const { restarts: times, lastRestart } = summarise(pod)
  if (times === 0 || lastRestart === undefined) return String(times)
  return `${times} (${humanDuration(Math.max(0, now - lastRestart))} ago)`
}

function gates(pod: KubeObject): string {
  const wanted = listOf(valueAt(pod, 'spec.readinessGates'))
  if (wanted.length === 0) return none
  const met = wanted.filter((gate) => conditionTrue(pod, textOf(gate.conditionType)))
  return `${met.length}/${wanted.length}`
}

export const podPrinters: Readonly<Record<string, Cells>> = {
  '/pods': {
    Ready: (pod) => {
      const { ready, total } = summarise(pod)
      return `${ready}/${total}`
    },
    Status: (pod) => summarise(pod).reason,
    Restarts: restarts,
    Age: age,
    'IP*': (pod) => textOf(valueAt(pod, 'status.podIP')) || none,
    'Node*': (pod) => textOf(valueAt(pod, 'spec.nodeName')) || none,
    'Nominated Node*': (pod) => textOf(valueAt(pod, 'status.nominatedNodeName')) || none,
    'Readiness Gates*': gates,
  },
}
