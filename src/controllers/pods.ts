/** What controllers that own pods share: names, the pod from a template, comparing statuses. */
import { isDeepStrictEqual } from 'node:util'
import { controllerReference, type KubeObject } from '../kube/index.ts'
import { isReady, type Pod, type PodTemplate } from './workload-types.ts'

/** The alphabet of Kubernetes' generated names: no vowels, so that no words appear. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

export function randomSuffix(random: () => number, length = 5): string {
  let text = ''
  for (let index = 0; index < length; index++) {
    text += alphabet[Math.floor(random() * alphabet.length)] ?? ''
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

/** A new pod of the owner, named `<base>-<5 letters>`; the base is the owner's name unless given. */
export function podFromTemplate(
  owner: KubeObject,
  template: PodTemplate,
  random: () => number,
  base: string = owner.metadata.name,
): Pod {
  const prefix = base.slice(0, 57)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${prefix}-${randomSuffix(random)}`,
      generateName: `${prefix}-`,
      namespace: owner.metadata.namespace ?? 'default',
      labels: { ...template.metadata?.labels },
      ...(template.metadata?.annotations
        ? { annotations: { ...template.metadata.annotations } }
        : {}),
      ownerReferences: [controllerReference(owner)],
    },
    spec: template.spec,
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

/** Ready, and for as long as the owner asks. */
export function isAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  return isReady(pod) && conditionAgeMs(pod, 'Ready', nowMs) >= minReadySeconds * 1000
}

/** When the next of these pods becomes available by age alone; undefined: none will. */
export function availableInMs(
  pods: readonly Pod[],
  minReadySeconds: number,
  nowMs: number,
): number | undefined {
  const waits = pods
    .filter((pod) => isReady(pod) && !isAvailable(pod, minReadySeconds, nowMs))
    .map((pod) => minReadySeconds * 1000 - conditionAgeMs(pod, 'Ready', nowMs))
  return waits.length === 0 ? undefined : Math.min(...waits) + 100
}
