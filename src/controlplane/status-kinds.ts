/** The kinds whose status this control plane writes: what each should say, from the mesh and the object. */
import { type GroupVersionResource, type KubeObject, resources } from '../kube/index.ts'
import type { Service, Snapshot } from '../model/index.ts'
import {
  backendTlsStatus,
  gatewayStatus,
  listenerSetStatus,
  type OutsideFacts,
  policyCondition,
  type Reader,
  routeNamed,
  routeStatus,
  waypointAccepted,
  waypointAcceptedType,
  waypointBound,
  waypointBoundType,
} from '../translate/index.ts'
import type { MeshInformers } from './informers.ts'
import {
  ancestorPatch,
  conditionsPatch,
  gatewayPatch,
  listenerSetPatch,
  routePatch,
  type StatusPatch,
} from './status-objects.ts'

export interface StatusInput {
  /** The one that the reader reads. */
  readonly snapshot: Snapshot
  readonly reader: Reader
  readonly facts: OutsideFacts
  /** `<namespace>/<name>` */
  readonly key: string
  /** As the cache has it. */
  readonly object: KubeObject
  readonly nowMs: number
}

export interface StatusKind {
  readonly gvr: GroupVersionResource
  readonly informer: keyof MeshInformers['by']
  /** Undefined: as it is, it is right; or the model does not know this version of the object yet. */
  readonly patch: (input: StatusInput) => StatusPatch
}

/** Whether the model has the object as it is in the cache: the status would speak of another one. */
function isCurrent(known: { readonly generation: number }, object: KubeObject): boolean {
  return known.generation === (object.metadata.generation ?? 0)
}

function route(kind: string): StatusKind['patch'] {
  return ({ reader, key, object, nowMs }) => {
    const found = routeNamed(reader, `${kind}/${key}`)
    if (found === undefined || !isCurrent(found.object, object)) return undefined
    return routePatch(object, routeStatus(reader, found), nowMs)
  }
}

export const statusKinds: Readonly<Record<string, StatusKind>> = {
  Gateway: {
    gvr: resources.gateways,
    informer: 'gateways',
    patch: ({ reader, facts, key, object, nowMs }) => {
      const gateway = reader.gateway(key)
      if (gateway === undefined || !isCurrent(gateway, object)) return undefined
      const wanted = gatewayStatus(reader, gateway, facts)
      return wanted === undefined ? undefined : gatewayPatch(object, wanted, nowMs)
    },
  },
  ListenerSet: {
    gvr: resources.listenersets,
    informer: 'listenerSets',
    patch: ({ reader, facts, key, object, nowMs }) => {
      const [namespace = '', name = ''] = key.split('/')
      const set = reader.config('ListenerSet', namespace, name)
      if (set === undefined || !isCurrent(set, object)) return undefined
      const wanted = listenerSetStatus(reader, set, facts)
      return wanted === undefined ? undefined : listenerSetPatch(object, wanted, nowMs)
    },
  },
  HTTPRoute: { gvr: resources.httproutes, informer: 'httpRoutes', patch: route('HTTPRoute') },
  GRPCRoute: { gvr: resources.grpcroutes, informer: 'grpcRoutes', patch: route('GRPCRoute') },
  TLSRoute: { gvr: resources.tlsroutes, informer: 'tlsRoutes', patch: route('TLSRoute') },
  TCPRoute: { gvr: resources.tcproutes, informer: 'tcpRoutes', patch: route('TCPRoute') },
  BackendTLSPolicy: {
    gvr: resources.backendtlspolicies,
    informer: 'backendTlsPolicies',
    patch: ({ reader, key, object, nowMs }) => {
      const [namespace = '', name = ''] = key.split('/')
      const policy = reader.config('BackendTLSPolicy', namespace, name)
      if (policy === undefined || !isCurrent(policy, object)) return undefined
      return ancestorPatch(object, backendTlsStatus(reader, policy), nowMs)
    },
  },
  AuthorizationPolicy: {
    gvr: resources.authorizationpolicies,
    informer: 'authorizationPolicies',
    patch: ({ snapshot, reader, key, object, nowMs }) => {
      reader.depend(`config/AuthorizationPolicy/${key}`)
      reader.depend('mesh')
      const policy = snapshot.objects.AuthorizationPolicy.get(key)
      if (policy === undefined || !isCurrent(policy, object)) return undefined
      const found = [policyCondition(snapshot, policy), waypointAccepted(reader, policy)]
      const wanted = found.filter((condition) => condition !== undefined)
      return conditionsPatch(object, wanted, ['ZtunnelAccepted', waypointAcceptedType], nowMs)
    },
  },
  Service: {
    gvr: resources.services,
    informer: 'services',
    patch: ({ reader, key, object, nowMs }) => {
      const [namespace = '', name = ''] = key.split('/')
      const service = reader.kubernetesService(namespace, name)
      return service === undefined ? undefined : boundPatch(reader, service, object, nowMs)
    },
  },
  ServiceEntry: {
    gvr: resources.serviceentries,
    informer: 'serviceEntries',
    patch: ({ reader, key, object, nowMs }) => {
      const [namespace = '', name = ''] = key.split('/')
      const [service] = reader.serviceEntryHosts(namespace, name)
      if (service === undefined || !isCurrent(service, object)) return undefined
      return boundPatch(reader, service, object, nowMs)
    },
  },
}

function boundPatch(
  reader: Reader,
  service: Service,
  object: KubeObject,
  nowMs: number,
): StatusPatch {
  const wanted = waypointBound(reader, service)
  const conditions = wanted === undefined ? [] : [wanted]
  return conditionsPatch(object, conditions, [waypointBoundType], nowMs)
}

interface ServiceShape {
  readonly spec?: { readonly type?: string; readonly externalIPs?: readonly string[] }
  readonly status?: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[]
    }
  }
}

/** From the caches; that it was asked is noted, so that a change asks again. */
export function outsideFacts(reader: Reader, informers: MeshInformers): OutsideFacts {
  return {
    frontService(namespace, name) {
      reader.depend(`host/${name}.${namespace}.svc.${reader.settings.domain}`)
      // As Services are.
      const found = informers.by.services.get(`${namespace}/${name}`) as ServiceShape | undefined
      if (found === undefined) return undefined
      const ingress = found.status?.loadBalancer?.ingress ?? []
      return {
        isLoadBalancer: found.spec?.type === 'LoadBalancer',
        external: [
          ...ingress.flatMap(({ ip, hostname }) => ip ?? hostname ?? []),
          ...(found.spec?.externalIPs ?? []),
        ],
      }
    },
    hasConfigMap(namespace, name) {
      reader.depend(`configmap/${namespace}/${name}`)
      return informers.by.configMaps.get(`${namespace}/${name}`) !== undefined
    },
  }
}
