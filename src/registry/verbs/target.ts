/** What a request is about, once its path is resolved against the catalogue. */
import type { StatusSubject } from '../../kube/index.ts'
import type { ResourceType } from '../resource-type.ts'
import type { Bucket } from '../store/bucket.ts'

export interface Target {
  readonly type: ResourceType
  readonly bucket: Bucket
  /** Undefined for cluster-scoped resources and for lists of all namespaces. */
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly subresource: string | undefined
}

/** How Status objects name the target: by its resource. */
export function subjectOf(type: ResourceType, name?: string): StatusSubject {
  return { group: type.group, kind: type.resource, ...(name === undefined ? {} : { name }) }
}

/** How validation failures name it: by its Kind. */
export function kindSubjectOf(type: ResourceType, name?: string): StatusSubject {
  return { group: type.group, kind: type.kind, ...(name === undefined ? {} : { name }) }
}
