/**
 * One stored object: its final UTF-8 bytes and a small index, parsed only when somebody asks.
 * Entries are immutable, so lists, pages and watch events can hold them without copies.
 */
import type { KubeObject, ObjectMeta } from '../../kube/index.ts'

/** What selectors look at. */
export interface ObjectIndex {
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  readonly fields: Readonly<Record<string, string>>
}

export type FieldsOf = (object: KubeObject) => Record<string, string>

export class Entry {
  readonly namespace: string
  readonly name: string
  readonly revision: number
  readonly bytes: Buffer
  readonly #fieldsOf: FieldsOf
  #index: ObjectIndex | undefined

  constructor(
    place: { readonly namespace: string; readonly name: string },
    revision: number,
    bytes: Buffer,
    fieldsOf: FieldsOf,
  ) {
    this.namespace = place.namespace
    this.name = place.name
    this.revision = revision
    this.bytes = bytes
    this.#fieldsOf = fieldsOf
  }

  /** A fresh copy, free to be changed. */
  parse(): KubeObject {
    return JSON.parse(this.bytes.toString()) as KubeObject
  }

  get index(): ObjectIndex {
    if (this.#index === undefined) this.#fill(this.parse())
    return this.#index as ObjectIndex
  }

  /** Spares the parsing when the object is at hand. */
  withIndexOf(object: KubeObject): this {
    this.#fill(object)
    return this
  }

  #fill(object: KubeObject): void {
    this.#index = {
      uid: object.metadata.uid ?? '',
      labels: { ...object.metadata.labels },
      fields: this.#fieldsOf(object),
    }
  }
}

const metadataOrder: readonly (keyof ObjectMeta)[] = [
  'name',
  'generateName',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
]

/** The object with its keys in the order that people expect; versions are swapped at the front. */
export function ordered(object: KubeObject): KubeObject {
  const { kind, apiVersion, metadata, spec, status, ...others } = object as KubeObject &
    Record<string, unknown>
  const orderedMetadata: Record<string, unknown> = {}
  for (const key of metadataOrder) {
    if (metadata[key] !== undefined) orderedMetadata[key] = metadata[key]
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (!(key in orderedMetadata) && value !== undefined) orderedMetadata[key] = value
  }
  return {
    kind,
    apiVersion,
    metadata: orderedMetadata as unknown as ObjectMeta,
    ...(spec === undefined ? {} : { spec }),
    ...others,
    ...(status === undefined ? {} : { status }),
  }
}
