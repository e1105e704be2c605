/** Rules for `metadata`, the same for all kinds but for the form of the name. */
import {
  annotationsMaxBytes,
  type FieldError,
  fieldForbidden,
  fieldInvalid,
  fieldRequired,
  type GroupVersionKind,
  validateDns1035Label,
  validateDnsLabel,
  validateDnsSubdomain,
  validateLabelValue,
  validatePathSegment,
  validateQualifiedName,
} from '../../kube/index.ts'
import { asMap, asText, type Json, mapsOf } from '../json.ts'
import { isUnset } from './set.ts'

const anyName = () => []

const nameRules: Record<string, (name: string) => string[]> = {
  '/Namespace': validateDnsLabel,
  '/Service': validateDns1035Label,
  'rbac.authorization.k8s.io/Role': validatePathSegment,
  'rbac.authorization.k8s.io/RoleBinding': validatePathSegment,
  'rbac.authorization.k8s.io/ClusterRole': validatePathSegment,
  'rbac.authorization.k8s.io/ClusterRoleBinding': validatePathSegment,
  'apiregistration.k8s.io/APIService': validatePathSegment,
}

/** Kinds which are questions: they are answered, never stored, and need no name. */
const nameless = ['authentication.k8s.io', 'authorization.k8s.io']

/** Complaints about an object's metadata; `old` is the stored object when it is an update. */
export function metadataErrors(gvk: GroupVersionKind, object: Json, old?: Json): FieldError[] {
  const metadata = asMap(object['metadata']) ?? {}
  const errors: FieldError[] = []
  if (!nameless.includes(gvk.group)) errors.push(...nameErrors(gvk, metadata))
  errors.push(
    ...labelsErrors(metadata['labels'], 'metadata.labels'),
    ...annotationErrors(metadata['annotations']),
    ...ownerErrors(metadata['ownerReferences']),
    ...finalizerErrors(metadata, asMap(old?.['metadata'])),
  )
  return errors
}

function nameErrors(gvk: GroupVersionKind, metadata: Json): FieldError[] {
  const rule =
    gvk.group === '' && gvk.kind === 'Binding'
      ? anyName
      : (nameRules[`${gvk.group}/${gvk.kind}`] ?? validateDnsSubdomain)
  const name = asText(metadata['name']) ?? ''
  const base = asText(metadata['generateName']) ?? ''
  if (name === '' && base === '') {
    return [fieldRequired('metadata.name', 'name or generateName is required')]
  }
  const errors: FieldError[] = []
  // A base may end in a dash: what follows makes the name complete.
  if (base !== '') {
    for (const text of rule(base.replace(/[-.]$/, 'a'))) {
      errors.push(fieldInvalid('metadata.generateName', base, text))
    }
  }
  if (name !== '') {
    errors.push(...rule(name).map((text) => fieldInvalid('metadata.name', name, text)))
  }
  const namespace = asText(metadata['namespace']) ?? ''
  if (namespace !== '') {
    for (const text of validateDnsLabel(namespace)) {
      errors.push(fieldInvalid('metadata.namespace', namespace, text))
    }
  }
  return errors
}

/** Complaints about a map of labels, wherever it stands. */
export function labelsErrors(labels: unknown, path: string): FieldError[] {
  return Object.entries(asMap(labels) ?? {}).flatMap(([key, value]) => [
    ...validateQualifiedName(key).map((text) => fieldInvalid(path, key, text)),
    ...validateLabelValue(asText(value) ?? '').map((text) => fieldInvalid(path, value, text)),
  ])
}

function annotationErrors(annotations: unknown): FieldError[] {
  const path = 'metadata.annotations'
  const errors: FieldError[] = []
  let size = 0
  for (const [key, value] of Object.entries(asMap(annotations) ?? {})) {
    // Upper case is allowed here, for history's sake.
    const complaints = validateQualifiedName(key.toLowerCase())
    errors.push(...complaints.map((text) => fieldInvalid(path, key, text)))
    size += Buffer.byteLength(key) + Buffer.byteLength(asText(value) ?? '')
  }
  if (size > annotationsMaxBytes) {
    const message = `Too long: may not be more than ${annotationsMaxBytes} bytes`
    errors.push({ reason: 'FieldValueTooLong', message, field: path })
  }
  return errors
}

function ownerErrors(references: unknown): FieldError[] {
  const errors: FieldError[] = []
  let controllers = 0
  for (const [i, reference] of mapsOf(references).entries()) {
    for (const name of ['apiVersion', 'kind', 'name', 'uid']) {
      if (!isUnset(reference[name])) continue
      const path = `metadata.ownerReferences[${i}].${name}`
      errors.push(fieldInvalid(path, reference[name] ?? '', `${name} must not be empty`))
    }
    if (reference['controller'] === true) controllers++
  }
  if (controllers > 1) {
    const text = `Only one reference can have Controller set to true. Found ${controllers}`
    errors.push(fieldInvalid('metadata.ownerReferences', references, text))
  }
  return errors
}

function finalizerErrors(metadata: Json, old: Json | undefined): FieldError[] {
  const path = 'metadata.finalizers'
  const list = Array.isArray(metadata['finalizers']) ? metadata['finalizers'] : []
  const errors = list.flatMap((each, i) =>
    validateQualifiedName(asText(each) ?? '').map((text) =>
      fieldInvalid(`${path}[${i}]`, each, text),
    ),
  )
  if (old === undefined || isUnset(old['deletionTimestamp'])) return errors
  const before = Array.isArray(old['finalizers']) ? old['finalizers'] : []
  const added = list.filter((each) => !before.includes(each))
  if (added.length > 0) {
    const names = added.map((each) => JSON.stringify(each)).join(', ')
    const text = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${names}}`
    errors.push(fieldForbidden(path, text))
  }
  return errors
}
