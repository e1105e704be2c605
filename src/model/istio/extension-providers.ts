/** Extension providers of MeshConfig: what Telemetry and AuthorizationPolicy name. Raw. */

/** A name and exactly one of the others. */
export interface ExtensionProvider {
  readonly name?: string
  readonly envoyExtAuthzHttp?: ExtAuthzHttpProvider
  readonly envoyExtAuthzGrpc?: ExtAuthzProvider
  readonly zipkin?: ZipkinProvider
  readonly lightstep?: TracingService & { readonly accessToken?: string }
  readonly datadog?: TracingService
  readonly skywalking?: TracingService & { readonly accessToken?: string }
  readonly stackdriver?: StackdriverProvider
  readonly opencensus?: unknown
  readonly opentelemetry?: OpenTelemetryProvider
  readonly prometheus?: object
  readonly envoyFileAccessLog?: FileAccessLogProvider
  readonly envoyHttpAls?: HttpAccessLogProvider
  readonly envoyTcpAls?: AccessLogService
  readonly envoyOtelAls?: OtelAccessLogProvider
  readonly sds?: ProviderService & { readonly name?: string }
}

/** Where a provider answers: `[namespace/]host` of a service, and its port. */
export interface ProviderService {
  readonly service?: string
  readonly port?: number
}

export interface TracingService extends ProviderService {
  readonly maxTagLength?: number
}

export interface ExtAuthzProvider extends ProviderService {
  readonly timeout?: string
  readonly failOpen?: boolean
  readonly clearRouteCache?: boolean
  readonly statusOnError?: string
  readonly includeRequestBodyInCheck?: {
    readonly maxRequestBytes?: number
    readonly allowPartialMessage?: boolean
    readonly packAsBytes?: boolean
  }
}

export interface ExtAuthzHttpProvider extends ExtAuthzProvider {
  readonly pathPrefix?: string
  /** Deprecated name of the next. */
  readonly includeHeadersInCheck?: readonly string[]
  readonly includeRequestHeadersInCheck?: readonly string[]
  readonly includeAdditionalHeadersInCheck?: Readonly<Record<string, string>>
  readonly headersToUpstreamOnAllow?: readonly string[]
  readonly headersToDownstreamOnDeny?: readonly string[]
  readonly headersToDownstreamOnAllow?: readonly string[]
}

export interface ZipkinProvider extends TracingService {
  readonly enable64bitTraceId?: boolean
  readonly path?: string
  readonly traceContextOption?: 'USE_B3' | 'USE_B3_WITH_W3C_PROPAGATION'
  readonly timeout?: string
  readonly headers?: readonly ProviderHeader[]
}

export interface StackdriverProvider {
  readonly maxTagLength?: number
  readonly debug?: boolean
  readonly maxNumberOfAttributes?: number
  readonly maxNumberOfAnnotations?: number
  readonly maxNumberOfMessageEvents?: number
  readonly logging?: { readonly labels?: Readonly<Record<string, string>> }
}

export interface ProviderHeader {
  readonly name?: string
  readonly value?: string
  readonly envName?: string
}

export interface ProviderHttp {
  readonly path?: string
  readonly timeout?: string
  readonly headers?: readonly ProviderHeader[]
}

export interface OpenTelemetryProvider extends TracingService {
  readonly http?: ProviderHttp
  readonly grpc?: {
    readonly timeout?: string
    readonly initialMetadata?: readonly ProviderHeader[]
  }
  readonly resourceDetectors?: { readonly environment?: object; readonly dynatrace?: object }
  readonly dynatraceSampler?: {
    readonly tenant?: string
    readonly clusterId?: number
    readonly rootSpansPerMinute?: number
    readonly httpService?: ProviderService & { readonly http?: ProviderHttp }
  }
  readonly serviceAttributeEnrichment?: string
}

/** Text, or a JSON object of command operators. */
export interface LogFormat {
  readonly text?: string
  readonly labels?: unknown
}

export interface FileAccessLogProvider {
  readonly path?: string
  readonly logFormat?: LogFormat
  readonly omitEmptyValues?: boolean
}

export interface AccessLogService extends ProviderService {
  readonly logName?: string
  readonly filterStateObjectsToLog?: readonly string[]
}

export interface HttpAccessLogProvider extends AccessLogService {
  readonly additionalRequestHeadersToLog?: readonly string[]
  readonly additionalResponseHeadersToLog?: readonly string[]
  readonly additionalResponseTrailersToLog?: readonly string[]
}

export interface OtelAccessLogProvider extends ProviderService {
  readonly logName?: string
  readonly logFormat?: LogFormat
}
