/** DestinationRule (networking.istio.io), raw. Its blocks are also those of MeshConfig and Sidecar. */
import type { Labels } from '../types.ts'
import type { LabelSelector } from './common.ts'

export interface DestinationRuleSpec {
  readonly host?: string
  readonly trafficPolicy?: TrafficPolicy
  readonly subsets?: readonly Subset[]
  readonly exportTo?: readonly string[]
  readonly workloadSelector?: LabelSelector
}

export interface Subset {
  readonly name?: string
  readonly labels?: Labels
  readonly trafficPolicy?: TrafficPolicy
}

/** A block that is set replaces the same block of the level below as a whole. */
export interface PortTrafficPolicy {
  readonly port?: { readonly number?: number }
  readonly loadBalancer?: LoadBalancerSettings
  readonly connectionPool?: ConnectionPoolSettings
  readonly outlierDetection?: OutlierDetection
  readonly tls?: ClientTlsSettings
}

export interface TrafficPolicy extends Omit<PortTrafficPolicy, 'port'> {
  readonly portLevelSettings?: readonly PortTrafficPolicy[]
  readonly tunnel?: TunnelSettings
  readonly proxyProtocol?: { readonly version?: 'V1' | 'V2' }
  readonly retryBudget?: RetryBudget
}

export type SimpleLoadBalancer =
  | 'UNSPECIFIED'
  | 'LEAST_CONN'
  | 'LEAST_REQUEST'
  | 'RANDOM'
  | 'PASSTHROUGH'
  | 'ROUND_ROBIN'

export interface LoadBalancerSettings {
  readonly simple?: SimpleLoadBalancer
  readonly consistentHash?: ConsistentHash
  readonly localityLbSetting?: LocalityLoadBalancer
  readonly zoneAwareLbSetting?: ZoneAwareLoadBalancer
  readonly warmup?: Warmup
  /** Deprecated. */
  readonly warmupDurationSecs?: string
}

export interface ConsistentHash {
  readonly httpHeaderName?: string
  readonly httpCookie?: {
    readonly name?: string
    readonly path?: string
    readonly ttl?: string
    readonly attributes?: readonly { readonly name?: string; readonly value?: string }[]
  }
  readonly useSourceIp?: boolean
  readonly httpQueryParameterName?: string
  readonly ringHash?: { readonly minimumRingSize?: number }
  readonly maglev?: { readonly tableSize?: number }
  /** Deprecated. */
  readonly minimumRingSize?: number
}

export interface LocalityLoadBalancer {
  readonly distribute?: readonly {
    readonly from?: string
    readonly to?: Readonly<Record<string, number>>
  }[]
  readonly failover?: readonly LocalityFailover[]
  readonly failoverPriority?: readonly string[]
  readonly enabled?: boolean
}

export interface LocalityFailover {
  readonly from?: string
  readonly to?: string
}

export interface ZoneAwareLoadBalancer {
  readonly enabled?: boolean
  readonly failover?: readonly LocalityFailover[]
  readonly failoverPriority?: readonly string[]
  readonly minClusterSize?: number
}

export interface Warmup {
  readonly duration?: string
  readonly minimumPercent?: number
  readonly aggression?: number
}

export interface TcpKeepalive {
  readonly probes?: number
  readonly time?: string
  readonly interval?: string
}

export type HttpUpgradePolicy = 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE'

export interface ConnectionPoolSettings {
  readonly tcp?: {
    readonly maxConnections?: number
    readonly connectTimeout?: string
    readonly tcpKeepalive?: TcpKeepalive
    readonly maxConnectionDuration?: string
    readonly idleTimeout?: string
  }
  readonly http?: {
    readonly http1MaxPendingRequests?: number
    readonly http2MaxRequests?: number
    readonly maxRequestsPerConnection?: number
    readonly maxRetries?: number
    readonly idleTimeout?: string
    readonly h2UpgradePolicy?: HttpUpgradePolicy
    readonly useClientProtocol?: boolean
    readonly maxConcurrentStreams?: number
    readonly http2KeepAlive?: { readonly interval?: string; readonly timeout?: string }
  }
}

export interface OutlierDetection {
  /** Deprecated. */
  readonly consecutiveErrors?: number
  readonly splitExternalLocalOriginErrors?: boolean
  readonly consecutiveLocalOriginFailures?: number
  readonly consecutiveGatewayErrors?: number
  readonly consecutive5xxErrors?: number
  readonly interval?: string
  readonly baseEjectionTime?: string
  readonly maxEjectionPercent?: number
  readonly minHealthPercent?: number
  readonly outlierDetectionHttpErrorCodes?: readonly number[]
}

export interface ClientTlsSettings {
  readonly mode?: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL'
  readonly clientCertificate?: string
  readonly privateKey?: string
  readonly caCertificates?: string
  readonly credentialName?: string
  readonly subjectAltNames?: readonly string[]
  readonly sni?: string
  readonly insecureSkipVerify?: boolean
  readonly caCrl?: string
}

export interface TunnelSettings {
  readonly protocol?: string
  readonly targetHost?: string
  readonly targetPort?: number
}

export interface RetryBudget {
  readonly percent?: number
  readonly minRetryConcurrency?: number
  readonly budgetInterval?: string
}
