/** The read-modify-write that PUT, PATCH and the subresources share, and PUT itself. */
import {
  badRequest,
  conflict,
  invalid,
  type KubeObject,
  methodNotAllowed,
  notFound,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import type { Entry } from '../store/entry.ts'
import { StaleWrite } from '../store/objects.ts'
import { copyOf, sameValue, stringsOf, valueAt } from '../values.ts'
import { admissionRequest } from './admission-request.ts'
import { checkUnknownFields, placeObject, readObject } from './decode.ts'
import { keepTimes, tracker } from './managers.ts'
import { needsVersion, prepareStatus, prepareUpdate } from './prepare.ts'
import { kindSubjectOf, subjectOf, type Target } from './target.ts'
import { objectAt, toStorage } from './versions.ts'
import { managerOf, writeOptions } from './write-options.ts'
import { sendWritten, type Written, writtenObject } from './written.ts'

/** Computes the wanted object from the present one; both are copies, free to be changed. */
export type Change = (current: KubeObject) => KubeObject | Promise<KubeObject>

export interface UpdateRequest {
  readonly dryRun: boolean
  /** Which part of the object this write may touch. */
  readonly part: 'main' | 'status' | 'raw'
  readonly change: Change
  /** Who writes; absent for an apply, which sets the managedFields itself. */
  readonly manager?: string
}

/** The same as `writeUpdate`, for those who need the object itself. */
export async function updateObject(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  request: UpdateRequest,
): Promise<KubeObject> {
  return writtenObject(target.type, await writeUpdate(context, exchange, target, request))
}

/**
 * Applies a change to the newest state, again when another writer came first. The result is checked, compared
 * (an identical one is no write and no event) and stored; an object that only waited for this is deleted.
 */
export async function writeUpdate(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  request: UpdateRequest,
): Promise<Written> {
  const { type, bucket } = target
  const namespace = type.namespaced ? (target.namespace ?? '') : ''
  const name = target.name ?? ''
  for (let attempt = 1; ; attempt++) {
    const entry = bucket.latest(namespace, name)
    if (entry === undefined) throw notFound(subjectOf(type, name))
    const old = objectAt(type, entry)
    const wanted = await request.change(copyOf(old))
    checkVersion(target, wanted, entry)
    const next = await prepared(context, exchange, target, { wanted, old, request })
    const unchanged = sameValue(next, old) || keepTimes(next, old)
    if (request.dryRun) {
      context.admission.abandon(next, old)
      return { object: next }
    }
    if (unchanged) {
      // It may still be on its way to the disk.
      await context.store.reached(entry.revision, limits.futureVersionWaitMs)
      return entry
    }
    try {
      const place = { namespace, name }
      const stored = isFinished(type.resource, next) ? undefined : toStorage(type, next)
      return await context.store.write(bucket, place, entry, stored)
    } catch (error) {
      context.admission.abandon(next, old)
      if (!(error instanceof StaleWrite) || attempt >= limits.writeAttemptsMax) {
        throw error instanceof StaleWrite ? conflict(subjectOf(type, name)) : error
      }
    }
  }
}

async function prepared(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  state: { readonly wanted: KubeObject; readonly old: KubeObject; readonly request: UpdateRequest },
): Promise<KubeObject> {
  const { wanted, old, request } = state
  const { manager, dryRun } = request
  const tracking = { manager, live: old, sent: wanted.metadata.managedFields }
  const update = { object: wanted, old, dryRun, track: tracker(context, target, tracking) }
  if (request.part === 'status') return prepareStatus(context, exchange, target, update)
  if (request.part === 'main') return prepareUpdate(context, exchange, target, update)
  if (target.subresource === 'finalize') {
    const question = admissionRequest(exchange, target, { operation: 'UPDATE', dryRun })
    await context.admission.consult(question, { object: wanted, old })
  }
  wanted.metadata.resourceVersion = old.metadata.resourceVersion ?? ''
  return wanted
}

/** The sender's uid and resourceVersion, when given, must be the present ones. */
function checkVersion(target: Target, wanted: KubeObject, entry: Entry): void {
  const { type, name } = target
  const { uid, resourceVersion } = wanted.metadata
  if (uid !== undefined && uid !== '' && uid !== entry.index.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${entry.index.uid}`
    throw conflict(subjectOf(type, name), why)
  }
  if (resourceVersion === undefined || resourceVersion === '' || resourceVersion === '0') return
  if (resourceVersion !== String(entry.revision)) throw conflict(subjectOf(type, name))
}

/** Whether an object was only waiting for its last finalizer (or, a namespace, for `finalize`). */
function isFinished(resource: string, object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata
  if (deletionTimestamp === undefined || (finalizers ?? []).length > 0) return false
  if (resource === 'namespaces' && stringsOf(valueAt(object, 'spec.finalizers')).length > 0)
    return false
  return (deletionGracePeriodSeconds ?? 0) === 0
}

/** PUT on an object or its status. */
export async function replace(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  part: 'main' | 'status',
): Promise<void> {
  const { type } = target
  if (target.name === undefined || !type.verbs.includes('update')) throw methodNotAllowed()
  const options = writeOptions(exchange)
  const object = await readObject(exchange, type)
  placeObject(object, target)
  checkUnknownFields(exchange, context.schemas, { type, object, how: options.fieldValidation })
  if (needsVersion(type) && !object.metadata.resourceVersion) {
    throw invalid(kindSubjectOf(type, target.name), [
      {
        reason: 'FieldValueInvalid',
        field: 'metadata.resourceVersion',
        message: 'Invalid value: 0: must be specified for an update',
      },
    ])
  }
  const { dryRun } = options
  const manager = managerOf(exchange, options)
  const change = (): KubeObject => copyOf(object)
  const request = { dryRun, part, change, manager }
  const written = await writeUpdate(context, exchange, target, request)
  sendWritten(context, exchange, type, { code: 200, written })
}

/** PUT on `namespaces/x/finalize`: the only way to release a namespace. */
export async function finalizeNamespace(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  const { type } = target
  if (exchange.method !== 'PUT') throw methodNotAllowed()
  const { dryRun } = writeOptions(exchange)
  const object = await readObject(exchange, type)
  placeObject(object, target)
  const finalizers = valueAt(object, 'spec.finalizers') ?? []
  if (!Array.isArray(finalizers)) throw badRequest('spec.finalizers: must be a list')
  const made = await updateObject(context, exchange, target, {
    dryRun,
    part: 'raw',
    change: (current) => ({
      ...current,
      metadata: { ...current.metadata, resourceVersion: object.metadata.resourceVersion ?? '' },
      spec: finalizers.length === 0 ? {} : { finalizers },
    }),
  })
  exchange.json(200, made)
}
