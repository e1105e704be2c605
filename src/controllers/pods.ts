/** What controllers that own pods share: names, the pod from a template, comparing statuses. */
import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '../kube/index.ts'
import type { Pod, PodTemplate } from './workload-types.ts'

/** The alphabet of Kubernetes' generated names: no vowels, so that no words appear. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

export function randomSuffix(length = 5): string {
  let text = ''
  for (let index = 0; index < length; index++) {
    text += alphabet[Math.floor(Math.random() * alphabet.length)] ?? ''
  }
  return text
}

/** A short hash in the same alphabet; equal templates have equal hashes. */
export function shortHash(value: unknown): string {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(stableJson(value))) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
  }
  let text = ''
  for (let index = 0; index < 10; index++) {
    text += alphabet[Number(hash % BigInt(alphabet.length))] ?? ''
    hash /= BigInt(alphabet.length)
  }
  return text
}

function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

/** A new pod of the owner, named `<owner>-<5 letters>`. */
export function podFromTemplate(owner: KubeObject, template: PodTemplate, nodeName?: string): Pod {
  const prefix = owner.metadata.name.slice(0, 57)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${prefix}-${randomSuffix()}`,
      generateName: `${prefix}-`,
      namespace: owner.metadata.namespace ?? 'default',
      labels: { ...template.metadata?.labels },
      ...(template.metadata?.annotations
        ? { annotations: { ...template.metadata.annotations } }
        : {}),
      ownerReferences: [ownedBy(owner)],
    },
    spec: nodeName === undefined ? template.spec : { ...template.spec, nodeName },
  }
}

export function ownedBy(owner: KubeObject) {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

/** How long a condition has been True, in milliseconds; 0 when it isn't. */
export function conditionAgeMs(pod: Pod, type: string, nowMs: number): number {
  const condition = pod.status?.conditions?.find((c) => c.type === type && c.status === 'True')
  return condition?.lastTransitionTime === undefined
    ? 0
    : Math.max(0, nowMs - Date.parse(condition.lastTransitionTime))
}

/** Whether every wanted field already has its value; zero and absent are the same. */
export function sameStatus(present: object | undefined, wanted: object): boolean {
  const current = (present ?? {}) as Record<string, unknown>
  return Object.entries(wanted).every(([key, value]) =>
    typeof value === 'number'
      ? (current[key] ?? 0) === value
      : isDeepStrictEqual(current[key], value),
  )
}

/** `25%` of the total, or the number itself. */
export function portion(
  value: number | string | undefined,
  total: number,
  roundUp: boolean,
): number {
  if (typeof value === 'number') return value
  const percent = Number.parseInt(value ?? '25%', 10)
  const exact = (percent * total) / 100
  return roundUp ? Math.ceil(exact) : Math.floor(exact)
}

export function kubeTime(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`
}
