/**
 * PodDisruptionBudget status: how many of the selected pods are healthy, how many must be, and so how many an
 * eviction may take. The eviction itself counts down and notes the pod, until this has seen it go.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import {
  type Condition,
  controllerOf,
  formatTime,
  type KubeObject,
  type LabelSelector,
  labelSelectorMatches,
  resources,
  withCondition,
} from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { limits } from './limits.ts'
import { portion } from './pods.ts'
import {
  type Deployment,
  isActive,
  isReady,
  type Pod,
  type ReplicaSet,
  type StatefulSet,
} from './workload-types.ts'

export interface BudgetStatus {
  currentHealthy?: number
  desiredHealthy?: number
  expectedPods?: number
  disruptionsAllowed?: number
  observedGeneration?: number
  disruptedPods?: Record<string, string>
  conditions?: readonly Condition[]
}

export type Budget = KubeObject<
  {
    selector?: LabelSelector
    minAvailable?: number | string
    maxUnavailable?: number | string
  },
  BudgetStatus
>

const inNamespace = 'namespace'

export class DisruptionController implements Component {
  readonly #context: ControllerContext
  readonly #budgets: Informer<Budget>
  readonly #pods: Informer<Pod>
  readonly #scaled: {
    readonly Deployment: Informer<Deployment>
    readonly ReplicaSet: Informer<ReplicaSet>
    readonly StatefulSet: Informer<StatefulSet>
  }
  readonly #queue: WorkQueue

  constructor(context: ControllerContext) {
    this.#context = context
    const { informers } = context
    this.#budgets = informers.of(resources.poddisruptionbudgets)
    this.#pods = informers.of(resources.pods)
    this.#scaled = {
      Deployment: informers.of(resources.deployments),
      ReplicaSet: informers.of(resources.replicasets),
      StatefulSet: informers.of(resources.statefulsets),
    }
    for (const informer of [this.#budgets, this.#pods]) {
      informer.addIndex(inNamespace, ({ metadata }: KubeObject) => [metadata.namespace ?? ''])
    }
    this.#queue = new WorkQueue({
      name: 'disruption controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
    })
  }

  async start(): Promise<void> {
    const enqueue = (budget: Budget): void => this.#queue.add(objectKey(budget))
    this.#budgets.on({ added: enqueue, updated: enqueue })
    const changed = (pod: Pod): void => {
      for (const budget of this.#budgets.byIndex(inNamespace, pod.metadata.namespace ?? '')) {
        if (selects(budget, pod)) enqueue(budget)
      }
    }
    this.#pods.on({
      added: changed,
      deleted: changed,
      updated: (pod, previous) => {
        changed(pod)
        if (!isDeepStrictEqual(pod.metadata.labels, previous.metadata.labels)) changed(previous)
      },
    })
    for (const informer of Object.values(this.#scaled) as Informer<ReplicaSet>[]) {
      informer.on({
        updated: (object, previous) => {
          if (object.spec?.replicas === previous.spec?.replicas) return
          const { namespace = '' } = object.metadata
          this.#budgets.byIndex(inNamespace, namespace).forEach(enqueue)
        },
      })
    }
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const budget = this.#budgets.get(key)
    if (budget?.spec === undefined || budget.metadata.deletionTimestamp !== undefined) return
    const pods = this.#pods
      .byIndex(inNamespace, budget.metadata.namespace ?? '')
      .filter((pod) => selects(budget, pod) && isActive(pod))
    const { clock, client, events } = this.#context
    const disrupted = this.#disrupted(key, budget, pods)
    const healthy = pods.filter((pod) => isReady(pod) && !(pod.metadata.name in disrupted)).length
    const need = this.#needed(budget, pods)
    if (typeof need === 'string') {
      const text = `Failed to calculate the number of expected pods: ${need}`
      events.record(budget, 'Warning', 'CalculateExpectedPodCountFailed', text)
    }
    const known = typeof need === 'string' ? { expected: 0, desired: 0 } : need
    const allowed = known.expected === 0 ? 0 : Math.max(0, healthy - known.desired)
    const condition: Condition = {
      type: 'DisruptionAllowed',
      status: allowed > 0 ? 'True' : 'False',
      reason:
        typeof need === 'string'
          ? 'SyncFailed'
          : allowed > 0
            ? 'SufficientPods'
            : 'InsufficientPods',
      message: typeof need === 'string' ? need : '',
      observedGeneration: budget.metadata.generation ?? 0,
    }
    const status: BudgetStatus = {
      disruptionsAllowed: allowed,
      currentHealthy: healthy,
      desiredHealthy: known.desired,
      expectedPods: known.expected,
      observedGeneration: budget.metadata.generation ?? 0,
      ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }),
      conditions: withCondition(budget.status?.conditions, condition, formatTime(clock.now())),
    }
    if (isDeepStrictEqual(budget.status, status)) return
    const body = { ...budget, status }
    await client.update(resources.poddisruptionbudgets, body, { subresource: 'status' })
  }

  /** Pods whose eviction was granted, for as long as they may still be there. */
  #disrupted(key: string, budget: Budget, pods: readonly Pod[]): Record<string, string> {
    const nowMs = this.#context.clock.now()
    const present = new Set(pods.map(({ metadata }) => metadata.name))
    const kept = Object.entries(budget.status?.disruptedPods ?? {}).filter(
      ([name, time]) => present.has(name) && Date.parse(time) + limits.disruptedPodMs > nowMs,
    )
    const ends = kept.map(([, time]) => Date.parse(time) + limits.disruptedPodMs - nowMs)
    if (ends.length > 0) this.#queue.addAfter(key, Math.min(...ends) + 1000)
    return Object.fromEntries(kept)
  }

  /** How many pods there should be, and how many of them healthy; or why that can't be told. */
  #needed(
    budget: Budget,
    pods: readonly Pod[],
  ): { readonly expected: number; readonly desired: number } | string {
    const { minAvailable, maxUnavailable } = budget.spec ?? {}
    if (typeof minAvailable === 'number') return { expected: pods.length, desired: minAvailable }
    const scale = this.#scaleOf(pods)
    if (typeof scale === 'string') return scale
    if (maxUnavailable !== undefined) {
      const missing = portion(maxUnavailable, scale, true)
      return { expected: scale, desired: Math.max(0, scale - missing) }
    }
    const desired = minAvailable === undefined ? 1 : portion(minAvailable, scale, true)
    return { expected: scale, desired }
  }

  /** The sum of what the pods' owners are asked for. */
  #scaleOf(pods: readonly Pod[]): number | string {
    const owners = new Map<string, number>()
    for (const pod of pods) {
      const reference = controllerOf(pod)
      if (reference === undefined) continue
      const key = `${pod.metadata.namespace}/${reference.name}`
      if (reference.kind === 'StatefulSet') {
        owners.set(reference.uid, this.#scaled.StatefulSet.get(key)?.spec?.replicas ?? 0)
        continue
      }
      if (reference.kind !== 'ReplicaSet') {
        return `${reference.kind}s.${reference.apiVersion.split('/')[0]} does not implement the scale subresource`
      }
      const set = this.#scaled.ReplicaSet.get(key)
      const above = set === undefined ? undefined : controllerOf(set)
      const deployment =
        above?.kind === 'Deployment'
          ? this.#scaled.Deployment.get(`${pod.metadata.namespace}/${above.name}`)
          : undefined
      owners.set(above?.uid ?? reference.uid, (deployment ?? set)?.spec?.replicas ?? 0)
    }
    return [...owners.values()].reduce((sum, replicas) => sum + replicas, 0)
  }
}

function selects(budget: Budget, pod: Pod): boolean {
  return labelSelectorMatches(budget.spec?.selector, pod.metadata.labels)
}
