/**
 * What a new registry begins with: the namespaces, roles and the `kubernetes` Service that clients expect.
 * Everything is made again when it is missing; what a user changed stays.
 */
import { randomUUID } from 'node:crypto'
import { type Clock, formatIp, parseCidr } from '../base/index.ts'
import { formatTime, type KubeObject } from '../kube/index.ts'
import { builtinCrds } from '../schema/index.ts'
import type { Catalogue } from './catalogue.ts'
import { cleanupFinalizer, establish } from './definitions.ts'
import { bucketIdOf } from './resource-type.ts'
import type { ObjectStore } from './store/objects.ts'
import { sameValue } from './values.ts'

const rbac = 'rbac.authorization.k8s.io'
const bootstrapLabel = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }
const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease', 'istio-system']

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

const withVerbs = (rules: readonly Rule[], verbs: readonly string[]): Rule[] =>
  rules.map((rule) => ({ ...rule, verbs }))

const viewRules = withVerbs(viewable, read)
const editRules = [...viewRules, ...withVerbs(editable, write), { ...secrets, verbs: read }, tokens]
const adminRules = [...editRules, { ...grants, verbs: [...read, ...write] }]

const clusterRoles: Record<string, readonly Rule[]> = {
  'cluster-admin': [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ],
  admin: adminRules,
  edit: editRules,
  view: viewRules,
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

const clusterRoleBindings: Record<string, string> = {
  'cluster-admin': 'system:masters',
  'system:discovery': 'system:authenticated',
  'system:basic-user': 'system:authenticated',
}

function clusterRole(name: string, rules: readonly Rule[]): KubeObject {
  const aggregates = ['admin', 'edit', 'view'].includes(name)
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: { name, labels: bootstrapLabel },
    ...(aggregates
      ? {
          aggregationRule: {
            clusterRoleSelectors: [{ matchLabels: { [aggregateLabel(name)]: 'true' } }],
          },
        }
      : {}),
    rules,
  } as KubeObject
}

function clusterRoleBinding(role: string, group: string): KubeObject {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name: role, labels: bootstrapLabel },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: role },
    subjects: [{ apiGroup: rbac, kind: 'Group', name: group }],
  } as KubeObject
}

function namespace(name: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { 'kubernetes.io/metadata.name': name } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  }
}

function kubernetesService(clusterIp: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kubernetes',
      namespace: 'default',
      labels: { component: 'apiserver', provider: 'kubernetes' },
    },
    spec: {
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }],
      sessionAffinity: 'None',
      type: 'ClusterIP',
    },
    status: { loadBalancer: {} },
  }
}

export interface BootstrapOptions {
  readonly store: ObjectStore
  readonly catalogue: Catalogue
  readonly clock: Clock
  readonly serviceCidr: string
}

/** Writes what is missing, as few transactions as there can be. */
export async function bootstrap(options: BootstrapOptions): Promise<void> {
  const writes: Promise<unknown>[] = []
  const ensure = (object: KubeObject): void => {
    const written = ensureObject(options, object)
    if (written !== undefined) writes.push(written)
  }
  for (const name of namespaces) ensure(namespace(name))
  for (const [name, rules] of Object.entries(clusterRoles)) ensure(clusterRole(name, rules))
  for (const [role, group] of Object.entries(clusterRoleBindings))
    ensure(clusterRoleBinding(role, group))
  ensure(kubernetesService(serviceAddress(options.serviceCidr, 1)))
  for (const crd of builtinCrds()) ensureDefinition(options, crd as unknown as KubeObject, writes)
  await Promise.all(writes)
}

/** The n-th address of the Service range: 1 is `kubernetes`, 10 the DNS server. */
export function serviceAddress(cidr: string, offset: number): string {
  const address = parseCidr(cidr)?.address ?? Uint8Array.of(10, 96, 0, 0)
  return formatIp(Uint8Array.of(...address.slice(0, 3), (address[3] ?? 0) + offset))
}

function placeOf(options: BootstrapOptions, object: KubeObject) {
  const type = options.catalogue.findKind(object.apiVersion, object.kind)
  if (type === undefined) throw new Error(`${object.kind} is no built-in kind`)
  const place = { namespace: object.metadata.namespace ?? '', name: object.metadata.name }
  const bucket = options.store.bucket(bucketIdOf(type))
  return { type, place, bucket, present: bucket.latest(place.namespace, place.name) }
}

function ensureObject(options: BootstrapOptions, object: KubeObject): Promise<unknown> | undefined {
  const { type, place, bucket, present } = placeOf(options, object)
  if (present !== undefined) return undefined
  const metadata = {
    ...object.metadata,
    uid: randomUUID(),
    creationTimestamp: formatTime(options.clock.now()),
    ...(type.generation ? { generation: 1 } : {}),
  }
  return options.store.write(bucket, place, undefined, { ...object, metadata })
}

/** Our own definitions follow the version of this program, unlike what belongs to users. */
function ensureDefinition(
  options: BootstrapOptions,
  crd: KubeObject,
  writes: Promise<unknown>[],
): void {
  const { place, bucket, present } = placeOf(options, crd)
  const now = options.clock.now()
  if (present === undefined) {
    const finalizers = [cleanupFinalizer]
    const metadata = { ...crd.metadata, finalizers }
    const written = ensureObject(options, establish({ ...crd, metadata }, now))
    if (written !== undefined) writes.push(written)
    return
  }
  const old = present.parse()
  if (sameValue(old.spec, crd.spec)) return
  const generation = (old.metadata.generation ?? 0) + 1
  const next = establish({ ...old, spec: crd.spec, metadata: { ...old.metadata, generation } }, now)
  writes.push(options.store.write(bucket, place, present, next))
}
