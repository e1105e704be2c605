/** EnvoyFilter (networking.istio.io), raw. */
import type { TargetReference, WorkloadSelector } from './common.ts'

export interface EnvoyFilterSpec {
  readonly workloadSelector?: WorkloadSelector
  readonly targetRefs?: readonly TargetReference[]
  readonly configPatches?: readonly EnvoyPatch[]
  readonly priority?: number
}

export type EnvoyApplyTo =
  | 'INVALID'
  | 'LISTENER'
  | 'FILTER_CHAIN'
  | 'NETWORK_FILTER'
  | 'HTTP_FILTER'
  | 'ROUTE_CONFIGURATION'
  | 'VIRTUAL_HOST'
  | 'HTTP_ROUTE'
  | 'CLUSTER'
  | 'EXTENSION_CONFIG'
  | 'BOOTSTRAP'
  | 'LISTENER_FILTER'

export type EnvoyContext = 'ANY' | 'SIDECAR_INBOUND' | 'SIDECAR_OUTBOUND' | 'GATEWAY' | 'WAYPOINT'

export type EnvoyOperation =
  | 'INVALID'
  | 'MERGE'
  | 'ADD'
  | 'REMOVE'
  | 'INSERT_BEFORE'
  | 'INSERT_AFTER'
  | 'INSERT_FIRST'
  | 'REPLACE'
  | 'MERGE_AND_REPLACE_LIST'

export interface EnvoyPatch {
  readonly applyTo?: EnvoyApplyTo
  readonly match?: EnvoyMatch
  readonly patch?: {
    readonly operation?: EnvoyOperation
    /** JSON of the Envoy message that `applyTo` names. */
    readonly value?: unknown
    readonly filterClass?: 'UNSPECIFIED' | 'AUTHN' | 'AUTHZ' | 'STATS'
  }
}

export interface EnvoyMatch {
  readonly context?: EnvoyContext
  readonly proxy?: {
    readonly proxyVersion?: string
    readonly metadata?: Readonly<Record<string, string>>
  }
  readonly listener?: EnvoyListenerMatch
  readonly routeConfiguration?: EnvoyRouteMatch
  readonly cluster?: {
    readonly portNumber?: number
    readonly service?: string
    readonly subset?: string
    readonly name?: string
  }
  readonly waypoint?: {
    readonly portNumber?: number
    readonly filter?: EnvoyFilterMatch
    readonly route?: { readonly name?: string }
  }
}

export interface EnvoyFilterMatch {
  readonly name?: string
  readonly subFilter?: { readonly name?: string }
}

export interface EnvoyListenerMatch {
  readonly portNumber?: number
  readonly portName?: string
  readonly name?: string
  readonly listenerFilter?: string
  readonly filterChain?: {
    readonly name?: string
    readonly sni?: string
    readonly transportProtocol?: string
    readonly applicationProtocols?: string
    readonly destinationPort?: number
    readonly filter?: EnvoyFilterMatch
  }
}

export interface EnvoyRouteMatch {
  readonly portNumber?: number
  readonly portName?: string
  readonly gateway?: string
  readonly name?: string
  readonly vhost?: {
    readonly name?: string
    readonly domainName?: string
    readonly route?: {
      readonly name?: string
      readonly action?: 'ANY' | 'ROUTE' | 'REDIRECT' | 'DIRECT_RESPONSE'
    }
  }
}
