/**
 * What a new registry begins with: the namespaces, roles and the `kubernetes` Service that clients expect.
 * Everything is made again when it is missing; what a user changed stays.
 */
import { randomUUID } from 'node:crypto'
import { type Clock, formatIp, parseCidr } from '../base/index.ts'
import { formatTime, type KubeObject } from '../kube/index.ts'
import { builtinCrds } from '../schema/index.ts'
import { completedRole, defaultRoleBindings, defaultRoles } from './auth/default-roles.ts'
import type { Catalogue } from './catalogue.ts'
import { cleanupFinalizer, establish } from './definitions.ts'
import { bucketIdOf } from './resource-type.ts'
import type { ObjectStore } from './store/objects.ts'
import { sameValue } from './values.ts'

const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease', 'istio-system']

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
  for (const role of defaultRoles()) ensureRole(options, role, writes)
  for (const binding of defaultRoleBindings()) ensure(binding)
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

/** Default roles get what a newer version of this program adds to them. */
function ensureRole(options: BootstrapOptions, role: KubeObject, writes: Promise<unknown>[]): void {
  const { place, bucket, present } = placeOf(options, role)
  const completed = present === undefined ? undefined : completedRole(present.parse(), role)
  const written =
    completed === undefined
      ? ensureObject(options, role)
      : options.store.write(bucket, place, present, completed)
  if (written !== undefined) writes.push(written)
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
