/**
 * MeshConfig: the YAML under key `mesh` of the ConfigMap `istio[-<revision>]`. `MeshConfigSpec` is what
 * people write; `MeshConfig` is the same with the defaults filled in, which is what everyone reads.
 */
import type {
  HttpUpgradePolicy,
  LocalityLoadBalancer,
  TcpKeepalive,
  TrafficPolicy,
  ZoneAwareLoadBalancer,
} from './destination-rule.ts'
import type { ExtensionProvider } from './extension-providers.ts'
import type { SelectorSpec } from './gateway-api.ts'
import type { ProxyConfig, ServiceScopeConfig } from './proxy-config.ts'
import type { HttpRetryPolicy } from './virtual-service.ts'

export interface MeshConfigSpec {
  readonly proxyListenPort?: number
  readonly proxyInboundListenPort?: number
  readonly proxyHttpPort?: number
  readonly connectTimeout?: string
  readonly protocolDetectionTimeout?: string
  readonly tcpKeepalive?: TcpKeepalive
  readonly ingressClass?: string
  readonly ingressService?: string
  readonly ingressSelector?: string
  readonly ingressControllerMode?: 'UNSPECIFIED' | 'OFF' | 'DEFAULT' | 'STRICT'
  readonly enableTracing?: boolean
  readonly accessLogFile?: string
  readonly accessLogFormat?: string
  readonly accessLogEncoding?: 'TEXT' | 'JSON'
  readonly enableEnvoyAccessLogService?: boolean
  readonly disableEnvoyListenerLog?: boolean
  readonly defaultConfig?: ProxyConfig
  readonly outboundTrafficPolicy?: {
    readonly mode?: 'REGISTRY_ONLY' | 'ALLOW_ANY' | 'ALLOW_ANY_DYNAMIC_DNS'
  }
  readonly inboundTrafficPolicy?: { readonly mode?: 'PASSTHROUGH' | 'LOCALHOST' }
  readonly configSources?: readonly unknown[]
  readonly ca?: unknown
  readonly enableAutoMtls?: boolean
  readonly trustDomain?: string
  readonly trustDomainAliases?: readonly string[]
  readonly caCertificates?: readonly MeshCaCertificate[]
  readonly defaultServiceExportTo?: readonly string[]
  readonly defaultVirtualServiceExportTo?: readonly string[]
  readonly defaultDestinationRuleExportTo?: readonly string[]
  readonly serviceEntryVisibility?: unknown
  readonly rootNamespace?: string
  readonly localityLbSetting?: LocalityLoadBalancer
  readonly zoneAwareLbSetting?: ZoneAwareLoadBalancer
  readonly dnsRefreshRate?: string
  readonly h2UpgradePolicy?: HttpUpgradePolicy
  readonly inboundClusterStatName?: string
  readonly outboundClusterStatName?: string
  readonly enablePrometheusMerge?: boolean
  readonly verifyCertificateAtClient?: boolean
  readonly extensionProviders?: readonly ExtensionProvider[]
  readonly defaultProviders?: DefaultProviders
  readonly discoverySelectors?: readonly SelectorSpec[]
  readonly pathNormalization?: {
    readonly normalization?:
      | 'DEFAULT'
      | 'NONE'
      | 'BASE'
      | 'MERGE_SLASHES'
      | 'DECODE_AND_MERGE_SLASHES'
  }
  readonly defaultHttpRetryPolicy?: HttpRetryPolicy
  readonly defaultInboundHttpRetryPolicy?: HttpRetryPolicy
  readonly defaultTrafficPolicy?: TrafficPolicy
  readonly meshMTLS?: MeshTls
  readonly tlsDefaults?: MeshTls
  readonly serviceSettings?: readonly {
    readonly settings?: { readonly clusterLocal?: boolean }
    readonly hosts?: readonly string[]
  }[]
  readonly serviceScopeConfigs?: readonly ServiceScopeConfig[]
  readonly hboneIdleTimeout?: string
}

export interface MeshCaCertificate {
  readonly pem?: string
  readonly spiffeBundleUrl?: string
  readonly certSigners?: readonly string[]
  readonly trustDomains?: readonly string[]
}

export interface MeshTls {
  readonly minProtocolVersion?: 'TLS_AUTO' | 'TLSV1_2' | 'TLSV1_3'
  readonly cipherSuites?: readonly string[]
  readonly ecdhCurves?: readonly string[]
}

/** Names of extension providers, used where no Telemetry says otherwise. */
export interface DefaultProviders {
  readonly tracing?: readonly string[]
  readonly metrics?: readonly string[]
  readonly accessLogging?: readonly string[]
}

/** Fields that always have a value. */
type Defaulted =
  | 'proxyListenPort'
  | 'proxyInboundListenPort'
  | 'connectTimeout'
  | 'protocolDetectionTimeout'
  | 'ingressClass'
  | 'ingressService'
  | 'ingressSelector'
  | 'ingressControllerMode'
  | 'enableTracing'
  | 'accessLogFile'
  | 'accessLogFormat'
  | 'accessLogEncoding'
  | 'outboundTrafficPolicy'
  | 'inboundTrafficPolicy'
  | 'enableAutoMtls'
  | 'trustDomain'
  | 'trustDomainAliases'
  | 'defaultServiceExportTo'
  | 'defaultVirtualServiceExportTo'
  | 'defaultDestinationRuleExportTo'
  | 'rootNamespace'
  | 'localityLbSetting'
  | 'dnsRefreshRate'
  | 'h2UpgradePolicy'
  | 'enablePrometheusMerge'
  | 'verifyCertificateAtClient'
  | 'extensionProviders'
  | 'defaultProviders'
  | 'discoverySelectors'
  | 'pathNormalization'
  | 'serviceSettings'
  | 'serviceScopeConfigs'
  | 'hboneIdleTimeout'
  | 'defaultConfig'

export type MeshConfig = Omit<MeshConfigSpec, Defaulted> & Required<Pick<MeshConfigSpec, Defaulted>>
