/** What goes into the model and what comes out of an update. */
import type { Credential } from './credential.ts'
import type { Gateway, GatewayClass, HttpRoute, ReferenceGrant } from './gateway-types.ts'
import type {
  BackendTLSPolicySpec,
  ConfigObject,
  DestinationRuleSpec,
  EnvoyFilterSpec,
  GRPCRouteSpec,
  IstioGatewaySpec,
  ListenerSetSpec,
  MeshConfigSpec,
  ProxyConfigSpec,
  RequestAuthenticationSpec,
  SidecarSpec,
  TCPRouteSpec,
  TelemetrySpec,
  TLSRouteSpec,
  TrafficExtensionSpec,
  VirtualServiceSpec,
  WasmPluginSpec,
  WorkloadGroupSpec,
} from './istio/index.ts'
import type { AuthorizationPolicy, PeerAuthentication } from './policy-types.ts'
import type { Snapshot } from './snapshot.ts'
import type {
  EndpointSlice,
  MeshNode,
  Namespace,
  Service,
  ServiceEntry,
  Workload,
} from './types.ts'

/** Kinds that stay as users write them; only their frame is normalized. */
export interface RawKinds {
  VirtualService: ConfigObject<VirtualServiceSpec>
  DestinationRule: ConfigObject<DestinationRuleSpec>
  /** Gateway of networking.istio.io. */
  IstioGateway: ConfigObject<IstioGatewaySpec>
  Sidecar: ConfigObject<SidecarSpec>
  EnvoyFilter: ConfigObject<EnvoyFilterSpec>
  ProxyConfig: ConfigObject<ProxyConfigSpec>
  WorkloadGroup: ConfigObject<WorkloadGroupSpec>
  WasmPlugin: ConfigObject<WasmPluginSpec>
  TrafficExtension: ConfigObject<TrafficExtensionSpec>
  RequestAuthentication: ConfigObject<RequestAuthenticationSpec>
  Telemetry: ConfigObject<TelemetrySpec>
  GRPCRoute: ConfigObject<GRPCRouteSpec>
  TLSRoute: ConfigObject<TLSRouteSpec>
  TCPRoute: ConfigObject<TCPRouteSpec>
  BackendTLSPolicy: ConfigObject<BackendTLSPolicySpec>
  ListenerSet: ConfigObject<ListenerSetSpec>
}

export type RawKind = keyof RawKinds

/** The kinds of input objects, with their normalized values. */
export interface Kinds extends RawKinds {
  Pod: Workload
  WorkloadEntry: Workload
  ServiceEntry: ServiceEntry
  Service: Service
  EndpointSlice: EndpointSlice
  Namespace: Namespace
  Node: MeshNode
  AuthorizationPolicy: AuthorizationPolicy
  PeerAuthentication: PeerAuthentication
  GatewayClass: GatewayClass
  Gateway: Gateway
  HTTPRoute: HttpRoute
  ReferenceGrant: ReferenceGrant
  /** Secrets and ConfigMaps that hold certificates. */
  Secret: Credential
  ConfigMap: Credential
  /** By the name of the ConfigMap it comes from; the shared one lies below the revision's own. */
  MeshConfig: MeshConfigSpec
}

export type Kind = keyof Kinds

/** One object as it is now; no value: it is gone. The key is `<namespace>/<name>` or `<name>`. */
export type ModelEvent = {
  [K in Kind]: { readonly kind: K; readonly key: string; readonly value: Kinds[K] | undefined }
}[Kind]

/** Everything whose translation may differ from the one before: never less, rarely more. */
export interface Touched {
  /** Workload UIDs. */
  readonly workloads: ReadonlySet<string>
  /** Service keys, `<namespace>/<hostname>`. */
  readonly services: ReadonlySet<string>
  /** Service keys whose endpoints changed. */
  readonly endpoints: ReadonlySet<string>
  /** AuthorizationPolicy keys. */
  readonly policies: ReadonlySet<string>
  /** PeerAuthentication keys. */
  readonly peerAuthentications: ReadonlySet<string>
  /** Gateway keys whose listeners, routes or set of clusters changed. */
  readonly gateways: ReadonlySet<string>
  /** `<Kind>|<namespace>/<name>` of what routes of Gateway API that changed have as a parent. */
  readonly parents: ReadonlySet<string>
  /** `<Kind>/<namespace>/<name>` of every object users configure the mesh with, of all kinds. */
  readonly configs: ReadonlySet<string>
  /** Namespaces whose labels or annotations changed. */
  readonly namespaces: ReadonlySet<string>
  /** `Secret/<namespace>/<name>` or `ConfigMap/<namespace>/<name>`. */
  readonly secrets: ReadonlySet<string>
  /** MeshConfig changed: whatever reads it must be made anew. */
  readonly mesh: boolean
}

export interface ModelChange {
  readonly snapshot: Snapshot
  readonly touched: Touched
  /** False when every event repeated what was known already. */
  readonly changed: boolean
}
