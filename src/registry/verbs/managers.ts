/** Who owns which field (`metadata.managedFields`), for every write that is no apply. */
import { formatTime, type KubeObject } from '../../kube/index.ts'
import { trackUpdate } from '../../patch/index.ts'
import type { VerbContext } from '../context.ts'
import { apiVersionOfType } from '../resource-type.ts'
import { type JsonMap, valueAt } from '../values.ts'
import type { Target } from './target.ts'

/** What a write can't change belongs to nobody by it: the other half of the object, allocated addresses. */
export function ignoredPaths(target: Target, object: KubeObject): string[] {
  const { type, subresource } = target
  if (subresource === 'status') return ['spec']
  const status = type.subresources.includes('status') ? ['status'] : []
  const isService = type.group === '' && type.resource === 'services'
  const allocated = isService && valueAt(object, 'spec.clusterIP') !== 'None'
  return allocated ? [...status, 'spec.clusterIP', 'spec.clusterIPs'] : status
}

export interface Tracking {
  readonly manager: string
  readonly live: KubeObject | undefined
  /** managedFields as the client sent them: absent means unchanged, an empty list clears them. */
  readonly sent: unknown
}

/** Sets the managedFields of an object that is about to be stored. */
export function track(
  context: VerbContext,
  target: Target,
  object: KubeObject,
  tracking: Tracking,
): void {
  const { live, sent } = tracking
  const known = Array.isArray(sent) ? sent : live?.metadata.managedFields
  const { managedFields: _before, ...metadata } = object.metadata
  const managed = known === undefined ? {} : { managedFields: known as unknown[] }
  const fields = trackUpdate({
    live:
      live === undefined
        ? undefined
        : asJson({ ...live, metadata: { ...live.metadata, ...managed } }),
    object: asJson({ ...object, metadata }),
    manager: tracking.manager,
    schema: context.schemas.get(target.type)?.node,
    apiVersion: apiVersionOfType(target.type),
    time: formatTime(context.clock.now()),
    ignored: ignoredPaths(target, object),
    ...(target.subresource === 'status' ? { subresource: 'status' } : {}),
  })
  if (fields.length === 0) delete object.metadata.managedFields
  else object.metadata.managedFields = fields
}

/** The same object, seen as plain JSON. */
export function asJson(object: KubeObject): JsonMap {
  return object as unknown as JsonMap
}
