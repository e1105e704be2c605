/**
 * The roles that every cluster has. `admin`, `edit` and `view` are put together from parts by label, so that
 * others can add to them; what users changed in a role stays, and what a role lacks is added at the start.
 */
import type { KubeObject } from '../../kube/index.ts'
import { listOf, sameValue, valueAt } from '../values.ts'
import { ruleOf } from './rbac.ts'

const rbac = 'rbac.authorization.k8s.io'
const bootstrapLabel = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }
const updateAnnotation = 'rbac.authorization.kubernetes.io/autoupdate'

type Rule = Record<string, readonly string[]>

const read = ['get', 'list', 'watch']
const write = ['create', 'delete', 'deletecollection', 'patch', 'update']

/** What namespace users may work with; `view` sees all but Secrets. */
const viewable: Rule[] = [
  {
    apiGroups: [''],
    resources: [
      'configmaps',
      'endpoints',
      'events',
      'limitranges',
      'namespaces',
      'persistentvolumeclaims',
      'pods',
      'pods/log',
      'pods/status',
      'replicationcontrollers',
      'resourcequotas',
      'serviceaccounts',
      'services',
      'services/status',
    ],
  },
  { apiGroups: ['apps'], resources: ['*'] },
  { apiGroups: ['batch'], resources: ['*'] },
  { apiGroups: ['autoscaling'], resources: ['*'] },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'] },
  {
    apiGroups: ['networking.k8s.io'],
    resources: ['ingresses', 'ingresses/status', 'networkpolicies'],
  },
  { apiGroups: ['policy'], resources: ['poddisruptionbudgets', 'poddisruptionbudgets/status'] },
]

const editable: Rule[] = [
  {
    apiGroups: [''],
    resources: [
      'configmaps',
      'endpoints',
      'events',
      'persistentvolumeclaims',
      'pods',
      'pods/attach',
      'pods/eviction',
      'pods/exec',
      'pods/portforward',
      'secrets',
      'serviceaccounts',
      'services',
    ],
  },
  { apiGroups: ['apps'], resources: ['*'] },
  { apiGroups: ['batch'], resources: ['*'] },
  { apiGroups: ['autoscaling'], resources: ['*'] },
  { apiGroups: ['networking.k8s.io'], resources: ['ingresses', 'networkpolicies'] },
  { apiGroups: ['policy'], resources: ['poddisruptionbudgets'] },
]

const secrets: Rule = {
  apiGroups: [''],
  resources: ['secrets', 'pods/exec', 'pods/attach', 'pods/portforward'],
}
const tokens: Rule = { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }
const grants: Rule = { apiGroups: [rbac], resources: ['roles', 'rolebindings'] }

const localReviews: Rule = {
  apiGroups: ['authorization.k8s.io'],
  resources: ['localsubjectaccessreviews'],
  verbs: ['create'],
}
const accounts: Rule = { apiGroups: [''], resources: ['serviceaccounts'], verbs: ['impersonate'] }

const withVerbs = (rules: readonly Rule[], verbs: readonly string[]): Rule[] =>
  rules.map((rule) => ({ ...rule, verbs }))

/** The parts of the aggregated roles. */
const parts: Readonly<Record<string, readonly Rule[]>> = {
  view: withVerbs(viewable, read),
  edit: [...withVerbs(editable, write), { ...secrets, verbs: read }, tokens, accounts],
  admin: [{ ...grants, verbs: [...read, ...write] }, localReviews],
}

/** The aggregated role of which each is a part: who may edit may view, and so on. */
const partOf: Readonly<Record<string, string | undefined>> = { view: 'edit', edit: 'admin' }

const plainRoles: Record<string, readonly Rule[]> = {
  'cluster-admin': [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ],
  'system:discovery': [
    {
      nonResourceURLs: [
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/openapi',
        '/openapi/*',
        '/version',
        '/version/',
      ],
      verbs: ['get'],
    },
  ],
  'system:basic-user': [
    {
      apiGroups: ['authorization.k8s.io'],
      resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
      verbs: ['create'],
    },
    { apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'], verbs: ['create'] },
  ],
  'system:auth-delegator': [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ],
}

/** Roles that other ClusterRoles can add to, by this label. */
const aggregateLabel = (role: string): string => `${rbac}/aggregate-to-${role}`

const bindings: Readonly<Record<string, string>> = {
  'cluster-admin': 'system:masters',
  'system:discovery': 'system:authenticated',
  'system:basic-user': 'system:authenticated',
}

function clusterRole(name: string, more: object, labels: Record<string, string> = {}): KubeObject {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: {
      name,
      labels: { ...bootstrapLabel, ...labels },
      annotations: { [updateAnnotation]: 'true' },
    },
    ...more,
  } as KubeObject
}

/** All of them, as they are written when they are missing. */
export function defaultRoles(): KubeObject[] {
  const plain = Object.entries(plainRoles).map(([name, rules]) => clusterRole(name, { rules }))
  const aggregated = Object.entries(parts).flatMap(([name, rules]) => {
    const clusterRoleSelectors = [{ matchLabels: { [aggregateLabel(name)]: 'true' } }]
    const above = partOf[name]
    const labels = above === undefined ? {} : { [aggregateLabel(above)]: 'true' }
    return [
      clusterRole(name, { aggregationRule: { clusterRoleSelectors }, rules: [] }, labels),
      clusterRole(`system:aggregate-to-${name}`, { rules }, { [aggregateLabel(name)]: 'true' }),
    ]
  })
  return [...plain, ...aggregated]
}

export function defaultRoleBindings(): KubeObject[] {
  return Object.entries(bindings).map(
    ([name, group]) =>
      ({
        apiVersion: `${rbac}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: {
          name,
          labels: bootstrapLabel,
          annotations: { [updateAnnotation]: 'true' },
        },
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
        subjects: [{ apiGroup: rbac, kind: 'Group', name: group }],
      }) as KubeObject,
  )
}

/** A stored role with what it lacks of ours; undefined when it lacks nothing, or its owner forbids it. */
export function completedRole(stored: KubeObject, ours: KubeObject): KubeObject | undefined {
  if (stored.metadata.annotations?.[updateAnnotation] === 'false') return undefined
  const labels = { ...ours.metadata.labels, ...stored.metadata.labels }
  const present = listOf(valueAt(stored, 'rules'))
  // The rules of an aggregated role are made of its parts.
  const wanted = valueAt(ours, 'aggregationRule') ? [] : listOf(valueAt(ours, 'rules'))
  const lacking = wanted.filter(
    (rule) => !present.some((other) => sameValue(ruleOf(other), ruleOf(rule))),
  )
  if (lacking.length === 0 && sameValue(labels, stored.metadata.labels)) return undefined
  const rules = [...present, ...lacking]
  return { ...stored, metadata: { ...stored.metadata, labels }, rules } as KubeObject
}
