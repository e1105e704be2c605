/** VirtualService (networking.istio.io), raw. */
import type { Labels } from '../types.ts'
import type { Destination, Percent, StringMatch } from './common.ts'

export interface VirtualServiceSpec {
  readonly hosts?: readonly string[]
  readonly gateways?: readonly string[]
  readonly exportTo?: readonly string[]
  readonly http?: readonly VirtualHttpRoute[]
  readonly tls?: readonly VirtualTlsRoute[]
  readonly tcp?: readonly VirtualTcpRoute[]
}

export interface VirtualHttpRoute {
  readonly name?: string
  readonly match?: readonly VirtualHttpMatch[]
  readonly route?: readonly VirtualHttpDestination[]
  readonly redirect?: VirtualHttpRedirect
  readonly directResponse?: VirtualDirectResponse
  readonly delegate?: { readonly name?: string; readonly namespace?: string }
  readonly rewrite?: VirtualHttpRewrite
  readonly timeout?: string
  readonly retries?: HttpRetryPolicy
  readonly fault?: VirtualHttpFault
  readonly mirror?: Destination
  readonly mirrors?: readonly VirtualMirror[]
  /** Deprecated twice: whole per cent. */
  readonly mirror_percent?: number
  readonly mirrorPercent?: number
  readonly mirrorPercentage?: Percent
  readonly corsPolicy?: CorsPolicy
  readonly headers?: VirtualHeaders
}

export interface VirtualHttpMatch {
  readonly name?: string
  readonly uri?: StringMatch
  readonly ignoreUriCase?: boolean
  readonly scheme?: StringMatch
  readonly method?: StringMatch
  readonly authority?: StringMatch
  readonly headers?: Readonly<Record<string, StringMatch>>
  readonly withoutHeaders?: Readonly<Record<string, StringMatch>>
  readonly queryParams?: Readonly<Record<string, StringMatch>>
  readonly port?: number
  readonly sourceLabels?: Labels
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
  readonly statPrefix?: string
}

export interface VirtualHttpDestination {
  readonly destination?: Destination
  readonly weight?: number
  readonly headers?: VirtualHeaders
}

export interface HeaderOperations {
  readonly set?: Readonly<Record<string, string>>
  readonly add?: Readonly<Record<string, string>>
  readonly remove?: readonly string[]
}

export interface VirtualHeaders {
  readonly request?: HeaderOperations
  readonly response?: HeaderOperations
}

export interface VirtualHttpRedirect {
  readonly uri?: string
  readonly prefixRewrite?: string
  readonly authority?: string
  readonly port?: number
  readonly derivePort?: 'FROM_PROTOCOL_DEFAULT' | 'FROM_REQUEST_PORT'
  readonly scheme?: string
  readonly redirectCode?: number
}

export interface VirtualDirectResponse {
  readonly status?: number
  /** `bytes` is base64. */
  readonly body?: { readonly string?: string; readonly bytes?: string }
}

export interface VirtualHttpRewrite {
  readonly uri?: string
  readonly authority?: string
  readonly uriRegexRewrite?: { readonly match?: string; readonly rewrite?: string }
}

/** Also of MeshConfig: the mesh's default. */
export interface HttpRetryPolicy {
  readonly attempts?: number
  readonly perTryTimeout?: string
  readonly retryOn?: string
  readonly retryRemoteLocalities?: boolean
  readonly retryIgnorePreviousHosts?: boolean
  readonly backoff?: string
}

export interface VirtualHttpFault {
  readonly delay?: {
    readonly fixedDelay?: string
    readonly exponentialDelay?: string
    readonly percentage?: Percent
    /** Deprecated: whole per cent. */
    readonly percent?: number
  }
  readonly abort?: {
    readonly httpStatus?: number
    readonly grpcStatus?: string
    readonly http2Error?: string
    readonly percentage?: Percent
  }
}

export interface VirtualMirror {
  readonly destination?: Destination
  readonly percentage?: Percent
}

export interface CorsPolicy {
  /** Deprecated: exact origins. */
  readonly allowOrigin?: readonly string[]
  readonly allowOrigins?: readonly StringMatch[]
  readonly allowMethods?: readonly string[]
  readonly allowHeaders?: readonly string[]
  readonly exposeHeaders?: readonly string[]
  readonly maxAge?: string
  readonly allowCredentials?: boolean
  readonly unmatchedPreflights?: 'UNSPECIFIED' | 'FORWARD' | 'IGNORE'
}

export interface VirtualTlsRoute {
  readonly match?: readonly VirtualTlsMatch[]
  readonly route?: readonly VirtualStreamDestination[]
}

export interface VirtualTlsMatch {
  readonly sniHosts?: readonly string[]
  readonly destinationSubnets?: readonly string[]
  readonly port?: number
  readonly sourceLabels?: Labels
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

export interface VirtualTcpRoute {
  readonly match?: readonly VirtualTcpMatch[]
  readonly route?: readonly VirtualStreamDestination[]
}

export interface VirtualTcpMatch {
  readonly destinationSubnets?: readonly string[]
  readonly port?: number
  /** Accepted and without effect, as in Istio. */
  readonly sourceSubnet?: string
  readonly sourceLabels?: Labels
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

export interface VirtualStreamDestination {
  readonly destination?: Destination
  readonly weight?: number
}
