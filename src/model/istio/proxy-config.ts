/** The ProxyConfig block: `defaultConfig` of MeshConfig and the annotation `proxy.istio.io/config`. */
import type { SelectorSpec } from './gateway-api.ts'
import type { TelemetryTag } from './telemetry.ts'

export interface ProxyConfig {
  readonly configPath?: string
  readonly binaryPath?: string
  readonly serviceCluster?: string
  readonly drainDuration?: string
  readonly terminationDrainDuration?: string
  readonly discoveryAddress?: string
  readonly statsdUdpAddress?: string
  readonly proxyAdminPort?: number
  readonly statusPort?: number
  readonly controlPlaneAuthPolicy?: 'NONE' | 'MUTUAL_TLS'
  readonly customConfigFile?: string
  readonly statNameLength?: number
  readonly concurrency?: number
  readonly proxyBootstrapTemplatePath?: string
  readonly interceptionMode?: 'REDIRECT' | 'TPROXY' | 'NONE'
  readonly tracing?: ProxyTracing
  readonly envoyAccessLogService?: { readonly address?: string }
  readonly envoyMetricsService?: { readonly address?: string }
  readonly proxyMetadata?: Readonly<Record<string, string>>
  readonly runtimeValues?: Readonly<Record<string, string>>
  readonly extraStatTags?: readonly string[]
  readonly gatewayTopology?: GatewayTopology
  readonly proxyStatsMatcher?: {
    readonly inclusionPrefixes?: readonly string[]
    readonly inclusionSuffixes?: readonly string[]
    readonly inclusionRegexps?: readonly string[]
  }
  readonly readinessProbe?: unknown
  readonly holdApplicationUntilProxyStarts?: boolean
  readonly caCertificatesPem?: readonly string[]
  readonly image?: { readonly imageType?: string }
  readonly privateKeyProvider?: unknown
  readonly proxyHeaders?: ProxyHeaders
  readonly connectionSettings?: unknown
  readonly fileFlushInterval?: string
  readonly fileFlushMinSizeKb?: number
  readonly statsCompression?: boolean
}

/** The older way to set up tracing, still valid. */
export interface ProxyTracing {
  readonly zipkin?: { readonly address?: string }
  readonly lightstep?: { readonly address?: string; readonly accessToken?: string }
  readonly datadog?: { readonly address?: string }
  readonly stackdriver?: unknown
  readonly openCensusAgent?: unknown
  readonly customTags?: Readonly<Record<string, TelemetryTag>>
  readonly maxPathTagLength?: number
  /** Per cent. */
  readonly sampling?: number
  readonly enableIstioTags?: boolean
}

export interface GatewayTopology {
  readonly numTrustedProxies?: number
  readonly forwardClientCertDetails?:
    | 'UNDEFINED'
    | 'SANITIZE'
    | 'FORWARD_ONLY'
    | 'APPEND_FORWARD'
    | 'SANITIZE_SET'
    | 'ALWAYS_FORWARD_ONLY'
  readonly proxyProtocol?: unknown
}

export interface HeaderSwitch {
  readonly disabled?: boolean
}

export interface ProxyHeaders {
  readonly forwardedClientCert?: GatewayTopology['forwardClientCertDetails']
  readonly setCurrentClientCertDetails?: {
    readonly subject?: boolean
    readonly cert?: boolean
    readonly chain?: boolean
    readonly dns?: boolean
    readonly uri?: boolean
  }
  readonly requestId?: HeaderSwitch
  readonly server?: HeaderSwitch & { readonly value?: string }
  readonly attemptCount?: HeaderSwitch
  readonly envoyDebugHeaders?: HeaderSwitch
  readonly metadataExchangeHeaders?: { readonly mode?: 'UNDEFINED' | 'IN_MESH' }
  readonly perserveHttp1HeaderCase?: boolean
  readonly preserveHttp1HeaderCase?: boolean
  readonly xForwardedHost?: { readonly enabled?: boolean }
  readonly xForwardedPort?: { readonly enabled?: boolean }
}

/** Which services are shared between clusters. */
export interface ServiceScopeConfig {
  readonly namespaceSelector?: SelectorSpec
  readonly servicesSelector?: SelectorSpec
  readonly scope?: 'LOCAL' | 'GLOBAL'
}
