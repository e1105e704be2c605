/** DaemonSet → one Pod a node. A changed template replaces the pod (OnDelete leaves it). */
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import { type ControllerContext, Expectations } from './context.ts'
import { podFromTemplate, sameStatus, shortHash } from './pods.ts'
import { controllerOf, type DaemonSet, isActive, isReady, type Pod } from './workload-types.ts'

const hashLabel = 'controller-revision-hash'

export class DaemonSetController implements Component {
  readonly #context: ControllerContext
  readonly #sets: Informer<DaemonSet>
  readonly #pods: Informer<Pod>
  readonly #nodes: Informer<KubeObject>
  readonly #queue: WorkQueue
  readonly #expectations: Expectations

  /** Needs the pods' index `controller`, which the ReplicaSet controller makes. */
  constructor(context: ControllerContext) {
    this.#context = context
    this.#sets = context.informers.of(resources.daemonsets)
    this.#pods = context.informers.of(resources.pods)
    this.#nodes = context.informers.of(resources.nodes)
    this.#expectations = new Expectations(context.clock)
    this.#queue = new WorkQueue({
      name: 'daemonset controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
    })
  }

  async start(): Promise<void> {
    const enqueue = (set: DaemonSet): void => this.#queue.add(objectKey(set))
    const enqueueOwner = (pod: Pod, token?: string): void => {
      const owner = controllerOf(pod)
      if (owner?.kind !== 'DaemonSet') return
      const key = `${pod.metadata.namespace}/${owner.name}`
      if (token !== undefined) this.#expectations.seen(key, token)
      this.#queue.add(key)
    }
    this.#sets.on({ added: enqueue, updated: enqueue })
    this.#pods.on({
      added: (pod) => enqueueOwner(pod, pod.metadata.name),
      updated: (pod) => enqueueOwner(pod),
      deleted: (pod) => enqueueOwner(pod),
    })
    const all = (): void => this.#sets.list().forEach(enqueue)
    this.#nodes.on({ added: all, deleted: all })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const set = this.#sets.get(key)
    if (set?.spec === undefined || set.metadata.uid === undefined) return
    const { client, events } = this.#context
    const hash = shortHash(set.spec.template)
    const owned = this.#pods.byIndex('controller', set.metadata.uid)
    const nodes = this.#nodes.list().map((node) => node.metadata.name)
    if (set.metadata.deletionTimestamp === undefined && this.#expectations.satisfied(key)) {
      for (const node of nodes) {
        const present = owned.filter((pod) => pod.spec?.nodeName === node)
        if (present.length === 0) {
          const labels = { ...set.spec.template.metadata?.labels, [hashLabel]: hash }
          const template = {
            ...set.spec.template,
            metadata: { ...set.spec.template.metadata, labels },
          }
          const pod = podFromTemplate(set, template, node)
          this.#expectations.expect(key, pod.metadata.name)
          await client.create(resources.pods, pod)
          events.record(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`)
        }
        for (const pod of present) {
          const stale =
            pod.metadata.labels?.[hashLabel] !== hash &&
            set.spec.updateStrategy?.type !== 'OnDelete'
          if (pod.metadata.deletionTimestamp === undefined && (stale || !isActive(pod))) {
            await client.delete(resources.pods, pod.metadata.namespace, pod.metadata.name)
            events.record(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`)
          }
        }
      }
    }
    const active = owned.filter(isActive)
    const ready = active.filter(isReady).length
    const status = {
      currentNumberScheduled: active.length,
      desiredNumberScheduled: nodes.length,
      numberMisscheduled: 0,
      numberReady: ready,
      numberAvailable: ready,
      numberUnavailable: Math.max(0, nodes.length - ready),
      updatedNumberScheduled: active.filter((pod) => pod.metadata.labels?.[hashLabel] === hash)
        .length,
      observedGeneration: set.metadata.generation ?? 0,
    }
    if (sameStatus(set.status, status)) return
    await client.update(resources.daemonsets, { ...set, status }, { subresource: 'status' })
  }
}
