/** One Kubernetes object → one event for the model. */
import { toError } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { Kind, Kinds, MeshSettings, ModelEvent } from '../model/index.ts'
import { configObject } from './configs.ts'
import { configMapCredential, secretCredential } from './credentials.ts'
import { DiscoveryFilter } from './discovery.ts'
import { gateway, gatewayClass, httpRoute, referenceGrant } from './gateways.ts'
import { isMeshConfigMap, meshConfig } from './mesh-config.ts'
import { objectKey } from './metadata.ts'
import { authorizationPolicy, peerAuthentication } from './policies.ts'
import { meshEndpointSlice, meshNamespace, meshService, meshServiceEntry } from './services.ts'
import { meshNode, workloadOfPod, workloadOfWorkloadEntry } from './workloads.ts'

interface ReaderOf<K extends Kind> {
  readonly group: string
  /** The kind on the wire, when the model's name differs. */
  readonly kind?: string
  readonly clusterScoped?: true
  /** Undefined: the object is of no concern to the mesh (now). */
  readonly read: (object: KubeObject, settings: MeshSettings) => Kinds[K] | undefined
}

type Readers = { readonly [K in Kind]: ReaderOf<K> }

const networking = { group: 'networking.istio.io' } as const
const security = { group: 'security.istio.io' } as const
const extensions = { group: 'extensions.istio.io' } as const
const gatewayApi = { group: 'gateway.networking.k8s.io' } as const

/** The kinds that the mesh reads; any served version of them, since the fields read are the same. */
const readers: Readers = {
  Pod: { group: '', read: workloadOfPod },
  Service: { group: '', read: meshService },
  Namespace: { group: '', clusterScoped: true, read: meshNamespace },
  Node: { group: '', clusterScoped: true, read: meshNode },
  Secret: { group: '', read: secretCredential },
  ConfigMap: { group: '', read: configMapCredential },
  // Never by its kind: a ConfigMap with the right name becomes this.
  MeshConfig: { group: 'mesh', kind: '', read: meshConfig },
  EndpointSlice: { group: 'discovery.k8s.io', read: meshEndpointSlice },
  WorkloadEntry: { ...networking, read: workloadOfWorkloadEntry },
  WorkloadGroup: { ...networking, read: configObject },
  ServiceEntry: { ...networking, read: meshServiceEntry },
  VirtualService: { ...networking, read: configObject },
  DestinationRule: { ...networking, read: configObject },
  IstioGateway: { ...networking, kind: 'Gateway', read: configObject },
  Sidecar: { ...networking, read: configObject },
  EnvoyFilter: { ...networking, read: configObject },
  ProxyConfig: { ...networking, read: configObject },
  AuthorizationPolicy: { ...security, read: authorizationPolicy },
  PeerAuthentication: { ...security, read: peerAuthentication },
  RequestAuthentication: { ...security, read: configObject },
  Telemetry: { group: 'telemetry.istio.io', read: configObject },
  WasmPlugin: { ...extensions, read: configObject },
  TrafficExtension: { ...extensions, read: configObject },
  GatewayClass: { ...gatewayApi, clusterScoped: true, read: gatewayClass },
  Gateway: { ...gatewayApi, read: gateway },
  ListenerSet: { ...gatewayApi, read: configObject },
  HTTPRoute: { ...gatewayApi, read: httpRoute },
  GRPCRoute: { ...gatewayApi, read: configObject },
  TLSRoute: { ...gatewayApi, read: configObject },
  TCPRoute: { ...gatewayApi, read: configObject },
  BackendTLSPolicy: { ...gatewayApi, read: configObject },
  ReferenceGrant: { ...gatewayApi, read: referenceGrant },
}

/** The model's kind by `<group>/<kind>` of the wire. */
const kinds: ReadonlyMap<string, Kind> = new Map(
  Object.entries(readers).map(([kind, reader]) => [
    `${reader.group}/${reader.kind ?? kind}`,
    // The keys are exactly the kinds.
    kind as Kind,
  ]),
)

/** Of kinds that people write, those which several control planes divide by `istio.io/rev`. */
const revisioned: ReadonlySet<string> = new Set([
  'networking.istio.io',
  'security.istio.io',
  'telemetry.istio.io',
  'extensions.istio.io',
  'gateway.networking.k8s.io',
])

/** Told about an object that can't be read at all; the API server's validation keeps these away. */
export type OnUnreadable = (object: KubeObject, reason: string) => void

export interface ReadOptions {
  readonly deleted?: boolean
  readonly onUnreadable?: OnUnreadable
}

/**
 * The event of an object that appeared, changed or went. Undefined for kinds the mesh does not read
 * (the group is checked: Istio and Gateway API both have a kind Gateway), and for an object whose
 * fields have wrong types: it never breaks others, and what was known of it before stays.
 */
export function modelEvent(
  object: KubeObject,
  settings: MeshSettings,
  options: ReadOptions = {},
): ModelEvent | undefined {
  const kind = kindOf(object, settings)
  if (kind === undefined) return undefined
  const { metadata } = object
  const reader = readers[kind]
  const byName = reader.clusterScoped === true || kind === 'MeshConfig'
  const key = byName ? metadata.name : objectKey(metadata)
  try {
    const gone = options.deleted === true || !isOurs(object, reader.group, settings)
    const value = gone ? undefined : reader.read(object, settings)
    // TypeScript can't see that the reader's kind is the event's.
    return { kind, key, value } as ModelEvent
  } catch (error) {
    options.onUnreadable?.(object, toError(error).message)
    return undefined
  }
}

function kindOf(object: KubeObject, settings: MeshSettings): Kind | undefined {
  const { kind, apiVersion } = object
  const slash = apiVersion.indexOf('/')
  const found = kinds.get(`${slash < 0 ? '' : apiVersion.slice(0, slash)}/${kind}`)
  return found === 'ConfigMap' && isMeshConfigMap(object, settings) ? 'MeshConfig' : found
}

/** An object that names another revision is another control plane's. */
function isOurs(object: KubeObject, group: string, settings: MeshSettings): boolean {
  const revision = object.metadata.labels?.['istio.io/rev'] ?? ''
  if (revision === '' || !revisioned.has(group)) return true
  return revision === (settings.revision ?? 'default')
}

/** The events of a whole set of objects, such as a file's, without those the mesh does not look at. */
export function modelEvents(
  objects: Iterable<KubeObject>,
  settings: MeshSettings,
  onUnreadable?: OnUnreadable,
): ModelEvent[] {
  const filter = new DiscoveryFilter(settings)
  const events: ModelEvent[] = []
  for (const object of objects) {
    const event = modelEvent(object, settings, onUnreadable === undefined ? {} : { onUnreadable })
    if (event === undefined) continue
    filter.observe(event)
    events.push(event)
  }
  return events.filter(({ kind, key }) => {
    const slash = key.indexOf('/')
    return kind === 'Namespace' || slash < 0 || filter.includes(key.slice(0, slash))
  })
}
