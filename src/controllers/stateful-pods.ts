/** Who the pods of a StatefulSet are: ordinals, names, host names, and the claims that go with them. */
import { controllerReference, type KubeObject } from '../kube/index.ts'
import { revisionLabel } from './revisions.ts'
import { type Pod, type PodTemplate, type StatefulSet } from './workload-types.ts'

const nameLabel = 'statefulset.kubernetes.io/pod-name'
const indexLabel = 'apps.kubernetes.io/pod-index'

export function podName(set: StatefulSet, ordinal: number): string {
  return `${set.metadata.name}-${ordinal}`
}

/** The pod's number; -1 when its name is not one of the set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number {
  const { name } = pod.metadata
  const prefix = `${set.metadata.name}-`
  const digits = name.startsWith(prefix) ? name.slice(prefix.length) : ''
  return /^\d+$/.test(digits) ? Number(digits) : -1
}

/** The first ordinal, and the one after the last. */
export function ordinalsOf(set: StatefulSet): { readonly start: number; readonly end: number } {
  const start = set.spec?.ordinals?.start ?? 0
  return { start, end: start + (set.spec?.replicas ?? 1) }
}

/** The pod of an ordinal, from the template of a revision. */
export function newPod(
  set: StatefulSet,
  ordinal: number,
  revision: { readonly name: string; readonly template: PodTemplate },
): Pod {
  const { template } = revision
  const name = podName(set, ordinal)
  const claims = claimsOf(set, ordinal)
  const volumes = (template.spec.volumes ?? []).filter(
    (volume) => !claims.some((claim) => claim.volume === volume.name),
  )
  const claimed = claims.map((claim) => ({
    name: claim.volume,
    persistentVolumeClaim: { claimName: claim.object.metadata.name },
  }))
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      generateName: `${set.metadata.name}-`,
      namespace: set.metadata.namespace ?? 'default',
      labels: {
        ...template.metadata?.labels,
        [indexLabel]: String(ordinal),
        [revisionLabel]: revision.name,
        [nameLabel]: name,
      },
      ...(template.metadata?.annotations === undefined
        ? {}
        : { annotations: { ...template.metadata.annotations } }),
      ownerReferences: [controllerReference(set)],
    },
    spec: {
      ...template.spec,
      ...(volumes.length + claimed.length === 0 ? {} : { volumes: [...claimed, ...volumes] }),
      hostname: name,
      ...(set.spec?.serviceName === undefined ? {} : { subdomain: set.spec.serviceName }),
    },
  }
}

export interface Claim {
  /** The name of the template, and of the pod's volume. */
  readonly volume: string
  readonly object: KubeObject
}

/** The PersistentVolumeClaims of an ordinal: `<template>-<pod>`, kept when the pod goes. */
export function claimsOf(set: StatefulSet, ordinal: number): Claim[] {
  const { volumeClaimTemplates = [], selector } = set.spec ?? {}
  const deleted = set.spec?.persistentVolumeClaimRetentionPolicy?.whenDeleted === 'Delete'
  return volumeClaimTemplates.map((template) => {
    const { name, labels, annotations } = template.metadata
    return {
      volume: name,
      object: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: {
          name: `${name}-${podName(set, ordinal)}`,
          namespace: set.metadata.namespace ?? 'default',
          labels: { ...labels, ...selector?.matchLabels },
          ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
          ...(deleted ? { ownerReferences: [controllerReference(set)] } : {}),
        },
        spec: template.spec,
      },
    }
  })
}
