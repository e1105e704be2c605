/** ReplicaSet → Pods: keeps the wanted number and counts for the status. */
import type { Component } from '../base/index.ts'
import { WorkQueue } from '../client/index.ts'
import { type Condition, formatTime, resources, withCondition } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { limits } from './limits.ts'
import { Owned } from './owned.ts'
import { PodControl } from './pod-control.ts'
import { availableInMs, isAvailable, podFromTemplate, sameStatus } from './pods.ts'
import { isActive, isReady, type Pod, type ReplicaSet } from './workload-types.ts'

export class ReplicaSetController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<ReplicaSet, Pod>
  readonly #control: PodControl
  readonly #queue: WorkQueue

  constructor(context: ControllerContext) {
    this.#context = context
    this.#control = new PodControl(context)
    this.#owned = new Owned<ReplicaSet, Pod>({
      context,
      kind: 'ReplicaSet',
      ownerResource: resources.replicasets,
      childResource: resources.pods,
      selectorOf: (set) => set.spec?.selector,
      wake: (key) => this.#queue.add(key),
      onChild: (key, pod, change) => this.#control.seen(key, pod, change),
    })
    this.#queue = new WorkQueue({
      name: 'replicaset controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    this.#owned.listen()
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const set = this.#owned.owners.get(key)
    if (set?.spec === undefined) return this.#control.forget(key)
    const pods = (await this.#owned.claim(set)).filter(isActive)
    let failure: Error | undefined
    if (set.metadata.deletionTimestamp === undefined && this.#control.settled(key)) {
      const missing = (set.spec.replicas ?? 1) - pods.length
      failure = await this.#scale(key, set, pods, missing).then(
        () => undefined,
        (error: Error) => error,
      )
    }
    await this.#writeStatus(key, set, pods, failure)
    if (failure !== undefined) throw failure
  }

  async #scale(key: string, set: ReplicaSet, pods: Pod[], missing: number): Promise<void> {
    const { random } = this.#context
    const template = set.spec?.template
    if (missing > 0 && template !== undefined) {
      const count = Math.min(missing, limits.podBurst)
      const made = Array.from({ length: count }, () => podFromTemplate(set, template, random))
      await Promise.all(made.map((pod) => this.#control.create(key, set, pod)))
    } else if (missing < 0) {
      const surplus = leastUsefulFirst(pods).slice(0, Math.min(-missing, limits.podBurst))
      await Promise.all(surplus.map((pod) => this.#control.delete(key, set, pod)))
    }
  }

  async #writeStatus(
    key: string,
    set: ReplicaSet,
    pods: Pod[],
    failure: Error | undefined,
  ): Promise<void> {
    const { client, clock } = this.#context
    const minReadySeconds = set.spec?.minReadySeconds ?? 0
    const now = clock.now()
    const soon = availableInMs(pods, minReadySeconds, now)
    if (soon !== undefined) this.#queue.addAfter(key, soon)
    const labels = Object.entries(set.spec?.template.metadata?.labels ?? {})
    const conditions = this.#conditions(set, failure)
    const status = {
      replicas: pods.length,
      fullyLabeledReplicas: pods.filter((pod) =>
        labels.every(([name, value]) => pod.metadata.labels?.[name] === value),
      ).length,
      readyReplicas: pods.filter(isReady).length,
      availableReplicas: pods.filter((pod) => isAvailable(pod, minReadySeconds, now)).length,
      observedGeneration: set.metadata.generation ?? 0,
      ...(conditions.length === 0 ? {} : { conditions }),
    }
    const cleared = conditions.length === 0 && (set.status?.conditions ?? []).length > 0
    if (!cleared && sameStatus(set.status, status)) return
    await client.update(resources.replicasets, { ...set, status }, { subresource: 'status' })
  }

  /** Tells on the object itself why pods can't be made. */
  #conditions(set: ReplicaSet, failure: Error | undefined): readonly Condition[] {
    const present = (set.status?.conditions ?? []) as readonly Condition[]
    const others = present.filter(({ type }) => type !== 'ReplicaFailure')
    if (failure === undefined) return this.#control.settled(keyOfSet(set)) ? others : present
    const condition: Condition = {
      type: 'ReplicaFailure',
      status: 'True',
      reason: 'FailedCreate',
      message: failure.message,
    }
    return withCondition(present, condition, formatTime(this.#context.clock.now()))
  }
}

function keyOfSet(set: ReplicaSet): string {
  return `${set.metadata.namespace}/${set.metadata.name}`
}

/** Not ready before ready, then the youngest. */
function leastUsefulFirst(pods: readonly Pod[]): Pod[] {
  return pods.toSorted(
    (a, b) =>
      Number(isReady(a)) - Number(isReady(b)) ||
      (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''),
  )
}
