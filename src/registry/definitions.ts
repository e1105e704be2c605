/**
 * CustomResourceDefinitions: a stored definition changes what is served in the same turn. Its status
 * (names accepted, established) is set with the write itself, so that clients never wait for it.
 */
import {
  type Condition,
  fieldInvalid,
  formatTime,
  invalid,
  type KubeObject,
  withCondition,
} from '../kube/index.ts'
import type { SchemaRegistry } from '../schema/index.ts'
import type { AdmissionRequest, AdmissionStep } from './admission/admission.ts'
import type { Catalogue } from './catalogue.ts'
import { fieldsFor } from './fields.ts'
import { allVerbs, bucketIdOf, type PrinterColumn, type ResourceType } from './resource-type.ts'
import type { ObjectStore } from './store/objects.ts'
import { isMap, type JsonMap, listOf, mapOf, stringsOf, textOf, valueAt } from './values.ts'

/** Removed when the last object of the definition is gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

const bucketId = 'apiextensions.k8s.io/customresourcedefinitions'

/** Keeps catalogue and schemas true to the stored definitions. */
export class Definitions {
  readonly #store: ObjectStore
  readonly #catalogue: Catalogue
  readonly #schemas: SchemaRegistry

  constructor(store: ObjectStore, catalogue: Catalogue, schemas: SchemaRegistry) {
    this.#store = store
    this.#catalogue = catalogue
    this.#schemas = schemas
  }

  start(): void {
    const bucket = this.#store.bucket(bucketId)
    for (const entry of bucket.list()) this.#serve(entry.parse())
    bucket.listen(({ type, entry }) => {
      if (type === 'DELETED') {
        this.#catalogue.undefine(entry.name)
        this.#schemas.removeCrd(entry.name)
      } else this.#serve(entry.parse())
    })
  }

  #serve(definition: KubeObject): void {
    this.#schemas.addCrd(definition)
    const types = typesOf(definition)
    this.#catalogue.define(definition.metadata.name, types)
    for (const type of types) {
      this.#store.bucket(bucketIdOf(type)).fieldsOf = fieldsFor(
        bucketIdOf(type),
        type.custom?.selectableFields,
      )
    }
  }
}

/** The served versions of a definition. */
export function typesOf(definition: KubeObject): ResourceType[] {
  const spec = mapOf(definition.spec)
  const names = mapOf(spec.names)
  const versions = listOf(spec.versions)
  const storage = versions.find((version) => version.storage === true) ?? versions[0]
  return versions
    .filter((version) => version.served === true)
    .map((version) => {
      const subresources = mapOf(version.subresources)
      const scale = isMap(subresources.scale) ? subresources.scale : undefined
      const kind = textOf(names.kind)
      return {
        group: textOf(spec.group),
        version: textOf(version.name),
        kind,
        listKind: textOf(names.listKind) || `${kind}List`,
        resource: textOf(names.plural),
        singular: textOf(names.singular) || kind.toLowerCase(),
        namespaced: spec.scope !== 'Cluster',
        shortNames: stringsOf(names.shortNames),
        categories: stringsOf(names.categories),
        verbs: allVerbs,
        subresources: [
          ...(isMap(subresources.status) ? ['status'] : []),
          ...(scale === undefined ? [] : ['scale']),
        ],
        storageVersion: textOf(storage?.name),
        generation: true,
        warning: version.deprecated === true ? deprecation(spec, version, kind) : undefined,
        custom: {
          schema: valueAt(version, 'schema.openAPIV3Schema') as JsonMap | undefined,
          columns: listOf(version.additionalPrinterColumns) as unknown as PrinterColumn[],
          scale:
            scale === undefined
              ? undefined
              : {
                  specPath: textOf(scale.specReplicasPath),
                  statusPath: textOf(scale.statusReplicasPath),
                  selectorPath: textOf(scale.labelSelectorPath) || undefined,
                },
          selectableFields: listOf(version.selectableFields).map(({ jsonPath }) =>
            textOf(jsonPath).replace(/^\./, ''),
          ),
        },
      }
    })
}

function deprecation(spec: JsonMap, version: JsonMap, kind: string): string {
  const own = textOf(version.deprecationWarning)
  return own === '' ? `${textOf(spec.group)}/${textOf(version.name)} ${kind} is deprecated` : own
}

/** The definition with the status of one that is accepted and served. */
export function establish(definition: KubeObject, nowMs: number): KubeObject {
  const spec = mapOf(definition.spec)
  const status = mapOf(definition.status)
  const storage = textOf(listOf(spec.versions).find((version) => version.storage === true)?.name)
  const stored = stringsOf(status.storedVersions)
  const now = formatTime(nowMs)
  let conditions: readonly Condition[] = listOf(status.conditions) as unknown as Condition[]
  for (const [type, reason, message] of [
    ['NamesAccepted', 'NoConflicts', 'no conflicts found'],
    ['Established', 'InitialNamesAccepted', 'the initial names have been accepted'],
  ] as const) {
    conditions = withCondition(conditions, { type, status: 'True', reason, message }, now)
  }
  return {
    ...definition,
    status: {
      ...status,
      acceptedNames: { ...mapOf(spec.names) },
      conditions,
      storedVersions: stored.includes(storage) ? stored : [...stored, storage],
    },
  }
}

/** Refuses definitions that could not be served, and establishes the others. */
export class DefinitionAdmission implements AdmissionStep {
  readonly #catalogue: Catalogue
  readonly #now: () => number

  constructor(catalogue: Catalogue, now: () => number) {
    this.#catalogue = catalogue
    this.#now = now
  }

  admit(request: AdmissionRequest, object: KubeObject): boolean {
    if (request.type.kind !== 'CustomResourceDefinition') return false
    const spec = mapOf(object.spec)
    object.spec = spec
    fillNames(spec)
    const plural = textOf(valueAt(spec, 'names.plural'))
    const kind = textOf(valueAt(spec, 'names.kind'))
    for (const version of listOf(spec.versions)) {
      const other = this.#catalogue.findKind(`${textOf(spec.group)}/${textOf(version.name)}`, kind)
      if (other === undefined || other.resource === plural) continue
      const subject = {
        group: request.type.group,
        kind: request.type.kind,
        name: object.metadata.name,
      }
      throw invalid(subject, [
        fieldInvalid('spec.names.kind', kind, `is already in use by ${other.resource}`),
      ])
    }
    if (request.operation === 'CREATE') {
      object.metadata.finalizers = [
        ...new Set([...(object.metadata.finalizers ?? []), cleanupFinalizer]),
      ]
    }
    Object.assign(object, establish(object, this.#now()))
    return true
  }
}

function fillNames(spec: JsonMap): void {
  const names = mapOf(spec.names)
  const kind = textOf(names.kind)
  names.singular ??= kind.toLowerCase()
  names.listKind ??= `${kind}List`
  spec.names = names
  spec.conversion ??= { strategy: 'None' }
}
