/** DELETE: grace periods, finalizers, propagation, preconditions; also of whole collections. */
import {
  badRequest,
  conflict,
  forbidden,
  formatTime,
  isApiError,
  type KubeObject,
  methodNotAllowed,
  notFound,
  success,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeBody } from '../http/negotiate.ts'
import { limits } from '../limits.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import { StaleWrite } from '../store/objects.ts'
import { type JsonMap, mapOf, stringsOf, textOf, valueAt } from '../values.ts'
import { admissionRequest } from './admission-request.ts'
import { list } from './list.ts'
import { subjectOf, type Target } from './target.ts'
import { objectAt, toStorage } from './versions.ts'
import { View } from './view.ts'
import { writeOptions } from './write-options.ts'

interface DeleteOptions {
  readonly dryRun: boolean
  readonly graceSeconds: number | undefined
  readonly propagation: string | undefined
  readonly uid: string | undefined
  readonly resourceVersion: string | undefined
  /** The options as they were sent, for webhooks. */
  readonly sent?: JsonMap
}

const undeletable = new Set(['default', 'kube-system', 'kube-public'])

/** DELETE on one object. */
export async function remove(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  if (!target.type.verbs.includes('delete')) throw methodNotAllowed()
  const options = await readOptions(exchange)
  const result = await deleteObject(
    context,
    target,
    options,
    consulting(context, exchange, options),
  )
  if (result.finished === undefined) {
    return exchange.json(200, new View(exchange, target.type, context.clock).object(result.object))
  }
  exchange.json(200, result.finished)
}

/** DELETE on a collection: everything that the selectors match, answered as a list. */
export async function removeCollection(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  const { type } = target
  if (!type.verbs.includes('deletecollection')) throw methodNotAllowed()
  const options = await readOptions(exchange)
  const consult = consulting(context, exchange, options)
  const found = await list(context.store, exchange, target)
  const items: KubeObject[] = []
  for (const entry of found.entries) {
    items.push(objectAt(type, entry))
    const one = { ...target, namespace: entry.namespace, name: entry.name }
    await deleteObject(context, one, options, consult).catch(ignoreMissing)
  }
  exchange.json(200, {
    kind: type.listKind,
    apiVersion: apiVersionOfType(type),
    metadata: { resourceVersion: String(context.store.revision) },
    items,
  })
}

/** Asks the webhooks about a deletion; throws when one refuses. */
type Consult = (target: Target, old: KubeObject) => Promise<void>

function consulting(context: VerbContext, exchange: Exchange, options: DeleteOptions): Consult {
  const { dryRun, sent } = options
  const asked = { kind: 'DeleteOptions', apiVersion: 'meta.k8s.io/v1', ...sent }
  return (target, old) =>
    context.admission.consult(
      admissionRequest(exchange, target, { operation: 'DELETE', dryRun, options: asked }),
      { object: undefined, old },
    )
}

function ignoreMissing(error: unknown): void {
  if (!isApiError(error, 'NotFound')) throw error
}

async function readOptions(exchange: Exchange): Promise<DeleteOptions> {
  const bytes = await exchange.body()
  const body = bytes.length === 0 ? {} : mapOf(decodeBody(bytes, exchange.header('content-type')))
  const { query } = exchange
  const grace = body.gracePeriodSeconds ?? exchange.integer('gracePeriodSeconds')
  if (grace !== undefined && grace !== null && (typeof grace !== 'number' || grace < 0)) {
    throw badRequest('gracePeriodSeconds: must be a non-negative number')
  }
  const preconditions = mapOf(body.preconditions)
  const fromBody = Array.isArray(body.dryRun) && body.dryRun.includes('All')
  const orphan = body.orphanDependents === true ? 'Orphan' : undefined
  return {
    dryRun: fromBody || writeOptions(exchange).dryRun,
    graceSeconds: typeof grace === 'number' ? grace : undefined,
    propagation: textOf(body.propagationPolicy) || query.get('propagationPolicy') || orphan,
    uid: textOf(preconditions.uid) || undefined,
    resourceVersion: textOf(preconditions.resourceVersion) || undefined,
    sent: body,
  }
}

type Outcome =
  | { readonly finished: object; readonly object?: undefined }
  | { readonly finished: undefined; readonly object: KubeObject }

export async function deleteObject(
  context: VerbContext,
  target: Target,
  options: DeleteOptions,
  consult?: Consult,
): Promise<Outcome> {
  const { type, bucket } = target
  const namespace = type.namespaced ? (target.namespace ?? '') : ''
  const name = target.name ?? ''
  for (let attempt = 1; ; attempt++) {
    const entry = bucket.latest(namespace, name)
    if (entry === undefined) throw notFound(subjectOf(type, name))
    checkPreconditions(type, entry, options)
    if (bucket.id === '/namespaces' && undeletable.has(name)) {
      throw forbidden(subjectOf(type, name), 'this namespace may not be deleted')
    }
    const object = objectAt(type, entry)
    await consult?.(target, object)
    const marked = mark(context, type, object, options)
    try {
      const place = { namespace, name }
      if (marked === undefined) {
        if (!options.dryRun) await context.store.write(bucket, place, entry, undefined)
        return finishedOutcome(type, object)
      }
      if (options.dryRun || marked === object) return { finished: undefined, object: marked }
      const stored = await context.store.write(bucket, place, entry, toStorage(type, marked))
      return { finished: undefined, object: objectAt(type, stored) }
    } catch (error) {
      if (!(error instanceof StaleWrite)) throw error
      if (attempt >= limits.writeAttemptsMax) throw conflict(subjectOf(type, name))
    }
  }
}

function finishedOutcome(type: ResourceType, object: KubeObject): Outcome {
  // Pods are answered with the object, everything else with a Status.
  if (type.group === '' && type.resource === 'pods') return { finished: undefined, object }
  const { name, uid = '' } = object.metadata
  const group = type.group === '' ? {} : { group: type.group }
  return { finished: success({ name, ...group, kind: type.resource, uid }) }
}

function checkPreconditions(type: ResourceType, entry: Entry, options: DeleteOptions): void {
  const refuse = (what: string, wanted: string, present: string): never => {
    const why = `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${present}`
    throw conflict(subjectOf(type, entry.name), why)
  }
  if (options.uid !== undefined && options.uid !== entry.index.uid) {
    refuse('UID', options.uid, entry.index.uid)
  }
  const revision = String(entry.revision)
  if (options.resourceVersion !== undefined && options.resourceVersion !== revision) {
    refuse('ResourceVersion', options.resourceVersion, revision)
  }
}

/** The object marked for deletion; itself when nothing changes; undefined when it can go at once. */
function mark(
  context: VerbContext,
  type: ResourceType,
  object: KubeObject,
  options: DeleteOptions,
): KubeObject | undefined {
  const { metadata } = object
  const finalizers = new Set(metadata.finalizers)
  if (metadata.deletionTimestamp === undefined) {
    if (options.propagation === 'Foreground') finalizers.add('foregroundDeletion')
    else finalizers.delete('foregroundDeletion')
    if (options.propagation === 'Orphan') finalizers.add('orphan')
    else finalizers.delete('orphan')
  }
  const isNamespace = type.group === '' && type.resource === 'namespaces'
  const held =
    finalizers.size > 0 || (isNamespace && stringsOf(valueAt(object, 'spec.finalizers')).length > 0)
  const grace = type.group === '' && type.resource === 'pods' ? podGrace(object, options) : 0
  if (!held && grace === 0) return undefined
  const before = metadata.deletionGracePeriodSeconds
  if (metadata.deletionTimestamp !== undefined && before !== undefined && grace >= before)
    return object
  const seconds = metadata.deletionTimestamp !== undefined && before === 0 ? 0 : grace
  const next = structuredClone(object)
  next.metadata.deletionTimestamp = formatTime(context.clock.now() + seconds * 1000)
  next.metadata.deletionGracePeriodSeconds = seconds
  if (finalizers.size > 0) next.metadata.finalizers = [...finalizers]
  else delete next.metadata.finalizers
  if (metadata.generation !== undefined && metadata.deletionTimestamp === undefined) {
    next.metadata.generation = metadata.generation + 1
  }
  if (isNamespace) next.status = { ...mapOf(object.status), phase: 'Terminating' }
  return next
}

/** Only a pod that a node has taken needs time to end. */
function podGrace(pod: KubeObject, options: DeleteOptions): number {
  const phase = valueAt(pod, 'status.phase')
  if (textOf(valueAt(pod, 'spec.nodeName')) === '' || phase === 'Succeeded' || phase === 'Failed')
    return 0
  if (options.graceSeconds !== undefined) return options.graceSeconds
  const own = valueAt(pod, 'spec.terminationGracePeriodSeconds')
  return pod.metadata.deletionGracePeriodSeconds ?? (typeof own === 'number' ? own : 30)
}
