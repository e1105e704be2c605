/**
 * Deployment → ReplicaSets: one ReplicaSet a pod template, found again by the template's hash; rolling
 * updates move replicas from the old ones to the new one within maxSurge and maxUnavailable.
 */
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import { resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { deploymentStatus, progressDeadlineMs } from './deployment-status.ts'
import { ownedBy, portion, sameStatus, shortHash } from './pods.ts'
import { controllerOf, type Deployment, type ReplicaSet } from './workload-types.ts'

const hashLabel = 'pod-template-hash'
const revisionAnnotation = 'deployment.kubernetes.io/revision'

export class DeploymentController implements Component {
  readonly #context: ControllerContext
  readonly #deployments: Informer<Deployment>
  readonly #sets: Informer<ReplicaSet>
  readonly #queue: WorkQueue

  constructor(context: ControllerContext) {
    this.#context = context
    this.#deployments = context.informers.of(resources.deployments)
    this.#sets = context.informers.of(resources.replicasets)
    this.#sets.addIndex('controller', (set) => {
      const owner = controllerOf(set)
      return owner === undefined ? [] : [owner.uid]
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
    const enqueue = (deployment: Deployment): void => this.#queue.add(objectKey(deployment))
    const enqueueOwner = (set: ReplicaSet): void => {
      const owner = controllerOf(set)
      if (owner?.kind === 'Deployment') this.#queue.add(`${set.metadata.namespace}/${owner.name}`)
    }
    this.#deployments.on({ added: enqueue, updated: enqueue })
    this.#sets.on({ added: enqueueOwner, updated: enqueueOwner, deleted: enqueueOwner })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const deployment = this.#deployments.get(key)
    if (deployment?.spec === undefined || deployment.metadata.uid === undefined) return
    if (deployment.metadata.deletionTimestamp !== undefined) return
    const sets = this.#sets.byIndex('controller', deployment.metadata.uid)
    const hash = shortHash(deployment.spec.template)
    let current = sets.find((set) => set.metadata.labels?.[hashLabel] === hash)
    const old = sets.filter((set) => set !== current)
    const paused = deployment.spec.paused === true
    if (!paused && (deployment.spec.strategy?.type !== 'Recreate' || drained(old))) {
      current = await this.#ensureCurrent(deployment, current, old, hash)
    }
    if (current !== undefined) await this.#scale(deployment, current, old)
    else await Promise.all(old.map((set) => this.#resize(deployment, set, 0)))
    await this.#forgetHistory(deployment, old)
    await this.#writeStatus(key, deployment, current, old)
  }

  async #ensureCurrent(
    deployment: Deployment,
    current: ReplicaSet | undefined,
    old: ReplicaSet[],
    hash: string,
  ): Promise<ReplicaSet> {
    const { client, events } = this.#context
    const highest = Math.max(0, ...old.map(revisionOf))
    const revision = String(
      current && revisionOf(current) > highest ? revisionOf(current) : highest + 1,
    )
    if (current === undefined) {
      const spec = deployment.spec as NonNullable<Deployment['spec']>
      const labels = { ...spec.template.metadata?.labels, [hashLabel]: hash }
      const created = await client.create<ReplicaSet>(resources.replicasets, {
        apiVersion: 'apps/v1',
        kind: 'ReplicaSet',
        metadata: {
          name: `${deployment.metadata.name}-${hash}`,
          namespace: deployment.metadata.namespace ?? 'default',
          labels,
          annotations: {
            ...copiedAnnotations(deployment),
            [revisionAnnotation]: revision,
            'deployment.kubernetes.io/desired-replicas': String(spec.replicas ?? 1),
          },
          ownerReferences: [ownedBy(deployment)],
        },
        spec: {
          replicas: old.length === 0 ? (spec.replicas ?? 1) : 0,
          minReadySeconds: spec.minReadySeconds ?? 0,
          selector: {
            ...spec.selector,
            matchLabels: { ...spec.selector.matchLabels, [hashLabel]: hash },
          },
          template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
        },
      })
      if (old.length === 0) {
        const text = `Scaled up replica set ${created.metadata.name} from 0 to ${created.spec?.replicas}`
        events.record(deployment, 'Normal', 'ScalingReplicaSet', text)
      }
      current = created
    } else if (current.metadata.annotations?.[revisionAnnotation] !== revision) {
      current = await client.patch<ReplicaSet>(
        resources.replicasets,
        current.metadata.namespace,
        current.metadata.name,
        'merge',
        { metadata: { annotations: { [revisionAnnotation]: revision } } },
      )
    }
    if (deployment.metadata.annotations?.[revisionAnnotation] !== revision) {
      await client.patch(
        resources.deployments,
        deployment.metadata.namespace,
        deployment.metadata.name,
        'merge',
        {
          metadata: { annotations: { [revisionAnnotation]: revision } },
        },
      )
    }
    return current
  }

  async #scale(deployment: Deployment, current: ReplicaSet, old: ReplicaSet[]): Promise<void> {
    const spec = deployment.spec
    const wanted = spec?.replicas ?? 1
    const present = current.spec?.replicas ?? 0
    const active = old.filter((set) => (set.spec?.replicas ?? 0) > 0)
    if (spec?.strategy?.type === 'Recreate' || active.length === 0) {
      for (const set of active) await this.#resize(deployment, set, 0)
      if (present !== wanted && drained(old)) await this.#resize(deployment, current, wanted)
      return
    }
    const rolling = spec?.strategy?.rollingUpdate
    const surge = portion(rolling?.maxSurge, wanted, true)
    let unavailable = portion(rolling?.maxUnavailable, wanted, false)
    if (surge === 0 && unavailable === 0) unavailable = 1
    const total = [current, ...active].reduce((sum, set) => sum + (set.spec?.replicas ?? 0), 0)
    const room = wanted + surge - total
    if (present > wanted) await this.#resize(deployment, current, wanted)
    else if (present < wanted && room > 0) {
      await this.#resize(deployment, current, present + Math.min(room, wanted - present))
    }
    const available = [current, ...active].reduce(
      (sum, set) => sum + (set.status?.availableReplicas ?? 0),
      0,
    )
    // Old pods that never got ready may go at once; ready ones only while enough others are.
    let spare = available - (wanted - unavailable)
    for (const set of active.toSorted((a, b) => revisionOf(a) - revisionOf(b))) {
      const replicas = set.spec?.replicas ?? 0
      const unready = replicas - (set.status?.availableReplicas ?? 0)
      const removable = Math.min(replicas, Math.max(0, unready) + Math.max(0, spare))
      if (removable === 0) continue
      await this.#resize(deployment, set, replicas - removable)
      spare -= Math.max(0, removable - Math.max(0, unready))
    }
  }

  async #resize(deployment: Deployment, set: ReplicaSet, replicas: number): Promise<void> {
    const before = set.spec?.replicas ?? 0
    if (before === replicas) return
    const { client, events } = this.#context
    await client.patch(resources.replicasets, set.metadata.namespace, set.metadata.name, 'merge', {
      metadata: { resourceVersion: set.metadata.resourceVersion },
      spec: { replicas },
    })
    const direction = replicas > before ? 'up' : 'down'
    const text = `Scaled ${direction} replica set ${set.metadata.name} from ${before} to ${replicas}`
    events.record(deployment, 'Normal', 'ScalingReplicaSet', text)
  }

  async #forgetHistory(deployment: Deployment, old: ReplicaSet[]): Promise<void> {
    const limit = deployment.spec?.revisionHistoryLimit ?? 10
    const idle = old.filter((set) => set.spec?.replicas === 0 && (set.status?.replicas ?? 0) === 0)
    const surplus = idle
      .toSorted((a, b) => revisionOf(a) - revisionOf(b))
      .slice(0, Math.max(0, idle.length - limit))
    for (const set of surplus) {
      await this.#context.client.delete(
        resources.replicasets,
        set.metadata.namespace,
        set.metadata.name,
      )
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

function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[revisionAnnotation] ?? 0)
}

function drained(sets: ReplicaSet[]): boolean {
  return sets.every((set) => (set.spec?.replicas ?? 0) === 0 && (set.status?.replicas ?? 0) === 0)
}

/** A ReplicaSet carries its Deployment's annotations, but not those which describe the Deployment itself. */
function copiedAnnotations(deployment: Deployment): Record<string, string> {
  const { annotations = {} } = deployment.metadata
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([key]) =>
        key !== 'kubectl.kubernetes.io/last-applied-configuration' &&
        !key.startsWith('deployment.kubernetes.io/'),
    ),
  )
}
