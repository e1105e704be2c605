/** Objects need a namespace that exists and is not going away; namespaces get their finalizer. */
import { type KubeObject, namespaceTerminating, notFound } from '../../kube/index.ts'
import type { ObjectStore } from '../store/objects.ts'
import { mapOf, valueAt } from '../values.ts'
import type { AdmissionRequest, AdmissionStep } from './admission.ts'

const nameLabel = 'kubernetes.io/metadata.name'

export class NamespaceAdmission implements AdmissionStep {
  readonly #store: ObjectStore

  constructor(store: ObjectStore) {
    this.#store = store
  }

  async admit(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): Promise<void> {
    const { type, operation } = request
    if (operation === 'DELETE') return
    if (type.group === '' && type.resource === 'namespaces') return prepare(request, object, old)
    if (operation !== 'CREATE' || !type.namespaced) return
    const entry = this.#store.bucket('/namespaces').latest('', request.namespace)
    if (entry === undefined) {
      throw notFound({ group: '', kind: 'namespaces', name: request.namespace })
    }
    if (entry.parse().metadata.deletionTimestamp !== undefined) {
      const { name } = object.metadata
      throw namespaceTerminating(
        { group: type.group, kind: type.resource, name },
        request.namespace,
      )
    }
  }
}

function prepare(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): void {
  object.metadata.labels = { ...object.metadata.labels, [nameLabel]: object.metadata.name }
  if (request.operation === 'CREATE') {
    object.spec = { ...mapOf(object.spec), finalizers: ['kubernetes'] }
    object.status = { phase: 'Active' }
  } else if (request.subresource !== 'finalize' && old !== undefined) {
    // Only the finalize subresource may release a namespace.
    object.spec = { ...mapOf(object.spec), finalizers: valueAt(old, 'spec.finalizers') ?? [] }
  }
}
