/**
 * Deployment → ReplicaSets: one ReplicaSet a pod template; rolling updates move replicas from the old ones to
 * the new one within maxSurge and maxUnavailable, Recreate ends the old pods first. The arithmetic
 * is in `deployment-sets.ts`.
 */
import type { Component } from '../base/index.ts'
import { type Informer, WorkQueue } from '../client/index.ts'
import { controllerOf, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import {
  copiedAnnotations,
  currentSet,
  newSet,
  type Resize,
  replicasOf,
  revisionAnnotation,
  revisionOf,
  rollingStep,
  scaleOnly,
  sizeAnnotations,
  wasScaled,
} from './deployment-sets.ts'
import { deploymentStatus, progressDeadlineMs } from './deployment-status.ts'
import { Owned } from './owned.ts'
import { sameStatus } from './pods.ts'
import { type Deployment, isEnded, type Pod, type ReplicaSet } from './workload-types.ts'

export class DeploymentController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<Deployment, ReplicaSet>
  readonly #pods: Informer<Pod>
  readonly #queue: WorkQueue

  /** Needs the pods' index `controller`, which the ReplicaSet controller makes. */
  constructor(context: ControllerContext) {
    this.#context = context
    this.#pods = context.informers.of(resources.pods)
    this.#owned = new Owned<Deployment, ReplicaSet>({
      context,
      kind: 'Deployment',
      ownerResource: resources.deployments,
      childResource: resources.replicasets,
      selectorOf: (deployment) => deployment.spec?.selector,
      wake: (key) => this.#queue.add(key),
    })
    this.#queue = new WorkQueue({
      name: 'deployment controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    this.#owned.listen()
    // The last pod of an old set may outlive the set's counts; Recreate waits for it.
    this.#pods.on({ deleted: (pod) => this.#podGone(pod) })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  #podGone(pod: Pod): void {
    const parent = controllerOf(pod)
    if (parent?.kind !== 'ReplicaSet') return
    const set = this.#owned.children.get(`${pod.metadata.namespace}/${parent.name}`)
    const owner = set === undefined ? undefined : controllerOf(set)
    if (owner?.kind !== 'Deployment') return
    const key = `${pod.metadata.namespace}/${owner.name}`
    if (this.#owned.owners.get(key)?.spec?.strategy?.type === 'Recreate') this.#queue.add(key)
  }

  async #sync(key: string): Promise<void> {
    const deployment = this.#owned.owners.get(key)
    if (deployment?.spec === undefined || deployment.metadata.uid === undefined) return
    if (deployment.metadata.deletionTimestamp !== undefined) return
    const sets = await this.#owned.claim(deployment)
    let current = currentSet(deployment, sets)
    const old = sets.filter((set) => set !== current)
    if (deployment.spec.paused === true || wasScaled(deployment, sets)) {
      await this.#resize(deployment, scaleOnly(deployment, current, old))
    } else if (deployment.spec.strategy?.type === 'Recreate') {
      current = await this.#recreate(deployment, current, old)
    } else {
      current = await this.#ensureCurrent(deployment, current, old)
      await this.#resize(deployment, rollingStep(deployment, current, old))
    }
    await this.#forgetHistory(deployment, old)
    await this.#writeStatus(key, deployment, current, old)
  }

  async #recreate(
    deployment: Deployment,
    current: ReplicaSet | undefined,
    old: ReplicaSet[],
  ): Promise<ReplicaSet | undefined> {
    const active = old.filter((set) => replicasOf(set) > 0)
    await this.#resize(
      deployment,
      active.map((set) => ({ set, replicas: 0 })),
    )
    if (active.length > 0 || old.some((set) => this.#hasPods(set))) return current
    const next = await this.#ensureCurrent(deployment, current, old)
    await this.#resize(deployment, [{ set: next, replicas: deployment.spec?.replicas ?? 1 }])
    return next
  }

  #hasPods(set: ReplicaSet): boolean {
    const pods = this.#pods.byIndex('controller', set.metadata.uid ?? '')
    return pods.some((pod) => !isEnded(pod))
  }

  /** The set of the present template, made when there is none, with the newest revision. */
  async #ensureCurrent(
    deployment: Deployment,
    current: ReplicaSet | undefined,
    old: ReplicaSet[],
  ): Promise<ReplicaSet> {
    const { client, events } = this.#context
    const highest = Math.max(0, ...old.map(revisionOf))
    const own = current === undefined ? 0 : revisionOf(current)
    const revision = String(own > highest ? own : highest + 1)
    let result = current
    if (result === undefined) {
      const replicas = old.length === 0 ? (deployment.spec?.replicas ?? 1) : 0
      const wanted = newSet(deployment, revision, replicas)
      result = await client.create<ReplicaSet>(resources.replicasets, wanted)
      if (replicas > 0) {
        const text = `Scaled up replica set ${result.metadata.name} from 0 to ${replicas}`
        events.record(deployment, 'Normal', 'ScalingReplicaSet', text)
      }
    } else {
      const wanted = { ...copiedAnnotations(deployment), [revisionAnnotation]: revision }
      result = await this.#annotate(result, wanted)
    }
    if (deployment.metadata.annotations?.[revisionAnnotation] !== revision) {
      const { namespace, name } = deployment.metadata
      const body = { metadata: { annotations: { [revisionAnnotation]: revision } } }
      await client.patch(resources.deployments, namespace, name, 'merge', body)
    }
    return result
  }

  async #annotate(set: ReplicaSet, wanted: Record<string, string>): Promise<ReplicaSet> {
    const { annotations = {}, namespace, name } = set.metadata
    if (Object.entries(wanted).every(([key, value]) => annotations[key] === value)) return set
    const body = { metadata: { annotations: wanted } }
    return this.#context.client.patch(resources.replicasets, namespace, name, 'merge', body)
  }

  async #resize(deployment: Deployment, steps: readonly Resize[]): Promise<void> {
    const { client, events } = this.#context
    const annotations = sizeAnnotations(deployment)
    for (const { set, replicas } of steps) {
      const before = replicasOf(set)
      const known = set.metadata.annotations ?? {}
      const sized = Object.entries(annotations).every(([key, value]) => known[key] === value)
      if (before === replicas && sized) continue
      const { namespace, name, resourceVersion } = set.metadata
      await client.patch(resources.replicasets, namespace, name, 'merge', {
        metadata: { resourceVersion, annotations },
        spec: { replicas },
      })
      if (before === replicas) continue
      const direction = replicas > before ? 'up' : 'down'
      const text = `Scaled ${direction} replica set ${name} from ${before} to ${replicas}`
      events.record(deployment, 'Normal', 'ScalingReplicaSet', text)
    }
  }

  async #forgetHistory(deployment: Deployment, old: ReplicaSet[]): Promise<void> {
    const limit = deployment.spec?.revisionHistoryLimit ?? 10
    const idle = old.filter(
      (set) =>
        set.spec?.replicas === 0 &&
        (set.status?.replicas ?? 0) === 0 &&
        set.metadata.deletionTimestamp === undefined,
    )
    const surplus = idle
      .toSorted((a, b) => revisionOf(a) - revisionOf(b))
      .slice(0, Math.max(0, idle.length - limit))
    for (const { metadata } of surplus) {
      await this.#context.client.delete(resources.replicasets, metadata.namespace, metadata.name)
    }
  }

  async #writeStatus(
    key: string,
    deployment: Deployment,
    current: ReplicaSet | undefined,
    old: ReplicaSet[],
  ): Promise<void> {
    const nowMs = this.#context.clock.now()
    const status = deploymentStatus(deployment, current, old, nowMs)
    if (!sameStatus(deployment.status, status)) {
      const body = { ...deployment, status }
      await this.#context.client.update(resources.deployments, body, { subresource: 'status' })
    }
    const deadline = progressDeadlineMs(deployment, status, nowMs)
    if (deadline !== undefined) this.#queue.addAfter(key, deadline + 1000)
  }
}
