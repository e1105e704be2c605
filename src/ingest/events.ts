/** One Kubernetes object → one event for the model. */
import { toError } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { Kind, Kinds, MeshSettings, ModelEvent } from '../model/index.ts'
import { gateway, gatewayClass, httpRoute, referenceGrant } from './gateways.ts'
import { objectKey } from './metadata.ts'
import { authorizationPolicy, peerAuthentication } from './policies.ts'
import { meshEndpointSlice, meshNamespace, meshService, meshServiceEntry } from './services.ts'
import { meshNode, workloadOfPod, workloadOfWorkloadEntry } from './workloads.ts'

type Readers = {
  readonly [K in Kind]: {
    readonly group: string
    readonly clusterScoped?: true
    /** Undefined: the object is of no concern to the mesh (now). */
    readonly read: (object: KubeObject, settings: MeshSettings) => Kinds[K] | undefined
  }
}

/** The kinds that the mesh reads; any served version of them, since the fields read are the same. */
export const readers: Readers = {
  Pod: { group: '', read: workloadOfPod },
  Service: { group: '', read: meshService },
  Namespace: { group: '', clusterScoped: true, read: meshNamespace },
  Node: { group: '', clusterScoped: true, read: meshNode },
  EndpointSlice: { group: 'discovery.k8s.io', read: meshEndpointSlice },
  WorkloadEntry: { group: 'networking.istio.io', read: workloadOfWorkloadEntry },
  ServiceEntry: { group: 'networking.istio.io', read: meshServiceEntry },
  AuthorizationPolicy: { group: 'security.istio.io', read: authorizationPolicy },
  PeerAuthentication: { group: 'security.istio.io', read: peerAuthentication },
  GatewayClass: { group: 'gateway.networking.k8s.io', clusterScoped: true, read: gatewayClass },
  Gateway: { group: 'gateway.networking.k8s.io', read: gateway },
  HTTPRoute: { group: 'gateway.networking.k8s.io', read: httpRoute },
  ReferenceGrant: { group: 'gateway.networking.k8s.io', read: referenceGrant },
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(readers, kind)
}

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
  const { kind, apiVersion, metadata } = object
  if (!isKind(kind)) return undefined
  const reader = readers[kind]
  const slash = apiVersion.indexOf('/')
  if ((slash < 0 ? '' : apiVersion.slice(0, slash)) !== reader.group) return undefined
  const key = reader.clusterScoped === true ? metadata.name : objectKey(metadata)
  try {
    const value = options.deleted === true ? undefined : reader.read(object, settings)
    // TypeScript can't see that the reader's kind is the event's.
    return { kind, key, value } as ModelEvent
  } catch (error) {
    options.onUnreadable?.(object, toError(error).message)
    return undefined
  }
}

/** The events of a whole set of objects, such as a file's. */
export function modelEvents(
  objects: Iterable<KubeObject>,
  settings: MeshSettings,
  onUnreadable?: OnUnreadable,
): ModelEvent[] {
  const events: ModelEvent[] = []
  for (const object of objects) {
    const event = modelEvent(object, settings, onUnreadable === undefined ? {} : { onUnreadable })
    if (event !== undefined) events.push(event)
  }
  return events
}
