/** How the registry knows a kind: its names, what can be done with it, and where it is stored. */
import type { JsonMap } from './values.ts'

export interface PrinterColumn {
  readonly name: string
  readonly type: string
  readonly format?: string
  readonly description?: string
  readonly priority?: number
  readonly jsonPath: string
}

/** What a CustomResourceDefinition says beyond names. */
export interface CustomType {
  readonly schema: JsonMap | undefined
  readonly columns: readonly PrinterColumn[]
  readonly scale:
    | {
        readonly specPath: string
        readonly statusPath: string
        readonly selectorPath: string | undefined
      }
    | undefined
  readonly selectableFields: readonly string[]
}

export interface ResourceType {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly listKind: string
  readonly resource: string
  readonly singular: string
  readonly namespaced: boolean
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly verbs: readonly string[]
  /** `status`, `scale`, `log` ... */
  readonly subresources: readonly string[]
  /** The version written to the store. */
  readonly storageVersion: string
  /** Whether `metadata.generation` counts changes of the spec. */
  readonly generation: boolean
  readonly custom: CustomType | undefined
  /** Said with every accepted create: what is stored but not acted upon. */
  readonly warning: string | undefined
  /** Why no object of this kind is accepted: what it asks for would not be done. */
  readonly refusal?: string | undefined
}

/** `group/version`, or `version` for the core group. */
export function apiVersionOfType(type: {
  readonly group: string
  readonly version: string
}): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`
}

/** The key of the bucket that holds the objects; all versions of a resource share it. */
export function bucketIdOf(type: { readonly group: string; readonly resource: string }): string {
  // Both shapes of Event are views of the same objects.
  if (type.group === 'events.k8s.io') return `/${type.resource}`
  return `${type.group}/${type.resource}`
}

export const allVerbs = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
] as const
