/**
 * StatefulSet → Pods with names that last: `web-0`, `web-1` ... in order, each with its host name below the
 * headless Service and its claims. `stateful-plan.ts` decides, this does it.
 */
import type { Component } from '../base/index.ts'
import { WorkQueue } from '../client/index.ts'
import { isApiError, type KubeObject, resources } from '../kube/index.ts'
import { type ControllerContext, Expectations } from './context.ts'
import { ignoreMissing } from './namespace.ts'
import { Owned } from './owned.ts'
import { namespaceTerminating } from './pod-control.ts'
import { availableInMs, sameStatus } from './pods.ts'
import { type History, Revisions, revisionLabel, templateOf } from './revisions.ts'
import {
  type StatefulState,
  type StatefulStep,
  statefulCounts,
  statefulSteps,
} from './stateful-plan.ts'
import { claimsOf, newPod, ordinalOf, podName } from './stateful-pods.ts'
import type { Pod, StatefulSet } from './workload-types.ts'

export class StatefulSetController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<StatefulSet, Pod>
  readonly #revisions: Revisions<StatefulSet>
  readonly #expectations: Expectations
  readonly #queue: WorkQueue

  constructor(context: ControllerContext) {
    this.#context = context
    this.#expectations = new Expectations(context.clock)
    const common = { context, kind: 'StatefulSet', ownerResource: resources.statefulsets }
    const wake = (key: string): void => this.#queue.add(key)
    this.#owned = new Owned<StatefulSet, Pod>({
      ...common,
      childResource: resources.pods,
      selectorOf: (set) => set.spec?.selector,
      wake,
      onChild: (key, pod, change) => this.#seen(key, pod, change),
    })
    this.#revisions = new Revisions<StatefulSet>({ ...common, wake })
    this.#queue = new WorkQueue({
      name: 'statefulset controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    this.#owned.listen()
    this.#revisions.listen()
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  #seen(key: string, pod: Pod, change: 'added' | 'updated' | 'deleted'): void {
    const { name, uid, deletionTimestamp } = pod.metadata
    if (change === 'added') this.#expectations.seen(key, `+${name}`)
    if (change === 'deleted' || deletionTimestamp !== undefined) {
      this.#expectations.seen(key, `-${uid}`)
    }
  }

  async #sync(key: string): Promise<void> {
    const set = this.#owned.owners.get(key)
    if (set?.spec === undefined) return this.#expectations.forget(key)
    if (set.metadata.deletionTimestamp !== undefined) return
    const pods = (await this.#owned.claim(set)).filter((pod) => ordinalOf(set, pod) >= 0)
    const history = await this.#revisions.sync(set)
    const nowMs = this.#context.clock.now()
    const updateRevision = history.update.metadata.name
    const state: StatefulState = { set, pods, updateRevision, nowMs }
    if (this.#expectations.satisfied(key)) {
      for (const step of statefulSteps(state)) await this.#do(key, state, history, step)
    }
    await this.#writeStatus(key, state, history)
  }

  async #do(
    key: string,
    state: StatefulState,
    history: History,
    step: StatefulStep,
  ): Promise<void> {
    const { set } = state
    if (step.kind === 'create') return this.#create(key, set, history, step)
    const { events } = this.#context
    const { name, namespace } = step.pod.metadata
    if (step.ended) {
      const failed = step.pod.status?.phase === 'Failed'
      events.record(
        set,
        failed ? 'Warning' : 'Normal',
        failed ? 'RecreatingFailedPod' : 'RecreatingTerminatedPod',
        `StatefulSet ${namespace}/${set.metadata.name} is recreating ${failed ? 'failed' : 'terminated'} Pod ${name}`,
      )
    }
    if (step.kind === 'remove') await this.#condemnClaims(set, step.pod)
    await this.#delete(key, set, step.pod)
  }

  async #create(
    key: string,
    set: StatefulSet,
    history: History,
    step: { readonly ordinal: number; readonly revision: 'current' | 'update' },
  ): Promise<void> {
    const { client, events } = this.#context
    const { ordinal } = step
    const name = podName(set, ordinal)
    const current = history.all.find(
      ({ metadata }) => metadata.name === set.status?.currentRevision,
    )
    const revision = (step.revision === 'current' ? current : undefined) ?? history.update
    const template = templateOf(revision)
    if (template === undefined) return
    const where = `in StatefulSet ${set.metadata.name}`
    this.#expectations.expect(key, `+${name}`)
    try {
      for (const { object } of claimsOf(set, ordinal)) await this.#claim(set, name, object)
      const pod = newPod(set, ordinal, { name: revision.metadata.name, template })
      await client.create(resources.pods, pod)
      events.record(set, 'Normal', 'SuccessfulCreate', `create Pod ${name} ${where} successful`)
    } catch (error) {
      this.#expectations.seen(key, `+${name}`)
      if (namespaceTerminating(error)) return
      const why = `create Pod ${name} ${where} failed error: ${(error as Error).message}`
      events.record(set, 'Warning', 'FailedCreate', why)
      throw error
    }
  }

  async #claim(set: StatefulSet, pod: string, claim: KubeObject): Promise<void> {
    const { client, events } = this.#context
    const { namespace, name } = claim.metadata
    // A claim outlives its pod, so usually it is there; then this is a cheap refusal.
    try {
      await client.create(resources.persistentvolumeclaims, claim)
      const text = `create Claim ${name} Pod ${pod} in StatefulSet ${set.metadata.name} success`
      events.record(set, 'Normal', 'SuccessfulCreate', text)
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw error
      await this.#keepClaim(namespace, name)
    }
  }

  /** A claim that was to go with a removed pod stays, when the pod comes back first. */
  async #keepClaim(namespace: string | undefined, name: string): Promise<void> {
    const { client } = this.#context
    const claim = await client.get(resources.persistentvolumeclaims, namespace, name)
    const owners = claim?.metadata.ownerReferences ?? []
    const left = owners.filter(({ kind }) => kind !== 'Pod')
    if (claim === undefined || left.length === owners.length) return
    const body = { metadata: { ownerReferences: left.length === 0 ? null : left } }
    await client.patch(resources.persistentvolumeclaims, namespace, name, 'merge', body)
  }

  /** Retention `whenScaled: Delete`: the claims belong to the pod that is removed, and go with it. */
  async #condemnClaims(set: StatefulSet, pod: Pod): Promise<void> {
    if (set.spec?.persistentVolumeClaimRetentionPolicy?.whenScaled !== 'Delete') return
    const { name, uid = '', namespace } = pod.metadata
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Pod', name, uid }]
    for (const { object } of claimsOf(set, ordinalOf(set, pod))) {
      await this.#context.client
        .patch(resources.persistentvolumeclaims, namespace, object.metadata.name, 'merge', {
          metadata: { ownerReferences },
        })
        .catch(ignoreMissing)
    }
  }

  async #delete(key: string, set: StatefulSet, pod: Pod): Promise<void> {
    const { client, events } = this.#context
    const { name, namespace, uid = '' } = pod.metadata
    this.#expectations.expect(key, `-${uid}`)
    try {
      await client.delete(resources.pods, namespace, name, { preconditions: { uid } })
      const text = `delete Pod ${name} in StatefulSet ${set.metadata.name} successful`
      events.record(set, 'Normal', 'SuccessfulDelete', text)
    } catch (error) {
      this.#expectations.seen(key, `-${uid}`)
      if (!isApiError(error, 'Conflict')) ignoreMissing(error)
    }
  }

  async #writeStatus(key: string, state: StatefulState, history: History): Promise<void> {
    const { client } = this.#context
    const { set, pods, updateRevision, nowMs } = state
    const soon = availableInMs(pods, set.spec?.minReadySeconds ?? 0, nowMs)
    if (soon !== undefined) this.#queue.addAfter(key, soon)
    const known = history.all.some(({ metadata }) => metadata.name === set.status?.currentRevision)
    const before = known ? (set.status?.currentRevision ?? updateRevision) : updateRevision
    const first = statefulCounts(state, before)
    const wanted = set.spec?.replicas ?? 1
    // The update is over: what was new is now current.
    const done =
      set.spec?.updateStrategy?.type !== 'OnDelete' &&
      first.updatedReplicas === wanted &&
      first.readyReplicas === wanted &&
      first.replicas === wanted
    const currentRevision = done ? updateRevision : before
    const counts = statefulCounts(state, currentRevision)
    const status = {
      ...counts,
      currentRevision,
      updateRevision,
      collisionCount: 0,
      observedGeneration: set.metadata.generation ?? 0,
    }
    if (!sameStatus(set.status, status)) {
      await client.update(resources.statefulsets, { ...set, status }, { subresource: 'status' })
    }
    const used = new Set(pods.map((pod) => pod.metadata.labels?.[revisionLabel] ?? ''))
    await this.#revisions.trim(set, history, used.add(currentRevision))
  }
}
