/** What goes into the model and what comes out of an update. */
import type { Gateway, GatewayClass, HttpRoute, ReferenceGrant } from './gateway-types.ts'
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

/** The kinds of input objects, with their normalized values. */
export interface Kinds {
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
}

export interface ModelChange {
  readonly snapshot: Snapshot
  readonly touched: Touched
  /** False when every event repeated what was known already. */
  readonly changed: boolean
}
