/** ReplicaSet → Pods: keeps the wanted number, adopts by ownerReference, counts for the status. */
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import { ApiError, resources } from '../kube/index.ts'
import { type ControllerContext, Expectations } from './context.ts'
import { conditionAgeMs, podFromTemplate, sameStatus } from './pods.ts'
import {
  controllerOf,
  isActive,
  isReady,
  type Pod,
  type PodTemplate,
  type ReplicaSet,
} from './workload-types.ts'

/** How many pods one pass creates or deletes; the rest follows when these are seen. */
const burst = 50

export class ReplicaSetController implements Component {
  readonly #context: ControllerContext
  readonly #sets: Informer<ReplicaSet>
  readonly #pods: Informer<Pod>
  readonly #queue: WorkQueue
  readonly #expectations: Expectations

  constructor(context: ControllerContext) {
    this.#context = context
    this.#sets = context.informers.of(resources.replicasets)
    this.#pods = context.informers.of(resources.pods)
    this.#expectations = new Expectations(context.clock)
    this.#queue = new WorkQueue({
      name: 'replicaset controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
    this.#pods.addIndex('controller', (pod) => controllerUid(pod))
  }

  async start(): Promise<void> {
    this.#sets.on({
      added: (set) => this.#queue.add(objectKey(set)),
      updated: (set) => this.#queue.add(objectKey(set)),
      deleted: (set) => this.#expectations.forget(objectKey(set)),
    })
    this.#pods.on({
      added: (pod) => this.#podChanged(pod, `+${pod.metadata.name}`),
      updated: (pod) =>
        this.#podChanged(pod, pod.metadata.deletionTimestamp && `-${pod.metadata.name}`),
      deleted: (pod) => this.#podChanged(pod, `-${pod.metadata.name}`),
    })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  #podChanged(pod: Pod, token: string | undefined): void {
    const owner = controllerOf(pod)
    if (owner?.kind !== 'ReplicaSet') return
    const key = `${pod.metadata.namespace}/${owner.name}`
    if (token !== undefined) this.#expectations.seen(key, token)
    this.#queue.add(key)
  }

  async #sync(key: string): Promise<void> {
    const set = this.#sets.get(key)
    if (set?.spec === undefined || set.metadata.uid === undefined) return
    const pods = this.#pods.byIndex('controller', set.metadata.uid).filter(isActive)
    if (set.metadata.deletionTimestamp === undefined && this.#expectations.satisfied(key)) {
      const missing = (set.spec.replicas ?? 1) - pods.length
      if (missing > 0) await this.#create(key, set, set.spec.template, Math.min(missing, burst))
      else if (missing < 0) await this.#remove(key, set, pods, Math.min(-missing, burst))
    }
    await this.#writeStatus(key, set, pods)
  }

  async #create(key: string, set: ReplicaSet, template: PodTemplate, count: number): Promise<void> {
    const { client, events } = this.#context
    await Promise.all(
      Array.from({ length: count }, async () => {
        const pod = podFromTemplate(set, template)
        this.#expectations.expect(key, `+${pod.metadata.name}`)
        try {
          await client.create(resources.pods, pod)
          events.record(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`)
        } catch (error) {
          this.#expectations.seen(key, `+${pod.metadata.name}`)
          // The namespace is being emptied, and this set with it.
          if (namespaceTerminating(error)) return
          events.record(
            set,
            'Warning',
            'FailedCreate',
            `Error creating: ${(error as Error).message}`,
          )
          throw error
        }
      }),
    )
  }

  async #remove(key: string, set: ReplicaSet, pods: Pod[], count: number): Promise<void> {
    const { client, events } = this.#context
    // The least useful first: not ready, then the youngest.
    const order = pods.toSorted(
      (a, b) =>
        Number(isReady(a)) - Number(isReady(b)) ||
        (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''),
    )
    await Promise.all(
      order.slice(0, count).map(async (pod) => {
        this.#expectations.expect(key, `-${pod.metadata.name}`)
        await client.delete(resources.pods, pod.metadata.namespace, pod.metadata.name)
        events.record(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`)
      }),
    )
  }

  async #writeStatus(key: string, set: ReplicaSet, pods: Pod[]): Promise<void> {
    const minReadyMs = (set.spec?.minReadySeconds ?? 0) * 1000
    const ready = pods.filter(isReady)
    const ages = ready.map((pod) => conditionAgeMs(pod, 'Ready', this.#context.clock.now()))
    const available = ages.filter((age) => age >= minReadyMs)
    if (available.length < ready.length)
      this.#queue.addAfter(key, minReadyMs - Math.max(0, ...ages) + 100)
    const status = {
      replicas: pods.length,
      fullyLabeledReplicas: pods.length,
      readyReplicas: ready.length,
      availableReplicas: available.length,
      observedGeneration: set.metadata.generation ?? 0,
    }
    if (sameStatus(set.status, status)) return
    await this.#context.client.update(
      resources.replicasets,
      { ...set, status },
      { subresource: 'status' },
    )
  }
}

function namespaceTerminating(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.status.details?.causes?.some((cause) => cause.reason === 'NamespaceTerminating') === true
  )
}

export function controllerUid(pod: Pod): string[] {
  const owner = controllerOf(pod)
  return owner === undefined ? [] : [owner.uid]
}
