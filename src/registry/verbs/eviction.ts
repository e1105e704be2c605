/**
 * What a PodDisruptionBudget says to an eviction. Granting one counts the budget down at once and notes the pod in
 * it, so that evictions in quick succession can't take more than is allowed.
 */
import {
  type Condition,
  failure,
  forbidden,
  formatTime,
  internalError,
  type KubeObject,
  type LabelSelector,
  labelSelectorMatches,
  notFound,
  withCondition,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import type { Entry } from '../store/entry.ts'
import { StaleWrite } from '../store/objects.ts'
import { isMap, listOf, mapOf, valueAt } from '../values.ts'
import { subjectOf, type Target } from './target.ts'
import { updateObject } from './update.ts'

const budgetsId = 'policy/poddisruptionbudgets'

/** More evicted pods that are still there than this, and something is wrong with their node. */
const disruptedPodsMax = 2000

/** Throws the 429 of a budget that allows no eviction now; otherwise takes one from it. */
export async function grantEviction(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  dryRun: boolean,
): Promise<void> {
  const entry = target.bucket.latest(target.namespace ?? '', target.name ?? '')
  if (entry === undefined) throw notFound(subjectOf(target.type, target.name))
  const pod = entry.parse()
  if (isFree(pod)) return
  await askBudget(context, pod, dryRun)
  if (!dryRun) await announce(context, exchange, target)
}

/** Pods that do no work are no loss. */
function isFree(pod: KubeObject): boolean {
  const phase = valueAt(pod, 'status.phase')
  return (
    phase === 'Succeeded' ||
    phase === 'Failed' ||
    phase === 'Pending' ||
    pod.metadata.deletionTimestamp !== undefined
  )
}

async function askBudget(context: VerbContext, pod: KubeObject, dryRun: boolean): Promise<void> {
  const bucket = context.store.bucket(budgetsId)
  const { namespace = '' } = pod.metadata
  for (let attempt = 1; ; attempt++) {
    const entries = bucket.list(namespace).map((entry) => {
      return bucket.latest(namespace, entry.name) ?? entry
    })
    const matching = entries.filter((entry) => selects(entry, pod))
    if (matching.length > 1) {
      throw internalError(
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      )
    }
    const [entry] = matching
    if (entry === undefined) return
    const next = counted(entry.parse(), pod, context.clock.now())
    if (next === undefined || dryRun) return
    try {
      await context.store.write(bucket, { namespace, name: entry.name }, entry, next)
      return
    } catch (error) {
      if (!(error instanceof StaleWrite) || attempt >= limits.writeAttemptsMax) throw error
    }
  }
}

function selects(entry: Entry, pod: KubeObject): boolean {
  const selector = valueAt(entry.parse(), 'spec.selector') as LabelSelector | undefined
  return labelSelectorMatches(selector, pod.metadata.labels)
}

/** The budget after this eviction; undefined when the pod doesn't count. Throws when it allows none. */
function counted(budget: KubeObject, pod: KubeObject, nowMs: number): KubeObject | undefined {
  const status = mapOf(budget.status)
  const number = (field: string): number => {
    const value = status[field]
    return typeof value === 'number' ? value : 0
  }
  if (!isReady(pod)) {
    if (valueAt(budget, 'spec.unhealthyPodEvictionPolicy') === 'AlwaysAllow') return undefined
    // It is no loss to an application that has enough others.
    if (number('currentHealthy') >= number('desiredHealthy') && number('desiredHealthy') > 0) {
      return undefined
    }
  }
  const { name } = budget.metadata
  if (number('observedGeneration') < (budget.metadata.generation ?? 0)) {
    throw tooMany(
      "Cannot evict pod as it would violate the pod's disruption budget.",
      `The disruption budget ${name} is still being processed by the server.`,
      10,
    )
  }
  const disrupted = isMap(status.disruptedPods) ? status.disruptedPods : {}
  const subject = { group: 'policy', kind: 'poddisruptionbudgets', name }
  if (Object.keys(disrupted).length > disruptedPodsMax) {
    throw forbidden(
      subject,
      'DisruptedPods map too big - too many evictions not confirmed by PDB controller',
    )
  }
  const allowed = number('disruptionsAllowed')
  if (allowed <= 0) {
    throw tooMany(
      "Cannot evict pod as it would violate the pod's disruption budget.",
      `The disruption budget ${name} needs ${number('desiredHealthy')} healthy pods and has ` +
        `${number('currentHealthy')} currently`,
    )
  }
  const now = formatTime(nowMs)
  const left = allowed - 1
  const condition: Condition = {
    type: 'DisruptionAllowed',
    status: left > 0 ? 'True' : 'False',
    reason: left > 0 ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: number('observedGeneration'),
  }
  const conditions = listOf(status.conditions) as unknown as Condition[]
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: left,
      disruptedPods: { ...disrupted, [pod.metadata.name]: now },
      conditions: withCondition(conditions, condition, now),
    },
  }
}

function tooMany(message: string, why: string, retryAfterSeconds?: number) {
  return failure(429, 'TooManyRequests', message, {
    causes: [{ reason: 'DisruptionBudget', message: why }],
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  })
}

function isReady(pod: KubeObject): boolean {
  return listOf(valueAt(pod, 'status.conditions')).some(
    ({ type, status }) => type === 'Ready' && status === 'True',
  )
}

/** Those who look at the pod afterwards can tell that it did not fail. */
async function announce(context: VerbContext, exchange: Exchange, target: Target): Promise<void> {
  const now = formatTime(context.clock.now())
  await updateObject(context, exchange, target, {
    dryRun: false,
    part: 'raw',
    change: (pod) => {
      const status = mapOf(pod.status)
      const condition: Condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
      }
      const conditions = listOf(status.conditions) as unknown as Condition[]
      return {
        ...pod,
        status: { ...status, conditions: withCondition(conditions, condition, now) },
      }
    },
  })
}
