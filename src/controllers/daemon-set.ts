/**
 * DaemonSet → one Pod a node that its selector fits. A changed template replaces the pods within maxSurge or
 * maxUnavailable (`daemon-update.ts`); OnDelete leaves them. Templates are kept as ControllerRevisions.
 */
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { type DaemonState, daemonUpdateStep, surgeOf } from './daemon-update.ts'
import { limits } from './limits.ts'
import { Owned } from './owned.ts'
import { PodControl } from './pod-control.ts'
import { availableInMs, isAvailable, podFromTemplate, sameStatus } from './pods.ts'
import { type ControllerRevision, hashOf, Revisions, revisionLabel } from './revisions.ts'
import { type DaemonSet, isEnded, isReady, type Pod } from './workload-types.ts'

export class DaemonSetController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<DaemonSet, Pod>
  readonly #revisions: Revisions<DaemonSet>
  readonly #nodes: Informer<KubeObject>
  readonly #control: PodControl
  readonly #queue: WorkQueue
  /** The last pod that ended and when its successor may come, by DaemonSet. */
  readonly #ended = new Map<string, { uid: string; delayMs: number; dueMs: number }>()

  constructor(context: ControllerContext) {
    this.#context = context
    this.#nodes = context.informers.of(resources.nodes)
    this.#control = new PodControl(context)
    const common = { context, kind: 'DaemonSet', ownerResource: resources.daemonsets }
    const wake = (key: string): void => this.#queue.add(key)
    this.#owned = new Owned<DaemonSet, Pod>({
      ...common,
      childResource: resources.pods,
      selectorOf: (set) => set.spec?.selector,
      wake,
      onChild: (key, pod, change) => this.#control.seen(key, pod, change),
    })
    this.#revisions = new Revisions<DaemonSet>({ ...common, wake })
    this.#queue = new WorkQueue({
      name: 'daemonset controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
    })
  }

  async start(): Promise<void> {
    this.#owned.listen()
    this.#revisions.listen()
    const all = (): void => {
      for (const set of this.#owned.owners.list()) this.#queue.add(objectKey(set))
    }
    this.#nodes.on({
      added: all,
      deleted: all,
      updated: (node, previous) => {
        const before = JSON.stringify(previous.metadata.labels)
        if (JSON.stringify(node.metadata.labels) !== before) all()
      },
    })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const set = this.#owned.owners.get(key)
    if (set?.spec === undefined) {
      this.#ended.delete(key)
      return this.#control.forget(key)
    }
    if (set.metadata.deletionTimestamp !== undefined) return
    const pods = await this.#owned.claim(set)
    const history = await this.#revisions.sync(set)
    const nodes = this.#nodes.list().filter((node) => fits(set, node))
    const names = new Set(nodes.map((node) => node.metadata.name))
    const hash = hashOf(history.update)
    if (this.#control.settled(key)) await this.#manage(key, set, { pods, names, hash })
    const used = new Set(
      history.all
        .filter((revision) => pods.some((pod) => runs(pod, revision)))
        .map(({ metadata }) => metadata.name),
    )
    await this.#revisions.trim(set, history, used)
    await this.#writeStatus(key, set, { pods, names, hash })
  }

  async #manage(key: string, set: DaemonSet, now: Present): Promise<void> {
    const byNode = new Map([...now.names].map((name) => [name, [] as Pod[]]))
    const absent = new Set(now.names)
    const misplaced: Pod[] = []
    for (const pod of now.pods) {
      const node = pod.spec?.nodeName ?? ''
      const going = pod.metadata.deletionTimestamp !== undefined
      // While a pod goes its place is not free, unless the new one may run beside it.
      if (!going || surgeOf(set, now.names.size) === 0) absent.delete(node)
      if (going) continue
      if (!byNode.has(node)) misplaced.push(pod)
      else if (isEnded(pod)) await this.#removeEnded(key, set, pod)
      else byNode.get(node)?.push(pod)
    }
    const state: DaemonState = {
      set,
      pods: byNode,
      isUpdated: (pod) => pod.metadata.labels?.[revisionLabel] === now.hash,
      nowMs: this.#context.clock.now(),
    }
    const step = daemonUpdateStep(state)
    const removed = [...misplaced, ...doubles(state), ...step.remove]
    for (const pod of new Set(removed)) await this.#control.delete(key, set, pod)
    for (const node of new Set([...absent, ...step.surge])) await this.#create(key, set, now, node)
  }

  async #create(key: string, set: DaemonSet, now: Present, node: string): Promise<void> {
    const template = set.spec?.template
    if (template === undefined) return
    const pod = podFromTemplate(set, template, this.#context.random)
    pod.metadata.labels = { ...pod.metadata.labels, [revisionLabel]: now.hash }
    await this.#control.create(key, set, { ...pod, spec: { ...pod.spec, nodeName: node } })
  }

  /** A daemon that has ended is started anew, each time after a longer pause. */
  async #removeEnded(key: string, set: DaemonSet, pod: Pod): Promise<void> {
    const { events, clock } = this.#context
    const { name, namespace, uid = '' } = pod.metadata
    const nowMs = clock.now()
    let ended = this.#ended.get(key)
    if (ended?.uid !== uid) {
      const { daemonBackoffMs, daemonBackoffMaxMs } = limits
      // The first comes at once; after a quiet time so does the next.
      const fresh = ended === undefined || nowMs - ended.dueMs > daemonBackoffMaxMs
      const before = fresh ? 0 : Math.max(daemonBackoffMs / 2, ended?.delayMs ?? 0)
      const delayMs = Math.min(before * 2, daemonBackoffMaxMs)
      ended = { uid, delayMs, dueMs: nowMs + delayMs }
      this.#ended.set(key, ended)
    }
    if (ended.dueMs > nowMs) return this.#queue.addAfter(key, ended.dueMs - nowMs)
    const failed = pod.status?.phase === 'Failed'
    const what = `Found ${failed ? 'failed' : 'succeeded'} daemon pod ${namespace}/${name} on node ${pod.spec?.nodeName}, will try to ${failed ? 'kill' : 'delete'} it`
    const reason = failed ? 'FailedDaemonPod' : 'SucceededDaemonPod'
    events.record(set, failed ? 'Warning' : 'Normal', reason, what)
    await this.#control.delete(key, set, pod)
  }

  async #writeStatus(key: string, set: DaemonSet, now: Present): Promise<void> {
    const { client, clock } = this.#context
    const { pods, names, hash } = now
    const minReadySeconds = set.spec?.minReadySeconds ?? 0
    const nowMs = clock.now()
    const counts = { scheduled: 0, misplaced: 0, ready: 0, available: 0, updated: 0 }
    const firsts = oldestByNode(pods)
    for (const [node, pod] of firsts) {
      if (!names.has(node)) {
        if (!isEnded(pod)) counts.misplaced++
        continue
      }
      counts.scheduled++
      if (isReady(pod)) counts.ready++
      if (isAvailable(pod, minReadySeconds, nowMs)) counts.available++
      if (pod.metadata.labels?.[revisionLabel] === hash) counts.updated++
    }
    const soon = availableInMs(pods, minReadySeconds, nowMs)
    if (soon !== undefined) this.#queue.addAfter(key, soon)
    const status = {
      currentNumberScheduled: counts.scheduled,
      desiredNumberScheduled: names.size,
      numberMisscheduled: counts.misplaced,
      numberReady: counts.ready,
      numberAvailable: counts.available,
      numberUnavailable: names.size - counts.available,
      updatedNumberScheduled: counts.updated,
      observedGeneration: set.metadata.generation ?? 0,
    }
    if (sameStatus(set.status, status)) return
    await client.update(resources.daemonsets, { ...set, status }, { subresource: 'status' })
  }
}

interface Present {
  readonly pods: readonly Pod[]
  /** Nodes that should have a pod. */
  readonly names: ReadonlySet<string>
  /** Of the present template. */
  readonly hash: string
}

function runs(pod: Pod, revision: ControllerRevision): boolean {
  return pod.metadata.labels?.[revisionLabel] === hashOf(revision)
}

function fits(set: DaemonSet, node: KubeObject): boolean {
  const { nodeName = '', nodeSelector = {} } = set.spec?.template.spec ?? {}
  if (nodeName !== '' && nodeName !== node.metadata.name) return false
  const labels = node.metadata.labels ?? {}
  return Object.entries(nodeSelector).every(([key, value]) => labels[key] === value)
}

/** More than one pod of the same template on a node: the oldest stays. */
function doubles({ pods, isUpdated }: DaemonState): Pod[] {
  return [...pods.values()].flatMap((present) => {
    const sorted = present.toSorted(byAge)
    return [
      ...sorted.filter(isUpdated).slice(1),
      ...sorted.filter((pod) => !isUpdated(pod)).slice(1),
    ]
  })
}

function oldestByNode(pods: readonly Pod[]): Map<string, Pod> {
  const firsts = new Map<string, Pod>()
  for (const pod of pods.toSorted(byAge)) {
    const node = pod.spec?.nodeName ?? ''
    if (pod.metadata.deletionTimestamp === undefined && !firsts.has(node)) firsts.set(node, pod)
  }
  return firsts
}

function byAge(a: Pod, b: Pod): number {
  return (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '')
}
