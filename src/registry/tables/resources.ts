/** Rows of the remaining built-in kinds. */
import type { KubeObject } from '../../kube/index.ts'
import { listOf, mapOf, textOf, valueAt } from '../values.ts'
import { age, ageOf, type Cells, none, number } from './cells.ts'

function nodeStatus(node: KubeObject): string {
  const ready = listOf(valueAt(node, 'status.conditions')).find(({ type }) => type === 'Ready')
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'
  return valueAt(node, 'spec.unschedulable') === true ? `${state},SchedulingDisabled` : state
}

const rolePrefix = 'node-role.kubernetes.io/'

function nodeRoles(node: KubeObject): string {
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix)) return [key.slice(rolePrefix.length)]
    return key === 'kubernetes.io/role' ? [value] : []
  })
  return roles.length === 0 ? none : roles.toSorted().join(',')
}

const nodeAddress = (kind: string) => (node: KubeObject) =>
  textOf(listOf(valueAt(node, 'status.addresses')).find(({ type }) => type === kind)?.address) ||
  none

const nodeInfo = (field: string) => (node: KubeObject) =>
  textOf(valueAt(node, `status.nodeInfo.${field}`)) || '<unknown>'

function dataCount(object: KubeObject): number {
  const { data, binaryData } = object as KubeObject & Record<string, unknown>
  return Object.keys(mapOf(data)).length + Object.keys(mapOf(binaryData)).length
}

/** Newer events carry a series or an event time instead of first and last time. */
const lastSeen = (event: KubeObject): unknown =>
  valueAt(event, 'series.lastObservedTime') ??
  valueAt(event, 'lastTimestamp') ??
  valueAt(event, 'eventTime') ??
  event.metadata.creationTimestamp

const firstSeen = (event: KubeObject): unknown =>
  valueAt(event, 'firstTimestamp') ??
  valueAt(event, 'eventTime') ??
  event.metadata.creationTimestamp

function involved(event: KubeObject): string {
  const { kind, name } = mapOf(valueAt(event, 'involvedObject'))
  return `${textOf(kind).toLowerCase()}/${textOf(name)}`
}

function eventSource(event: KubeObject): string {
  const { component, host } = mapOf(valueAt(event, 'source'))
  const name = textOf(component) || textOf(valueAt(event, 'reportingComponent'))
  return [name, textOf(host)].filter((part) => part !== '').join(', ')
}

const subjects = (kind: string) => (binding: KubeObject) =>
  listOf(valueAt(binding, 'subjects'))
    .filter((subject) => subject.kind === kind)
    .map(({ name, namespace }) =>
      kind === 'ServiceAccount' ? `${textOf(namespace)}/${textOf(name)}` : textOf(name),
    )
    .join(', ')

const bindings: Cells = {
  Role: (binding) =>
    `${textOf(valueAt(binding, 'roleRef.kind'))}/${textOf(valueAt(binding, 'roleRef.name'))}`,
  Age: age,
  'Users*': subjects('User'),
  'Groups*': subjects('Group'),
  'ServiceAccounts*': subjects('ServiceAccount'),
}

/** `used/hard` of what a quota bounds, apart for requests and limits. */
function quotaText(quota: KubeObject, limits: boolean): string {
  const hard = mapOf(valueAt(quota, 'status.hard'))
  const used = mapOf(valueAt(quota, 'status.used'))
  return Object.keys(hard)
    .filter((name) => name.startsWith('limits') === limits)
    .toSorted()
    .map((name) => `${name}: ${textOf(used[name])}/${textOf(hard[name])}`)
    .join(', ')
}
const requested = (quota: KubeObject): string => quotaText(quota, false)
const limited = (quota: KubeObject): string => quotaText(quota, true)

const created: Cells = { 'Created At': (object) => object.metadata.creationTimestamp }
const webhooks: Cells = {
  Webhooks: (object) => listOf(valueAt(object, 'webhooks')).length,
  Age: age,
}

export const resourcePrinters: Readonly<Record<string, Cells>> = {
  '/namespaces': { Status: (object) => textOf(valueAt(object, 'status.phase')), Age: age },
  '/nodes': {
    Status: nodeStatus,
    Roles: nodeRoles,
    Age: age,
    Version: nodeInfo('kubeletVersion'),
    'Internal-IP*': nodeAddress('InternalIP'),
    'External-IP*': nodeAddress('ExternalIP'),
    'OS-Image*': nodeInfo('osImage'),
    'Kernel-Version*': nodeInfo('kernelVersion'),
    'Container-Runtime*': nodeInfo('containerRuntimeVersion'),
  },
  '/events': {
    'Last Seen': (event, now) => ageOf(lastSeen(event), now),
    Type: (event) => textOf(valueAt(event, 'type')),
    Reason: (event) => textOf(valueAt(event, 'reason')),
    Object: involved,
    'Subobject*': (event) => textOf(valueAt(event, 'involvedObject.fieldPath')),
    'Source*': eventSource,
    Message: (event) => textOf(valueAt(event, 'message')).trim(),
    'First Seen*': (event, now) => ageOf(firstSeen(event), now),
    'Count*': (event) => Math.max(1, number(event, 'count')),
    'Name*': (event) => event.metadata.name,
  },
  '/configmaps': { Data: dataCount, Age: age },
  '/secrets': { Type: (object) => textOf(valueAt(object, 'type')), Data: dataCount, Age: age },
  '/limitranges': created,
  '/resourcequotas': { Request: requested, Limit: limited, Age: age },
  '/serviceaccounts': { Secrets: (object) => listOf(valueAt(object, 'secrets')).length, Age: age },
  'apiextensions.k8s.io/customresourcedefinitions': created,
  'rbac.authorization.k8s.io/roles': created,
  'rbac.authorization.k8s.io/clusterroles': created,
  'rbac.authorization.k8s.io/rolebindings': bindings,
  'rbac.authorization.k8s.io/clusterrolebindings': bindings,
  'coordination.k8s.io/leases': {
    Holder: (object) => textOf(valueAt(object, 'spec.holderIdentity')),
    Age: age,
  },
  'admissionregistration.k8s.io/mutatingwebhookconfigurations': webhooks,
  'admissionregistration.k8s.io/validatingwebhookconfigurations': webhooks,
  'scheduling.k8s.io/priorityclasses': {
    Value: (object) => number(object, 'value'),
    'Global-Default': (object) => String(valueAt(object, 'globalDefault') === true),
    Age: age,
    PreemptionPolicy: (object) => textOf(valueAt(object, 'preemptionPolicy')),
  },
}
