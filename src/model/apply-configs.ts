/** Updates by kinds that stay as users write them, by credentials, and by MeshConfig. */
import { isDeepStrictEqual } from 'node:util'
import type { Credential } from './credential.ts'
import type { Draft } from './draft.ts'
import type { Kind, Kinds } from './events.ts'
import { hostKeys } from './hosts.ts'
import type {
  ConfigObject,
  DestinationRuleSpec,
  MeshConfig,
  MeshConfigSpec,
  TargetReference,
  VirtualServiceSpec,
} from './istio/index.ts'
import { effectiveMesh } from './mesh-defaults.ts'

/** Kinds that are no configuration: what runs, what names it, and what holds secrets. */
const notConfig: ReadonlySet<Kind> = new Set<Kind>([
  'Pod',
  'Service',
  'EndpointSlice',
  'Namespace',
  'Node',
  'Secret',
  'ConfigMap',
  'MeshConfig',
])

/** What is the same for every kind of configuration: it is touched, and found by its namespace. */
export function noteConfig<K extends Kind>(
  draft: Draft,
  event: { readonly kind: K; readonly key: string },
  previous: Kinds[K] | undefined,
  next: Kinds[K] | undefined,
): void {
  const { kind, key } = event
  if (notConfig.has(kind)) return
  draft.touched.configs.add(`${kind}/${key}`)
  const slash = key.indexOf('/')
  if (slash < 0) return
  const index = [`${kind}|${key.slice(0, slash)}`]
  const before = previous === undefined ? [] : index
  draft.moveIndex('configsByNamespace', key, before, next === undefined ? [] : index)
  const full = `${kind}/${key}`
  draft.moveIndex('policiesByTarget', full, targetsOf(previous), targetsOf(next))
}

/** The attachment fields that policies of every kind have in common. */
interface Attached {
  readonly namespace?: string
  readonly spec?: unknown
  readonly config?: unknown
}

/** `<Kind>|<namespace>/<name>` of what a policy targets: always in its own namespace. */
function targetsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const object: Attached = value
  // Normalized kinds carry the user's form as `config`.
  const { spec, namespace = '' } = (object.config ?? object) as Attached
  if (typeof spec !== 'object' || spec === null) return []
  const { targetRef, targetRefs } = spec as {
    readonly targetRef?: TargetReference
    readonly targetRefs?: readonly TargetReference[]
  }
  const references = [...(targetRef === undefined ? [] : [targetRef]), ...(targetRefs ?? [])]
  const targets = references.map(({ kind = '', name = '' }) => `${kind}|${namespace}/${name}`)
  return [...new Set(targets)]
}

/** For kinds about which nothing more is to be kept. */
export function applyConfig(): void {}

export function applyVirtualService(
  draft: Draft,
  key: string,
  previous: ConfigObject<VirtualServiceSpec> | undefined,
  next: ConfigObject<VirtualServiceSpec> | undefined,
): void {
  const { domain } = draft.settings
  const hosts = (value: ConfigObject<VirtualServiceSpec> | undefined): string[] =>
    value === undefined ? [] : hostKeys(value.spec.hosts ?? [], value.namespace, domain)
  draft.moveIndex('virtualServicesByHost', key, hosts(previous), hosts(next))
  draft.moveIndex('virtualServicesByGateway', key, gatewaysOf(previous), gatewaysOf(next))
}

/** Gateways a VirtualService names; without any it is for the mesh. */
function gatewaysOf(value: ConfigObject<VirtualServiceSpec> | undefined): string[] {
  if (value === undefined) return []
  const { gateways = [] } = value.spec
  if (gateways.length === 0) return ['mesh']
  const keys = gateways.map((name) =>
    name === 'mesh' || name.includes('/') ? name : `${value.namespace}/${name}`,
  )
  return [...new Set(keys)]
}

export function applyDestinationRule(
  draft: Draft,
  key: string,
  previous: ConfigObject<DestinationRuleSpec> | undefined,
  next: ConfigObject<DestinationRuleSpec> | undefined,
): void {
  const { domain } = draft.settings
  const hosts = (value: ConfigObject<DestinationRuleSpec> | undefined): string[] =>
    value?.spec.host === undefined ? [] : hostKeys([value.spec.host], value.namespace, domain)
  draft.moveIndex('destinationRulesByHost', key, hosts(previous), hosts(next))
}

export function applyCredential(
  draft: Draft,
  key: string,
  previous: Credential | undefined,
  next: Credential | undefined,
): void {
  const kind = (next ?? previous)?.kind
  if (kind !== undefined) draft.touched.secrets.add(`${kind}/${key}`)
}

/** The name of the ConfigMap that a control plane reads its MeshConfig from. */
export function meshConfigMap(revision: string | undefined): string {
  return revision === undefined || revision === 'default' ? 'istio' : `istio-${revision}`
}

export function applyMeshConfig(draft: Draft): void {
  const { base, touched } = draft
  const names = [base.sharedMeshConfig ?? '', meshConfigMap(base.revision)]
  const layers: MeshConfigSpec[] = []
  for (const name of names) {
    const layer = draft.objects.MeshConfig.get(name)
    if (layer !== undefined) layers.push(layer)
  }
  const { settings, mesh } = effectiveMesh(base, layers)
  const previous = draft.mesh
  draft.settings = settings
  draft.mesh = mesh
  if (isDeepStrictEqual(previous, mesh)) return
  touched.mesh = true
  for (const gateway of draft.objects.Gateway.keys()) touched.gateways.add(gateway)
  if (ambientPart(previous) === ambientPart(mesh)) return
  for (const uid of draft.workloads.keys()) touched.workloads.add(uid)
  for (const service of draft.services.keys()) touched.services.add(service)
  for (const policy of draft.objects.AuthorizationPolicy.keys()) touched.policies.add(policy)
  for (const policy of draft.objects.PeerAuthentication.keys()) {
    touched.peerAuthentications.add(policy)
  }
}

/** The fields that the resources of node proxies are made of, as one comparable text. */
function ambientPart(mesh: MeshConfig): string {
  const { trustDomain, trustDomainAliases, rootNamespace, defaultServiceExportTo } = mesh
  return JSON.stringify([trustDomain, trustDomainAliases, rootNamespace, defaultServiceExportTo])
}
