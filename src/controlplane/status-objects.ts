/**
 * From what is wanted in a status to what is written: conditions keep their transition times, what other
 * controllers wrote stays, and nothing is written when nothing would change. Pure.
 */
import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '../kube/index.ts'
import {
  gatewayConditionTypes,
  gatewayController,
  meshController,
  type WantedAncestorStatus,
  type WantedCondition,
  type WantedGatewayStatus,
  type WantedListenerSetStatus,
  type WantedParentStatus,
} from '../translate/index.ts'
import { type Condition, type MergeOptions, mergeConditions } from './conditions.ts'

/** A status as a merge patch; undefined: it is as it should be. */
export type StatusPatch = Readonly<Record<string, unknown>> | undefined

interface ListenerStatus {
  readonly name?: string
  readonly conditions?: readonly Condition[]
}

/** Read defensively: it is what anybody may have written. */
interface GatewayStatusShape {
  readonly addresses?: readonly unknown[]
  readonly conditions?: readonly Condition[]
  readonly listeners?: readonly ListenerStatus[]
  readonly attachedListenerSets?: number
}

function mergeOptions(object: KubeObject, nowMs: number): MergeOptions {
  return { generation: object.metadata.generation ?? 0, nowMs }
}

export function gatewayPatch(
  object: KubeObject,
  wanted: WantedGatewayStatus,
  nowMs: number,
): StatusPatch {
  const present = (object.status ?? {}) as GatewayStatusShape
  const options = mergeOptions(object, nowMs)
  const owned = { ...options, owned: gatewayConditionTypes }
  const next = {
    // An address that was good stays until there is a better one: clients may be using it.
    addresses: wanted.addresses.length > 0 ? wanted.addresses : (present.addresses ?? []),
    conditions: mergeConditions(present.conditions ?? [], wanted.conditions, owned),
    listeners: listenersOf(present.listeners ?? [], wanted.listeners ?? [], options),
    attachedListenerSets: wanted.attachedListenerSets,
  }
  const before = {
    addresses: present.addresses ?? [],
    conditions: present.conditions ?? [],
    listeners: present.listeners ?? [],
    attachedListenerSets: present.attachedListenerSets ?? 0,
  }
  if (isDeepStrictEqual(before, next)) return undefined
  const { attachedListenerSets, ...rest } = next
  // Null takes it away: servers with an older schema do not know the field.
  const hadSets = present.attachedListenerSets !== undefined
  if (attachedListenerSets === 0 && !hadSets) return rest
  return { ...rest, attachedListenerSets: attachedListenerSets === 0 ? null : attachedListenerSets }
}

export function listenerSetPatch(
  object: KubeObject,
  wanted: WantedListenerSetStatus,
  nowMs: number,
): StatusPatch {
  const present = (object.status ?? {}) as GatewayStatusShape
  const options = mergeOptions(object, nowMs)
  const { conditions = [], listeners = [] } = present
  const next = {
    conditions: mergeConditions(conditions, wanted.conditions, options),
    listeners: listenersOf(listeners, wanted.listeners ?? [], options),
  }
  return isDeepStrictEqual({ conditions, listeners }, next) ? undefined : next
}

function listenersOf(
  present: readonly ListenerStatus[],
  wanted: NonNullable<WantedGatewayStatus['listeners']>,
  options: MergeOptions,
): readonly ListenerStatus[] {
  return wanted.map((listener) => {
    const old = present.find(({ name }) => name === listener.name)?.conditions ?? []
    const types = old.map(({ type }) => type)
    const conditions = mergeConditions(old, listener.conditions, { ...options, owned: types })
    return { ...listener, conditions }
  })
}

interface Entry {
  readonly controllerName?: string
  readonly parentRef?: unknown
  readonly ancestorRef?: unknown
  readonly conditions?: readonly Condition[]
}

/** @param wanted undefined: no parent is ours; what we said before goes */
export function routePatch(
  object: KubeObject,
  wanted: readonly WantedParentStatus[] | undefined,
  nowMs: number,
): StatusPatch {
  const { parents: present } = (object.status ?? {}) as { readonly parents?: readonly Entry[] }
  if (wanted === undefined && present === undefined) return undefined
  const others = (present ?? []).filter((one) => one.controllerName !== gatewayController)
  const options = mergeOptions(object, nowMs)
  const own = (wanted ?? []).map((parent) => {
    const old = (present ?? []).find(
      (one) =>
        one.controllerName === parent.controllerName &&
        isDeepStrictEqual(one.parentRef, parent.parentRef),
    )
    return {
      ...parent,
      conditions: mergeConditions(old?.conditions ?? [], parent.conditions, options),
    }
  })
  const parents = [...others, ...own]
  return isDeepStrictEqual(present, parents) ? undefined : { parents }
}

export function ancestorPatch(
  object: KubeObject,
  wanted: readonly WantedAncestorStatus[],
  nowMs: number,
): StatusPatch {
  const { ancestors: present } = (object.status ?? {}) as { readonly ancestors?: readonly Entry[] }
  if (wanted.length === 0 && present === undefined) return undefined
  const ours: ReadonlySet<string | undefined> = new Set([gatewayController, meshController])
  const others = (present ?? []).filter((one) => !ours.has(one.controllerName))
  const options = mergeOptions(object, nowMs)
  const own = wanted.map((ancestor) => {
    const old = (present ?? []).find(
      (one) =>
        one.controllerName === ancestor.controllerName &&
        isDeepStrictEqual(one.ancestorRef, ancestor.ancestorRef),
    )
    const conditions = mergeConditions(old?.conditions ?? [], ancestor.conditions, options)
    return { ...ancestor, conditions }
  })
  const ancestors = [...others, ...own]
  return isDeepStrictEqual(present, ancestors) ? undefined : { ancestors }
}

/** @param owned types that go when they are not wanted */
export function conditionsPatch(
  object: KubeObject,
  wanted: readonly WantedCondition[],
  owned: readonly string[],
  nowMs: number,
): StatusPatch {
  const { conditions: present = [] } = (object.status ?? {}) as {
    readonly conditions?: readonly Condition[]
  }
  const options = { ...mergeOptions(object, nowMs), owned }
  const conditions = mergeConditions(present, wanted, options)
  return conditions === present ? undefined : { conditions }
}
