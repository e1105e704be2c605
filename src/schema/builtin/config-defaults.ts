/** Defaults of namespaces, configuration, roles, webhooks, definitions and storage. */
import { asMap, asText, isMap, type Json, mapsOf } from '../json.ts'
import { defaults, ensureMap } from './set.ts'

const rbacGroup = 'rbac.authorization.k8s.io'

export function namespaceDefaults(object: Json): void {
  const metadata = ensureMap(object, 'metadata')
  const labels = metadata === undefined ? undefined : ensureMap(metadata, 'labels')
  const name = asText(metadata?.['name'])
  if (labels !== undefined && name !== undefined) labels['kubernetes.io/metadata.name'] = name
  const spec = ensureMap(object, 'spec')
  if (spec !== undefined) defaults(spec, { finalizers: ['kubernetes'] })
  const status = ensureMap(object, 'status')
  if (status !== undefined) defaults(status, { phase: 'Active' })
}

/** `stringData` is for writing only: it is merged into `data`, encoded, and never stored. */
export function secretDefaults(object: Json): void {
  if (object['type'] === '') delete object['type']
  defaults(object, { type: 'Opaque' })
  const texts = asMap(object['stringData'])
  if (texts !== undefined && Object.values(texts).every((value) => typeof value === 'string')) {
    const data = ensureMap(object, 'data')
    for (const [key, value] of Object.entries(texts)) {
      if (data !== undefined) data[key] = Buffer.from(String(value)).toString('base64')
    }
    delete object['stringData']
  }
}

export function roleBindingDefaults(object: Json): void {
  const roleRef = asMap(object['roleRef'])
  if (roleRef !== undefined) {
    if (roleRef['apiGroup'] === '') delete roleRef['apiGroup']
    defaults(roleRef, { apiGroup: rbacGroup })
  }
  for (const subject of mapsOf(object['subjects'])) {
    if (subject['kind'] === 'User' || subject['kind'] === 'Group') {
      defaults(subject, { apiGroup: rbacGroup })
    }
  }
}

export function webhookDefaults(object: Json): void {
  const mutating = object['kind'] === 'MutatingWebhookConfiguration'
  for (const webhook of mapsOf(object['webhooks'])) {
    defaults(webhook, {
      failurePolicy: 'Fail',
      matchPolicy: 'Equivalent',
      namespaceSelector: {},
      objectSelector: {},
      timeoutSeconds: 10,
      ...(mutating ? { reinvocationPolicy: 'Never' } : {}),
    })
    for (const rule of mapsOf(webhook['rules'])) defaults(rule, { scope: '*' })
    const service = asMap(asMap(webhook['clientConfig'])?.['service'])
    if (service !== undefined) defaults(service, { port: 443 })
  }
}

export function crdDefaults(object: Json): void {
  const spec = asMap(object['spec']) ?? {}
  defaults(spec, { scope: 'Namespaced' })
  const conversion = ensureMap(spec, 'conversion')
  if (conversion !== undefined) defaults(conversion, { strategy: 'None' })
  const names = asMap(spec['names'])
  const kind = asText(names?.['kind'])
  if (names !== undefined && kind !== undefined) {
    defaults(names, { singular: kind.toLowerCase(), listKind: `${kind}List` })
  }
}

export function persistentVolumeDefaults(object: Json): void {
  if (isMap(object['spec'])) {
    defaults(object['spec'], { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' })
  }
  const status = ensureMap(object, 'status')
  if (status !== undefined) defaults(status, { phase: 'Pending' })
}

export function storageClassDefaults(object: Json): void {
  defaults(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' })
}

export function priorityClassDefaults(object: Json): void {
  defaults(object, { value: 0, preemptionPolicy: 'PreemptLowerPriority' })
}
