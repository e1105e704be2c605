/** CREATE: POST on a collection, and apply patches to objects that don't exist yet. */
import {
  alreadyExists,
  badRequest,
  fieldForbidden,
  generatedName,
  invalid,
  type KubeObject,
  methodNotAllowed,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import { StaleWrite } from '../store/objects.ts'
import { checkUnknownFields, placeObject, readObject } from './decode.ts'
import { tracker } from './managers.ts'
import { prepareCreate } from './prepare.ts'
import { kindSubjectOf, subjectOf, type Target } from './target.ts'
import { toStorage } from './versions.ts'
import { managerOf, type WriteOptions, writeOptions } from './write-options.ts'
import { sendWritten, type Written } from './written.ts'

export async function create(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  const { type } = target
  if (target.name !== undefined || !type.verbs.includes('create')) throw methodNotAllowed()
  if (type.namespaced && target.namespace === undefined) {
    throw badRequest('an empty namespace may not be set during creation')
  }
  const options = writeOptions(exchange)
  const object = await readObject(exchange, type)
  placeObject(object, target)
  checkUnknownFields(exchange, context.schemas, { type, object, how: options.fieldValidation })
  const manager = managerOf(exchange, options)
  const written = await createObject(context, exchange, target, { object, options, manager })
  sendWritten(context, exchange, type, { code: 201, written })
}

/** Runs the pipeline and stores the object; with `generateName` a clash only costs another name. */
export async function createObject(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  request: {
    readonly object: KubeObject
    readonly options: WriteOptions
    /** Undefined for an apply, which has set the managedFields already. */
    readonly manager: string | undefined
  },
): Promise<Written> {
  const { type, bucket } = target
  const { object, options, manager } = request
  if (type.refusal !== undefined) {
    throw invalid(kindSubjectOf(type, object.metadata.name), [fieldForbidden('spec', type.refusal)])
  }
  const namespace = type.namespaced ? (target.namespace ?? '') : ''
  const base = object.metadata.name ? undefined : object.metadata.generateName
  const random = (below: number): number => Math.floor(context.random() * below)
  for (let attempt = 1; ; attempt++) {
    const draft = base === undefined ? object : structuredClone(object)
    if (base !== undefined && base !== '') draft.metadata.name = generatedName(base, random)
    const { name } = draft.metadata
    if (name !== undefined && name !== '' && bucket.latest(namespace, name) !== undefined) {
      if (base !== undefined && attempt < limits.generateNameAttemptsMax) continue
      throw alreadyExists(subjectOf(type, name))
    }
    const tracking = { manager, live: undefined, sent: undefined }
    const ready = await prepareCreate(context, exchange, target, {
      object: draft,
      dryRun: options.dryRun,
      track: tracker(context, target, tracking),
    })
    if (type.warning !== undefined) exchange.warn(type.warning)
    if (options.dryRun) {
      context.admission.abandon(ready, undefined)
      return { object: ready }
    }
    try {
      const place = { namespace, name: ready.metadata.name }
      return await context.store.write(bucket, place, undefined, toStorage(type, ready))
    } catch (error) {
      context.admission.abandon(ready, undefined)
      if (!(error instanceof StaleWrite)) throw error
      if (base === undefined || attempt >= limits.generateNameAttemptsMax) {
        throw alreadyExists(subjectOf(type, ready.metadata.name))
      }
    }
  }
}
