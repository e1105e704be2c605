/** From method and path to the verb, and from the verb to the code that answers it. */
import { methodNotAllowed, notFound, resourceNotFound } from '../kube/index.ts'
import type { VerbContext } from './context.ts'
import type { Exchange } from './http/exchange.ts'
import type { RequestInfo } from './http/request-info.ts'
import { create } from './verbs/create.ts'
import { remove, removeCollection } from './verbs/delete.ts'
import { list, versionOf, waitForVersion } from './verbs/list.ts'
import { patch } from './verbs/patch.ts'
import { bind, evict } from './verbs/pod-actions.ts'
import { scale } from './verbs/scale.ts'
import { subjectOf, type Target } from './verbs/target.ts'
import { finalizeNamespace, replace } from './verbs/update.ts'
import { bytesAt, objectAt } from './verbs/versions.ts'
import { View } from './verbs/view.ts'
import { watch } from './verbs/watch.ts'

const ofMethod: Record<string, string> = {
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
}

/** The verb as authorization knows it. */
export function verbOf(exchange: Exchange, info: RequestInfo): string {
  const { method } = exchange
  if (method === 'GET' || method === 'HEAD') {
    if (exchange.flag('watch')) return 'watch'
    return info.name === undefined ? 'list' : 'get'
  }
  if (method === 'DELETE') return info.name === undefined ? 'deletecollection' : 'delete'
  return ofMethod[method] ?? method.toLowerCase()
}

/** Answers a request on a resource that exists, by someone who may. */
export async function answerResource(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  verb: string,
): Promise<void> {
  if (target.subresource !== undefined) return answerSubresource(context, exchange, target)
  switch (verb) {
    case 'get':
      return get(context, exchange, target)
    case 'list': {
      allow(target, 'list')
      const result = await list(context.store, exchange, target)
      return new View(exchange, target.type, context.clock).sendList(exchange, result)
    }
    case 'watch':
      allow(target, 'watch')
      return watch(context, exchange, target, new View(exchange, target.type, context.clock))
    case 'create':
      return create(context, exchange, target)
    case 'update':
      return replace(context, exchange, target, 'main')
    case 'patch':
      return patch(context, exchange, target, 'main')
    case 'delete':
      return remove(context, exchange, target)
    case 'deletecollection':
      return removeCollection(context, exchange, target)
    default:
      throw methodNotAllowed()
  }
}

async function answerSubresource(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  switch (target.subresource) {
    case 'status':
      if (exchange.method === 'GET') return get(context, exchange, target)
      if (exchange.method === 'PUT') return replace(context, exchange, target, 'status')
      if (exchange.method === 'PATCH') return patch(context, exchange, target, 'status')
      throw methodNotAllowed()
    case 'scale':
      return scale(context, exchange, target)
    case 'finalize':
      return finalizeNamespace(context, exchange, target)
    case 'eviction':
      return evict(context, exchange, target)
    case 'binding':
      return bind(context, exchange, target)
    default:
      throw resourceNotFound()
  }
}

function allow(target: Target, verb: string): void {
  if (!target.type.verbs.includes(verb)) throw methodNotAllowed()
}

async function get(context: VerbContext, exchange: Exchange, target: Target): Promise<void> {
  const { type, bucket, namespace = '', name = '' } = target
  allow(target, 'get')
  await waitForVersion(context.store, versionOf(exchange))
  const entry = bucket.get(namespace, name)
  if (entry === undefined) throw notFound(subjectOf(type, name))
  const view = new View(exchange, type, context.clock)
  if (view.plain && exchange.representation.format === 'json') {
    return exchange.send(200, 'application/json', bytesAt(type, entry))
  }
  exchange.json(200, view.object(objectAt(type, entry)))
}
