/** Rules for configuration, roles and webhooks. */
import { validateConfigKey, validateQualifiedName } from '../../kube/index.ts'
import { asMap, asText, type Json, sameJson } from '../json.ts'
import type { Cursor } from './report.ts'

/** Kubernetes' limit for the data of one ConfigMap or Secret. */
const dataMaxBytes = 1024 * 1024

const keysOfSecretType: Record<string, readonly string[]> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
}

export function secretErrors(object: Cursor, old: Json | undefined): void {
  dataErrors(object, ['data'])
  const data = asMap(object.value('data')) ?? {}
  for (const key of keysOfSecretType[object.text('type') ?? ''] ?? []) {
    if (data[key] === undefined) object.required(`data[${key}]`)
  }
  object.immutable(old, 'type')
  frozenErrors(object, old, ['data'])
}

export function configMapErrors(object: Cursor, old: Json | undefined): void {
  dataErrors(object, ['data', 'binaryData'])
  const texts = asMap(object.value('data')) ?? {}
  for (const key of Object.keys(asMap(object.value('binaryData')) ?? {})) {
    if (texts[key] !== undefined)
      object.invalid(`data[${key}]`, 'duplicate of key present in binaryData', key)
  }
  frozenErrors(object, old, ['data', 'binaryData'])
}

function dataErrors(object: Cursor, fields: readonly string[]): void {
  let size = 0
  for (const field of fields) {
    for (const [key, value] of Object.entries(asMap(object.value(field)) ?? {})) {
      for (const text of validateConfigKey(key)) object.invalid(`${field}[${key}]`, text, key)
      const text = asText(value) ?? ''
      size +=
        field === 'data' && object.map['kind'] === 'ConfigMap'
          ? Buffer.byteLength(text)
          : (text.length * 3) / 4
    }
  }
  if (size > dataMaxBytes) {
    object.errors.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${dataMaxBytes} bytes`,
      field: fields[0] === 'data' && fields.length === 1 ? 'data' : '',
    })
  }
}

/** `immutable: true` can't be taken back, and then the data can't change. */
function frozenErrors(object: Cursor, old: Json | undefined, fields: readonly string[]): void {
  if (old?.['immutable'] !== true) return
  const text = 'field is immutable when `immutable` is set'
  if (object.value('immutable') !== true) object.forbidden('immutable', text)
  for (const field of fields) {
    if (!sameJson(old[field] ?? null, object.value(field) ?? null)) object.forbidden(field, text)
  }
}

export function roleErrors(object: Cursor): void {
  const clusterWide = object.map['kind'] === 'ClusterRole'
  for (const rule of object.children('rules')) {
    if (listLength(rule, 'verbs') === 0) {
      rule.required('verbs', 'verbs must contain at least one value')
    }
    if (listLength(rule, 'nonResourceURLs') > 0) {
      if (!clusterWide) {
        rule.invalid('nonResourceURLs', 'namespaced rules cannot apply to non-resource URLs')
      }
      continue
    }
    if (listLength(rule, 'apiGroups') === 0) {
      rule.required('apiGroups', 'resource rules must supply at least one api group')
    }
    if (listLength(rule, 'resources') === 0) {
      rule.required('resources', 'resource rules must supply at least one resource')
    }
  }
}

function listLength(cursor: Cursor, name: string): number {
  const list = cursor.value(name)
  return Array.isArray(list) ? list.length : 0
}

export function roleBindingErrors(object: Cursor, old: Json | undefined): void {
  const roleRef = object.child('roleRef')
  if (roleRef === undefined) {
    object.required('roleRef')
    return
  }
  const kinds =
    object.map['kind'] === 'ClusterRoleBinding' ? ['ClusterRole'] : ['Role', 'ClusterRole']
  if (!kinds.includes(roleRef.text('kind') ?? '')) roleRef.notSupported('kind', kinds)
  roleRef.need('name')
  if (old !== undefined && !sameJson(old['roleRef'] ?? null, roleRef.map)) {
    object.invalid('roleRef', 'cannot change roleRef')
  }
  for (const subject of object.children('subjects')) {
    subject.need('name')
    const kind = subject.text('kind') ?? ''
    if (!['ServiceAccount', 'User', 'Group'].includes(kind)) {
      subject.notSupported('kind', ['ServiceAccount', 'User', 'Group'])
    } else if (kind === 'ServiceAccount') {
      subject.need('namespace')
    }
  }
}

export function webhookErrors(object: Cursor): void {
  const names = new Set<string>()
  for (const webhook of object.children('webhooks')) {
    if (webhook.need('name')) {
      webhook.rule('name', validateQualifiedName)
      const name = webhook.text('name') ?? ''
      if (names.has(name)) webhook.duplicate('name')
      names.add(name)
    }
    const client = webhook.child('clientConfig')
    if (client === undefined || client.isSet('url') === client.isSet('service')) {
      webhook.required('clientConfig', 'exactly one of url or service is required')
    }
    if (listLength(webhook, 'admissionReviewVersions') === 0) {
      webhook.required('admissionReviewVersions', 'must specify one of v1, v1beta1')
    }
    const effects = webhook.text('sideEffects')
    if (effects === undefined)
      webhook.required('sideEffects', 'must specify one of None, NoneOnDryRun')
    else if (effects !== 'None' && effects !== 'NoneOnDryRun') {
      webhook.notSupported('sideEffects', ['None', 'NoneOnDryRun'])
    }
    const seconds = webhook.number('timeoutSeconds') ?? 10
    if (seconds < 1 || seconds > 30) {
      webhook.invalid('timeoutSeconds', 'the timeout value must be between 1 and 30 seconds')
    }
  }
}

export function apiServiceErrors(object: Cursor): void {
  if (object.child('spec')?.isSet('service')) {
    const text = 'standalone mode serves APIs itself; APIService spec.service is not supported'
    object.forbidden('spec.service', text)
  }
}
