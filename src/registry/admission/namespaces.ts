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

  admit(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): boolean {
    const { type, operation } = request
    if (type.group === '' && type.resource === 'namespaces') {
      prepare(request, object, old)
      warnAboutSecurity(request, object, old)
      return true
    }
    if (operation !== 'CREATE' || !type.namespaced) return false
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
    return false
  }
}

const securityPrefix = 'pod-security.kubernetes.io/'

/** Labels that ask for something which is not done: said when they come or change. */
function warnAboutSecurity(
  request: AdmissionRequest,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  const before = old?.metadata.labels ?? {}
  for (const [key, value] of Object.entries(object.metadata.labels ?? {})) {
    if (!key.startsWith(securityPrefix) || before[key] === value) continue
    request.warn(`the label ${key} is stored, but pod security is not enforced in standalone mode`)
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
