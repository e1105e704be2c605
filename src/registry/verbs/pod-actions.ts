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
import { consultAbout } from './admission-request.ts'
import { deleteObject } from './delete.ts'
import { grantEviction } from './eviction.ts'
import { subjectOf, type Target } from './target.ts'
import { updateObject } from './update.ts'
import { writeOptions } from './write-options.ts'

/** POST `pods/x/eviction`: a deletion which a disruption budget can refuse. */
export async function evict(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  if (exchange.method !== 'POST') throw methodNotAllowed()
  const body = mapOf(decodeBody(await exchange.body(), exchange.header('content-type')))
  const options = mapOf(body.deleteOptions)
  const grace = options.gracePeriodSeconds
  const { dryRun } = writeOptions(exchange)
  const kind = { group: 'policy', version: 'v1', kind: 'Eviction' }
  await consultAbout(context, exchange, target, { kind, body, dryRun })
  await grantEviction(context, exchange, target, dryRun)
  await deleteObject(context, target, {
    dryRun,
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
  const { dryRun } = writeOptions(exchange)
  const kind = { group: '', version: 'v1', kind: 'Binding' }
  await consultAbout(context, exchange, target, { kind, body, dryRun })
  await updateObject(context, exchange, target, {
    dryRun,
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
