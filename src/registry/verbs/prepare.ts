/**
 * The pipeline of a write between decoding and the store: system fields, defaulting, admission,
 * validation. It never writes, so that a dry run is the same code.
 */
import { randomUUID } from 'node:crypto'
import {
  badRequest,
  type FieldError,
  formatTime,
  invalid,
  type KubeObject,
  type ObjectMeta,
} from '../../kube/index.ts'
import {
  applyDefaults,
  builtinDefaults,
  builtinValidation,
  decodingFailure,
  type KindSchema,
  prune,
  type SchemaRegistry,
  validate,
  validateCustomResource,
} from '../../schema/index.ts'
import type { AdmissionRequest } from '../admission/admission.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import type { ResourceType } from '../resource-type.ts'
import { isMap, type JsonMap, sameValue } from '../values.ts'
import { admissionRequest } from './admission-request.ts'
import { kindSubjectOf, type Target } from './target.ts'

/** Main resources that take their status with a create, since they report about themselves. */
const statusOnCreate = new Set(['/nodes', 'discovery.k8s.io/endpointslices', '/events'])

/** Kinds whose updates must say which version they start from. */
const conditionalOnly = new Set(['coordination.k8s.io/leases'])

export function isSubresourceOf(type: ResourceType, name: string): boolean {
  return type.subresources.includes(name)
}

/** What to make of an object that is written. */
export interface Draft {
  readonly object: KubeObject
  readonly dryRun: boolean
  /** Sets the managedFields; absent for an apply, which has done so. */
  readonly track?: ((object: KubeObject) => void) | undefined
}

export interface Update extends Draft {
  readonly old: KubeObject
}

/** Makes a decoded object ready to be stored for the first time. Throws when it can't be. */
export async function prepareCreate(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  draft: Draft,
): Promise<KubeObject> {
  const { type } = target
  const { object, dryRun } = draft
  const { metadata } = object
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created')
  }
  delete metadata.resourceVersion
  delete metadata.deletionTimestamp
  delete metadata.deletionGracePeriodSeconds
  metadata.uid = randomUUID()
  metadata.creationTimestamp = formatTime(context.clock.now())
  if (type.generation || type.custom !== undefined) metadata.generation = 1
  else delete metadata.generation
  cleanMetadata(metadata)
  if (isSubresourceOf(type, 'status') && !statusOnCreate.has(target.bucket.id)) delete object.status
  const name = metadata.name ?? ''
  const request = admissionRequest(exchange, target, { operation: 'CREATE', dryRun, name })
  return finish(context, request, draft, undefined)
}

/** Makes a decoded object ready to replace `old` on the main resource. */
export async function prepareUpdate(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  update: Update,
): Promise<KubeObject> {
  const { type } = target
  const { object, old, dryRun } = update
  keepSystemFields(object, old, type)
  if (isSubresourceOf(type, 'status')) restoreStatus(object, old)
  const request = admissionRequest(exchange, target, { operation: 'UPDATE', dryRun })
  const next = await finish(context, request, update, old)
  if (next.metadata.generation !== undefined && specChanged(type, next, old)) {
    next.metadata.generation = (old.metadata.generation ?? 0) + 1
  }
  return next
}

/** Makes a decoded object ready to replace the status of `old`, and nothing else. */
export async function prepareStatus(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  update: Update,
): Promise<KubeObject> {
  const { object, old, dryRun } = update
  keepSystemFields(object, old, target.type)
  const { managedFields } = object.metadata
  const metadata =
    target.type.custom === undefined
      ? object.metadata
      : { ...old.metadata, ...(managedFields === undefined ? {} : { managedFields }) }
  const next: KubeObject = { ...old, metadata }
  if (object.status === undefined) delete next.status
  else next.status = object.status
  const request = admissionRequest(exchange, target, { operation: 'UPDATE', dryRun })
  return finish(context, request, { ...update, object: next }, old)
}

async function finish(
  context: VerbContext,
  request: AdmissionRequest,
  draft: Draft,
  old: KubeObject | undefined,
): Promise<KubeObject> {
  const { type } = request
  const { object } = draft
  const schema = context.schemas.get(type)
  normalise(context.schemas, type, object)
  // Before admission: what the server itself adds belongs to nobody.
  draft.track?.(object)
  try {
    const changed = await context.admission.admit(request, object, old)
    if (changed) setDefaults(schema, type, object)
    checkValid(schema, type, object, old)
    await context.admission.check(request, object, old)
  } catch (error) {
    context.admission.abandon(object, old)
    throw error
  }
  return object
}

function checkValid(
  schema: KindSchema | undefined,
  type: ResourceType,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  const errors = schema === undefined ? [] : complaints(schema, type, object, old)
  const undecodable = type.custom === undefined ? decodingFailure(type, errors) : undefined
  if (errors.length === 0) errors.push(...builtinValidation(type, object, old))
  if (undecodable !== undefined) throw undecodable
  if (errors.length > 0) throw invalid(kindSubjectOf(type, object.metadata.name), errors)
}

/** What decoding does to an object: unknown fields of custom kinds go, defaults come. */
export function normalise(schemas: SchemaRegistry, type: ResourceType, object: KubeObject): void {
  const schema = schemas.get(type)
  if (schema !== undefined && type.custom !== undefined) prune(schema, object)
  setDefaults(schema, type, object)
}

function complaints(
  schema: KindSchema,
  type: ResourceType,
  object: KubeObject,
  old: KubeObject | undefined,
): FieldError[] {
  return type.custom === undefined
    ? [...validate(schema, object)]
    : [...validateCustomResource(schema, object, old)]
}

function setDefaults(schema: KindSchema | undefined, type: ResourceType, object: KubeObject): void {
  if (schema !== undefined) applyDefaults(schema, object)
  if (type.custom === undefined) builtinDefaults(type, object)
}

/** Empty maps and lists of metadata are stored as absent, so that equal objects have equal bytes. */
function cleanMetadata(metadata: ObjectMeta): void {
  const map = metadata as unknown as JsonMap
  delete map.selfLink
  for (const key of ['labels', 'annotations', 'finalizers', 'ownerReferences', 'managedFields']) {
    const value = map[key]
    const empty = Array.isArray(value)
      ? value.length === 0
      : isMap(value) && Object.keys(value).length === 0
    if (empty || value === null) delete map[key]
  }
}

/** What clients can't change, whatever they send. */
function keepSystemFields(object: KubeObject, old: KubeObject, type: ResourceType): void {
  const { metadata } = object
  cleanMetadata(metadata)
  const before = old.metadata
  metadata.name = before.name
  if (before.namespace !== undefined) metadata.namespace = before.namespace
  metadata.resourceVersion = before.resourceVersion ?? ''
  for (const key of [
    'uid',
    'creationTimestamp',
    'generateName',
    'generation',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ] as const) {
    if (before[key] === undefined) delete metadata[key]
    else Object.assign(metadata, { [key]: before[key] })
  }
  if (before.deletionTimestamp === undefined) return
  const added = (metadata.finalizers ?? []).filter(
    (name) => !(before.finalizers ?? []).includes(name),
  )
  if (added.length > 0) {
    throw invalid(kindSubjectOf(type, before.name), [
      {
        reason: 'FieldValueForbidden',
        field: 'metadata.finalizers',
        message:
          'Forbidden: no new finalizers can be added if the object is being deleted, ' +
          `found new finalizers ${JSON.stringify(added)}`,
      },
    ])
  }
}

function restoreStatus(object: KubeObject, old: KubeObject): void {
  if (old.status === undefined) delete object.status
  else object.status = old.status
}

/** Whether something outside metadata and status differs. */
export function specChanged(type: ResourceType, next: KubeObject, old: KubeObject): boolean {
  const statusIsApart = isSubresourceOf(type, 'status')
  const strip = (object: KubeObject): JsonMap => {
    const { metadata: _metadata, status, ...rest } = object
    return statusIsApart || status === undefined ? rest : { ...rest, status }
  }
  return !sameValue(strip(next), strip(old))
}

/** Whether a PUT of this kind must carry a resourceVersion. */
export function needsVersion(type: ResourceType): boolean {
  return type.custom !== undefined || conditionalOnly.has(`${type.group}/${type.resource}`)
}
