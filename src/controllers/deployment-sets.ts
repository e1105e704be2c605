/** What a Deployment's ReplicaSets are: one a pod template, with a revision, and how each may grow or shrink. */
import { isDeepStrictEqual } from 'node:util'
import { controllerReference, type KubeObject } from '../kube/index.ts'
import { portion, shortHash } from './pods.ts'
import type { Deployment, PodTemplate, ReplicaSet } from './workload-types.ts'

export const hashLabel = 'pod-template-hash'
export const revisionAnnotation = 'deployment.kubernetes.io/revision'
const desiredAnnotation = 'deployment.kubernetes.io/desired-replicas'
const maxAnnotation = 'deployment.kubernetes.io/max-replicas'

export interface Resize {
  readonly set: ReplicaSet
  readonly replicas: number
}

export function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[revisionAnnotation] ?? 0)
}

export function replicasOf(set: ReplicaSet): number {
  return set.spec?.replicas ?? 0
}

/** The set made from the Deployment's present template: a rollback finds the old one again. */
export function currentSet(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
): ReplicaSet | undefined {
  const template = deployment.spec?.template
  const oldestFirst = sets.toSorted((a, b) =>
    (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''),
  )
  return oldestFirst.find((set) => isDeepStrictEqual(bare(set.spec?.template), bare(template)))
}

/** The template without what the controller adds. */
function bare(template: PodTemplate | undefined): unknown {
  if (template === undefined) return undefined
  const { [hashLabel]: _hash, ...labels } = template.metadata?.labels ?? {}
  const { annotations = {} } = template.metadata ?? {}
  return { labels, annotations, spec: template.spec }
}

/** A new ReplicaSet for the Deployment's template. */
export function newSet(deployment: Deployment, revision: string, replicas: number): ReplicaSet {
  const spec = deployment.spec as NonNullable<Deployment['spec']>
  const hash = shortHash(spec.template)
  const labels = { ...spec.template.metadata?.labels, [hashLabel]: hash }
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace ?? 'default',
      labels,
      annotations: {
        ...copiedAnnotations(deployment),
        ...sizeAnnotations(deployment),
        [revisionAnnotation]: revision,
      },
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas,
      minReadySeconds: spec.minReadySeconds ?? 0,
      selector: {
        ...spec.selector,
        matchLabels: { ...spec.selector.matchLabels, [hashLabel]: hash },
      },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  }
}

/** A ReplicaSet carries its Deployment's annotations, but not those which describe the Deployment itself. */
export function copiedAnnotations(deployment: KubeObject): Record<string, string> {
  const { annotations = {} } = deployment.metadata
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([key]) =>
        key !== 'kubectl.kubernetes.io/last-applied-configuration' &&
        !key.startsWith('deployment.kubernetes.io/'),
    ),
  )
}

/** What the set was last sized for: a difference tells that somebody has scaled the Deployment. */
export function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const wanted = deployment.spec?.replicas ?? 1
  return {
    [desiredAnnotation]: String(wanted),
    [maxAnnotation]: String(wanted + surgeOf(deployment)),
  }
}

function surgeOf(deployment: Deployment): number {
  const { strategy, replicas = 1 } = deployment.spec ?? {}
  if (strategy?.type === 'Recreate') return 0
  return portion(strategy?.rollingUpdate?.maxSurge, replicas, true)
}

/** How many of the wanted pods may be missing. */
export function unavailableOf(deployment: Deployment): number {
  const { strategy, replicas = 1 } = deployment.spec ?? {}
  if (strategy?.type === 'Recreate') return 0
  const exact = portion(strategy?.rollingUpdate?.maxUnavailable, replicas, false)
  const unavailable = exact === 0 && surgeOf(deployment) === 0 ? 1 : exact
  return Math.min(unavailable, replicas)
}

/** Whether the Deployment was scaled since its sets were sized. */
export function wasScaled(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  const wanted = String(deployment.spec?.replicas ?? 1)
  return sets.some((set) => {
    const known = set.metadata.annotations?.[desiredAnnotation]
    return replicasOf(set) > 0 && known !== undefined && known !== wanted
  })
}

/** Sizes without progress of a rollout: of a paused Deployment, or one that was just scaled. */
export function scaleOnly(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): Resize[] {
  const wanted = deployment.spec?.replicas ?? 1
  const all = current === undefined ? [...old] : [current, ...old]
  const active = all.filter((set) => replicasOf(set) > 0)
  if (active.length <= 1) {
    const latest = active[0] ?? current ?? all.toSorted((a, b) => revisionOf(b) - revisionOf(a))[0]
    return latest === undefined ? [] : [{ set: latest, replicas: wanted }]
  }
  if (deployment.spec?.strategy?.type === 'Recreate') return []
  return proportional(active, wanted === 0 ? 0 : wanted + surgeOf(deployment))
}

/** Each set keeps its share; what rounding leaves over goes to the largest. */
function proportional(active: readonly ReplicaSet[], allowed: number): Resize[] {
  const total = active.reduce((sum, set) => sum + replicasOf(set), 0)
  const largestFirst = active.toSorted((a, b) => replicasOf(b) - replicasOf(a))
  let left = allowed - total
  const sizes = largestFirst.map((set) => {
    const before = replicasOf(set)
    const share = Math.round((before * allowed) / total) - before
    const added = left > 0 ? Math.min(left, Math.max(0, share)) : Math.max(left, Math.min(0, share))
    left -= added
    return { set, replicas: before + added }
  })
  const [first, ...rest] = sizes
  if (first === undefined) return []
  return [{ set: first.set, replicas: Math.max(0, first.replicas + left) }, ...rest]
}

/** One step of a rolling update, within maxSurge and maxUnavailable. */
export function rollingStep(
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
): Resize[] {
  const wanted = deployment.spec?.replicas ?? 1
  const present = replicasOf(current)
  const active = old.filter((set) => replicasOf(set) > 0)
  const everyone = [current, ...active]
  const steps: Resize[] = []
  const total = everyone.reduce((sum, set) => sum + replicasOf(set), 0)
  const room = Math.max(0, wanted + surgeOf(deployment) - total)
  const next = present > wanted ? wanted : present + Math.min(room, wanted - present)
  if (next !== present) steps.push({ set: current, replicas: next })
  const available = everyone.reduce((sum, set) => sum + (set.status?.availableReplicas ?? 0), 0)
  // Old pods that never got ready may go at once; ready ones only while enough others are.
  let spare = Math.max(0, available - (wanted - unavailableOf(deployment)))
  for (const set of active.toSorted((a, b) => revisionOf(a) - revisionOf(b))) {
    const replicas = replicasOf(set)
    const unready = Math.max(0, replicas - (set.status?.availableReplicas ?? 0))
    const removable = Math.min(replicas, unready + spare)
    if (removable === 0) continue
    steps.push({ set, replicas: replicas - removable })
    spare -= Math.max(0, removable - unready)
  }
  return steps
}
