/**
 * The parts of Kubernetes, Istio and Gateway API objects that the mesh reads, all optional: an
 * object may come from a file nobody validated, and one bad object must never break another.
 */

import type { SelectorSpec } from '../model/index.ts'

export interface PodShape {
  spec?: {
    serviceAccountName?: string
    nodeName?: string
    hostNetwork?: boolean
    containers?: ContainerShape[]
    initContainers?: ContainerShape[]
  }
  status?: {
    phase?: string
    podIP?: string
    podIPs?: { ip?: string }[]
    conditions?: { type?: string; status?: string }[]
  }
}

export interface ContainerShape {
  restartPolicy?: string
  ports?: { name?: string; containerPort?: number; protocol?: string }[]
}

export interface ServiceShape {
  spec?: {
    type?: string
    externalName?: string
    clusterIP?: string
    clusterIPs?: string[]
    ipFamilies?: string[]
    ipFamilyPolicy?: string
    selector?: Record<string, string>
    publishNotReadyAddresses?: boolean
    internalTrafficPolicy?: string
    trafficDistribution?: string
    ports?: {
      name?: string
      port?: number
      targetPort?: number | string
      protocol?: string
      appProtocol?: string
    }[]
  }
}

export interface EndpointSliceShape {
  addressType?: string
  ports?: { name?: string; port?: number; protocol?: string }[]
  endpoints?: {
    addresses?: string[]
    conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean }
    nodeName?: string
    zone?: string
    targetRef?: { kind?: string; name?: string }
  }[]
}

export interface ServiceEntryShape {
  spec?: {
    hosts?: string[]
    addresses?: string[]
    ports?: { name?: string; number?: number; targetPort?: number; protocol?: string }[]
    resolution?: string
    location?: string
    exportTo?: string[]
    subjectAltNames?: string[]
    workloadSelector?: { labels?: Record<string, string> }
    endpoints?: EntryShape[]
  }
  status?: { addresses?: { value?: string; host?: string }[] }
}

/** A WorkloadEntry's spec, which is also the shape of a ServiceEntry's inline endpoint. */
export interface EntryShape {
  address?: string
  labels?: Record<string, string>
  serviceAccount?: string
  network?: string
  locality?: string
  weight?: number
  ports?: Record<string, number>
}

export interface AuthorizationPolicyShape {
  spec?: {
    selector?: { matchLabels?: Record<string, string> }
    targetRef?: TargetRefShape
    targetRefs?: TargetRefShape[]
    action?: string
    provider?: { name?: string }
    rules?: unknown[]
  }
}

export interface TargetRefShape {
  group?: string
  kind?: string
  name?: string
  namespace?: string
}

export interface PeerAuthenticationShape {
  spec?: {
    selector?: { matchLabels?: Record<string, string> }
    mtls?: { mode?: string }
    portLevelMtls?: Record<string, { mode?: string }>
  }
}

export interface GatewayShape {
  spec?: {
    gatewayClassName?: string
    listeners?: {
      name?: string
      hostname?: string
      port?: number
      protocol?: string
      allowedRoutes?: {
        namespaces?: { from?: string; selector?: SelectorSpec }
        kinds?: { kind?: string }[]
      }
    }[]
  }
  status?: { addresses?: { type?: string; value?: string }[] }
}

export interface HttpRouteShape {
  spec?: {
    parentRefs?: ParentRefShape[]
    hostnames?: string[]
    rules?: HttpRouteRuleShape[]
  }
}

export interface ParentRefShape {
  group?: string
  kind?: string
  namespace?: string
  name?: string
  sectionName?: string
  port?: number
}

export interface HeaderMatchShape {
  type?: string
  name?: string
  value?: string
}

export interface HttpRouteRuleShape {
  name?: string
  matches?: {
    path?: { type?: string; value?: string }
    headers?: HeaderMatchShape[]
    queryParams?: HeaderMatchShape[]
    method?: string
  }[]
  filters?: { type?: string }[]
  backendRefs?: {
    group?: string
    kind?: string
    namespace?: string
    name?: string
    port?: number
    weight?: number
  }[]
  timeouts?: { request?: string; backendRequest?: string }
}

export interface ReferenceGrantShape {
  spec?: {
    from?: { group?: string; kind?: string; namespace?: string }[]
    to?: { group?: string; kind?: string; name?: string }[]
  }
}
