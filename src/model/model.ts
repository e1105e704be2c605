/**
 * The model: takes events, keeps the current snapshot, and says exactly what each update touched.
 * The cost of an update follows the objects in it and those that depend on them, never the mesh.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  applyConfig,
  applyCredential,
  applyDestinationRule,
  applyMeshConfig,
  applyVirtualService,
  noteConfig,
} from './apply-configs.ts'
import {
  applyGateway,
  applyGatewayClass,
  applyListenerSet,
  applyReferenceGrant,
  applyRoute,
} from './apply-gateways.ts'
import { applyAuthorizationPolicy, applyPeerAuthentication } from './apply-policies.ts'
import {
  applyEndpointSlice,
  applyNamespace,
  applyNode,
  applyService,
  applyServiceEntry,
  applyWorkload,
} from './apply-workloads.ts'
import { type Candidates, Draft } from './draft.ts'
import type { Kind, Kinds, ModelChange, ModelEvent } from './events.ts'
import { ReverseIndexes } from './reverse.ts'
import { emptySnapshot, type Snapshot } from './snapshot.ts'
import type { MeshSettings } from './types.ts'

type Appliers = {
  readonly [K in Kind]: (
    draft: Draft,
    key: string,
    previous: Kinds[K] | undefined,
    next: Kinds[K] | undefined,
  ) => void
}

const appliers: Appliers = {
  Pod: applyWorkload,
  WorkloadEntry: applyWorkload,
  ServiceEntry: applyServiceEntry,
  Service: applyService,
  EndpointSlice: applyEndpointSlice,
  Namespace: applyNamespace,
  Node: applyNode,
  AuthorizationPolicy: applyAuthorizationPolicy,
  PeerAuthentication: applyPeerAuthentication,
  GatewayClass: applyGatewayClass,
  Gateway: applyGateway,
  ReferenceGrant: applyReferenceGrant,
  HTTPRoute: applyRoute('HTTPRoute'),
  GRPCRoute: applyRoute('GRPCRoute'),
  TLSRoute: applyRoute('TLSRoute'),
  TCPRoute: applyRoute('TCPRoute'),
  ListenerSet: applyListenerSet,
  VirtualService: applyVirtualService,
  DestinationRule: applyDestinationRule,
  IstioGateway: applyConfig,
  Sidecar: applyConfig,
  EnvoyFilter: applyConfig,
  ProxyConfig: applyConfig,
  WorkloadGroup: applyConfig,
  WasmPlugin: applyConfig,
  TrafficExtension: applyConfig,
  RequestAuthentication: applyConfig,
  Telemetry: applyConfig,
  BackendTLSPolicy: applyConfig,
  Secret: applyCredential,
  ConfigMap: applyCredential,
  MeshConfig: applyMeshConfig,
}

export class Model {
  #snapshot: Snapshot
  readonly #reverse = new ReverseIndexes()
  readonly #candidates: Candidates = new Map()

  readonly #settings: MeshSettings

  constructor(settings: MeshSettings) {
    this.#settings = settings
    this.#snapshot = emptySnapshot(settings)
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** Applies a batch. The snapshot before stays valid and unchanged. */
  update(events: readonly ModelEvent[]): ModelChange {
    const draft = new Draft(this.#snapshot, {
      settings: this.#settings,
      reverse: this.#reverse,
      candidates: this.#candidates,
    })
    let changed = false
    for (const event of events) if (apply(draft, event)) changed = true
    if (changed) this.#snapshot = draft.finish()
    return { snapshot: this.#snapshot, touched: draft.touched, changed }
  }
}

function apply<K extends Kind>(
  draft: Draft,
  event: { readonly kind: K; readonly key: string; readonly value: Kinds[K] | undefined },
): boolean {
  const { kind, key, value } = event
  const previous: Kinds[K] | undefined = draft.objects[kind].get(key)
  if (isDeepStrictEqual(previous, value)) return false
  draft.put(kind, key, value)
  noteConfig(draft, event, previous, value)
  const applier: Appliers[K] = appliers[kind]
  applier(draft, key, previous, value)
  return true
}

/** The snapshot of a whole set of objects at once: for files and for questions. */
export function buildSnapshot(settings: MeshSettings, events: readonly ModelEvent[]): Snapshot {
  return new Model(settings).update(events).snapshot
}
