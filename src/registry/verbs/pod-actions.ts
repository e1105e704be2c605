/** Eviction and binding: two writes on pods that have a form of their own. */
import {
  badRequest,
  type Condition,
  conflict,
  formatTime,
  methodNotAllowed,
  success,
  withCondition,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeBody } from '../http/negotiate.ts'
import { listOf, mapOf, textOf, valueAt } from '../values.ts'
import { deleteObject } from './delete.ts'
import { subjectOf, type Target } from './target.ts'
import { updateObject } from './update.ts'
import { writeOptions } from './write-options.ts'

/** POST `pods/x/eviction`: a deletion which disruption budgets could refuse (none are enforced here). */
export async function evict(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  if (exchange.method !== 'POST') throw methodNotAllowed()
  const body = mapOf(decodeBody(await exchange.body(), exchange.header('content-type')))
  const options = mapOf(body.deleteOptions)
  const grace = options.gracePeriodSeconds
  await deleteObject(context, target, {
    dryRun: writeOptions(exchange).dryRun,
    graceSeconds: typeof grace === 'number' ? grace : undefined,
    propagation: undefined,
    uid: textOf(valueAt(options, 'preconditions.uid')) || undefined,
    resourceVersion: undefined,
  })
  exchange.json(201, { ...success(), code: 201 })
}

/** POST `pods/x/binding`: the scheduler's decision. */
export async function bind(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  if (exchange.method !== 'POST') throw methodNotAllowed()
  const body = mapOf(decodeBody(await exchange.body(), exchange.header('content-type')))
  const node = textOf(valueAt(body, 'target.name'))
  if (node === '') throw badRequest('target.name: the node to bind to is required')
  const uid = textOf(valueAt(body, 'metadata.uid'))
  const now = formatTime(context.clock.now())
  await updateObject(context, exchange, target, {
    dryRun: writeOptions(exchange).dryRun,
    part: 'raw',
    change: (pod) => {
      if (uid !== '') pod.metadata.uid = uid
      const spec = mapOf(pod.spec)
      const bound = textOf(spec.nodeName)
      if (bound !== '') {
        throw conflict(
          subjectOf(target.type, target.name),
          `pod is already assigned to node "${bound}"`,
        )
      }
      const status = mapOf(pod.status)
      const scheduled: Condition = { type: 'PodScheduled', status: 'True' }
      const conditions = listOf(status.conditions) as unknown as Condition[]
      return {
        ...pod,
        spec: { ...spec, nodeName: node },
        status: { ...status, conditions: withCondition(conditions, scheduled, now) },
      }
    },
  })
  exchange.json(201, { ...success(), code: 201 })
}
