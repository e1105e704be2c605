/** The scale subresource: replicas of any workload in one shape, `autoscaling/v1` Scale. */
import { badRequest, methodNotAllowed, notFound } from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeBody } from '../http/negotiate.ts'
import type { ResourceType } from '../resource-type.ts'
import { type JsonMap, mapOf, setAt, valueAt } from '../values.ts'
import { readPatch } from './patch.ts'
import { pathsOf, scaleOf } from './scale-shape.ts'
import { subjectOf, type Target } from './target.ts'
import { updateObject } from './update.ts'
import { objectAt } from './versions.ts'
import { managerOf, writeOptions } from './write-options.ts'

/** GET, PUT and PATCH on `…/scale`. */
export async function scale(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  const { type, bucket } = target
  if (exchange.method === 'GET') {
    const entry = bucket.get(target.namespace ?? '', target.name ?? '')
    if (entry === undefined) throw notFound(subjectOf(type, target.name))
    return exchange.json(200, scaleOf(type, objectAt(type, entry)))
  }
  const wanted = await readWanted(context, exchange, type)
  const options = writeOptions(exchange)
  const made = await updateObject(context, exchange, target, {
    dryRun: options.dryRun,
    part: 'main',
    manager: managerOf(exchange, options),
    change: (current) => {
      const next = mapOf(wanted(scaleOf(type, current)))
      const replicas = valueAt(next, 'spec.replicas') ?? 0
      if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
        throw badRequest('spec.replicas: must be a non-negative integer')
      }
      const version = valueAt(next, 'metadata.resourceVersion')
      if (typeof version === 'string') current.metadata.resourceVersion = version
      setAt(current as unknown as JsonMap, pathsOf(type).specPath, replicas)
      return current
    },
  })
  exchange.json(200, scaleOf(type, made))
}

async function readWanted(
  context: VerbContext,
  exchange: Exchange,
  type: ResourceType,
): Promise<(current: unknown) => unknown> {
  if (exchange.method === 'PATCH') return readPatch(context, exchange, type)
  if (exchange.method !== 'PUT') throw methodNotAllowed()
  const body = decodeBody(await exchange.body(), exchange.header('content-type'))
  return () => body
}
