/**
 * The one form in which schemas live here: structural (no references after loading), compact, and
 * the same for built-in kinds and CRDs. Nodes are shared between kinds and never changed after
 * loading; recursive kinds (JSONSchemaProps) are cyclic graphs.
 */
import type { GroupVersionKind } from '../kube/index.ts'

export type SchemaType = 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'

/** One `x-kubernetes-validations` entry, to be evaluated by the CEL room. */
export interface SchemaRule {
  readonly rule: string
  readonly message?: string
  readonly messageExpression?: string
  readonly reason?: string
  readonly fieldPath?: string
  readonly optionalOldSelf?: boolean
}

export interface SchemaNode {
  type?: SchemaType
  /** `quantity` and `date-time-micro` are ours; the others are those of OpenAPI. */
  format?: string
  properties?: Record<string, SchemaNode>
  required?: string[]
  /** The schema of a map's values; `true` for any. */
  additionalProperties?: SchemaNode | boolean
  items?: SchemaNode
  enum?: unknown[]
  pattern?: string
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  minProperties?: number
  maxProperties?: number
  minimum?: number
  maximum?: number
  exclusiveMinimum?: boolean
  exclusiveMaximum?: boolean
  multipleOf?: number
  default?: unknown
  nullable?: boolean
  allOf?: SchemaNode[]
  anyOf?: SchemaNode[]
  oneOf?: SchemaNode[]
  not?: SchemaNode
  intOrString?: boolean
  preserveUnknown?: boolean
  embeddedResource?: boolean
  listType?: 'atomic' | 'set' | 'map'
  listMapKeys?: string[]
  mapType?: 'atomic' | 'granular'
  patchMergeKey?: string
  /** `merge`, `replace`, `retainKeys`, or two of them joined by a comma. */
  patchStrategy?: string
  rules?: SchemaRule[]
  /** Of a CRD's author, for `kubectl explain`; the bundles have none. */
  description?: string
  /** The name of a shared definition; only in bundles, gone after loading. */
  ref?: string
  /** The definition which this node came from, such as `io.k8s.api.core.v1.Pod`. */
  name?: string
}

/** The schema of one served kind. */
export interface KindSchema {
  readonly gvk: GroupVersionKind
  readonly node: SchemaNode
  /** Whether a CRD brought it: those have no strategic merge patch and keep no nulls. */
  readonly custom: boolean
}
