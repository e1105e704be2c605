/** Where spans go: a provider of MeshConfig as Envoy's tracer. */
import type {
  ExtensionProvider,
  OpenTelemetryProvider,
  ProviderHeader,
  ProviderHttp,
  TracingService,
  ZipkinProvider,
} from '../../../model/index.ts'
import {
  core,
  datadog,
  dynatraceDetector,
  dynatraceSampler,
  environmentDetector,
  httpService,
  httpTracer,
  openTelemetry,
  skywalking,
  zipkin,
} from '../../../proto/envoy.ts'
import { type Any, create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { typedExtension } from '../policies/filters.ts'
import {
  grpcTo,
  headerValue,
  type ProviderCluster,
  providerCluster,
  uriOf,
} from '../policies/providers.ts'
import { durationMs, pack } from '../values.ts'

export interface Tracer {
  readonly config: httpTracer.Tracing_Http
  readonly clusters: readonly ProviderCluster[]
  readonly maxPathTagLength: number | undefined
  /** The provider samples by itself: it must get every span. */
  readonly ownSampler: boolean
  /** Some tracers always make a span for the request they send on. */
  readonly upstreamSpan: boolean
}

interface Context {
  readonly reader: Reader
  /** Of the proxy, as its spans name it. */
  readonly serviceName: string
}

/** Envoy wants one where users may leave it out. */
const defaultTimeoutMs = 5000

/** The tracer, or a sentence about why there is none. */
export function tracerOf(context: Context, provider: ExtensionProvider): Tracer | string {
  const { name = '' } = provider
  const built = build(context, provider)
  return typeof built === 'string' ? `extension provider '${name}': ${built}` : built
}

function build(context: Context, provider: ExtensionProvider): Tracer | string {
  if (provider.opentelemetry !== undefined) return otlp(context, provider.opentelemetry)
  if (provider.zipkin !== undefined) return zipkinTracer(context, provider.zipkin)
  if (provider.datadog !== undefined) {
    const { serviceName } = context
    return withCluster(context, provider.datadog, (cluster) =>
      tracing(
        'envoy.tracers.datadog',
        pack(
          datadog.DatadogConfigSchema,
          create(datadog.DatadogConfigSchema, {
            collectorCluster: cluster.name,
            collectorHostname: cluster.hostname,
            serviceName,
          }),
        ),
      ),
    )
  }
  if (provider.skywalking !== undefined) return skywalkingTracer(context, provider.skywalking)
  if (provider.lightstep !== undefined || provider.opencensus !== undefined) {
    return 'Envoy no longer has this tracer; use opentelemetry'
  }
  if (provider.stackdriver !== undefined) {
    return 'stackdriver needs an extension that Envoy does not have; use opentelemetry'
  }
  return 'it does no tracing'
}

function tracing(name: string, typedConfig: Any): httpTracer.Tracing_Http {
  return create(httpTracer.Tracing_HttpSchema, {
    name,
    configType: { case: 'typedConfig', value: typedConfig },
  })
}

function withCluster(
  { reader }: Context,
  provider: TracingService,
  config: (cluster: ProviderCluster) => httpTracer.Tracing_Http | string,
): Tracer | string {
  const cluster = providerCluster(reader, provider)
  if (typeof cluster === 'string') return cluster
  const built = config(cluster)
  if (typeof built === 'string') return built
  return {
    config: built,
    clusters: [cluster],
    maxPathTagLength: provider.maxTagLength || undefined,
    ownSampler: false,
    upstreamSpan: false,
  }
}

function zipkinTracer(context: Context, provider: ZipkinProvider): Tracer | string {
  const { path = '', timeout, headers, enable64bitTraceId = false } = provider
  return withCluster(context, provider, (cluster) => {
    const service = httpServiceOf(cluster, {
      path: path || '/api/v2/spans',
      ...orNone({ timeout, headers }),
    })
    if (typeof service === 'string') return service
    const options = zipkin.ZipkinConfig_TraceContextOption
    const config = create(zipkin.ZipkinConfigSchema, {
      collectorEndpointVersion: zipkin.ZipkinConfig_CollectorEndpointVersion.HTTP_JSON,
      collectorService: service,
      traceId128bit: !enable64bitTraceId,
      // Client and server are two spans: the two proxies of a request are two services.
      sharedSpanContext: false,
      traceContextOption:
        provider.traceContextOption === 'USE_B3_WITH_W3C_PROPAGATION'
          ? options.USE_B3_WITH_W3C_PROPAGATION
          : options.USE_B3,
    })
    return tracing('envoy.tracers.zipkin', pack(zipkin.ZipkinConfigSchema, config))
  })
}

function skywalkingTracer(
  context: Context,
  provider: NonNullable<ExtensionProvider['skywalking']>,
): Tracer | string {
  const { accessToken = '' } = provider
  const built = withCluster(context, provider, (cluster) => {
    const config = create(skywalking.SkyWalkingConfigSchema, {
      grpcService: grpcTo(cluster),
      ...(accessToken === ''
        ? {}
        : {
            clientConfig: create(skywalking.ClientConfigSchema, {
              backendTokenSpecifier: { case: 'backendToken', value: accessToken },
            }),
          }),
    })
    return tracing('envoy.tracers.skywalking', pack(skywalking.SkyWalkingConfigSchema, config))
  })
  return typeof built === 'string' ? built : { ...built, upstreamSpan: true }
}

function otlp(context: Context, provider: OpenTelemetryProvider): Tracer | string {
  const { http, grpc, resourceDetectors, dynatraceSampler: sampler } = provider
  const clusters: ProviderCluster[] = []
  const built = withCluster(context, provider, (cluster) => {
    const service = http === undefined ? undefined : httpServiceOf(cluster, http)
    if (typeof service === 'string') return service
    const metadata = headersOf(grpc?.initialMetadata ?? [])
    if (typeof metadata === 'string') return metadata
    const adaptive =
      sampler === undefined ? undefined : dynatrace(context, provider, cluster, clusters)
    if (typeof adaptive === 'string') return adaptive
    const detectors = [
      ...(resourceDetectors?.environment === undefined ? [] : [environment()]),
      ...(resourceDetectors?.dynatrace === undefined ? [] : [dynatraceResources()]),
    ]
    const config = create(openTelemetry.OpenTelemetryConfigSchema, {
      serviceName: context.serviceName,
      ...(service === undefined
        ? { grpcService: grpcTo(cluster, { timeoutMs: durationMs(grpc?.timeout), metadata }) }
        : { httpService: service }),
      resourceDetectors: detectors,
      ...(adaptive === undefined ? {} : { sampler: adaptive }),
    })
    return tracing(
      'envoy.tracers.opentelemetry',
      pack(openTelemetry.OpenTelemetryConfigSchema, config),
    )
  })
  if (typeof built === 'string') return built
  return {
    ...built,
    clusters: [...built.clusters, ...clusters],
    ownSampler: sampler !== undefined,
  }
}

function environment(): ReturnType<typeof typedExtension> {
  const schema = environmentDetector.EnvironmentResourceDetectorConfigSchema
  const name = 'envoy.tracers.opentelemetry.resource_detectors.environment'
  return typedExtension(name, schema, create(schema))
}

function dynatraceResources(): ReturnType<typeof typedExtension> {
  const schema = dynatraceDetector.DynatraceResourceDetectorConfigSchema
  const name = 'envoy.tracers.opentelemetry.resource_detectors.dynatrace'
  return typedExtension(name, schema, create(schema))
}

/** Its settings come from the exporter's own host, unless the sampler names another. */
function dynatrace(
  { reader }: Context,
  { http, dynatraceSampler: sampler = {} }: OpenTelemetryProvider,
  exporter: ProviderCluster,
  clusters: ProviderCluster[],
): ReturnType<typeof typedExtension> | string {
  const { tenant = '', clusterId = 0, rootSpansPerMinute = 0, httpService: own } = sampler
  let cluster: ProviderCluster | string = exporter
  let settings: ProviderHttp | undefined =
    http === undefined ? undefined : { ...http, path: '/api/v2/samplingConfiguration' }
  if (own !== undefined) {
    cluster = providerCluster(reader, own)
    settings = own.http ?? {}
    if (typeof cluster === 'string') return `dynatraceSampler: ${cluster}`
    clusters.push(cluster)
  }
  if (settings === undefined) return 'dynatraceSampler needs httpService, or an exporter with http'
  const service = httpServiceOf(cluster, settings)
  if (typeof service === 'string') return service
  const schema = dynatraceSampler.DynatraceSamplerConfigSchema
  return typedExtension(
    'envoy.tracers.opentelemetry.samplers.dynatrace',
    schema,
    create(schema, { tenant, clusterId, rootSpansPerMinute, httpService: service }),
  )
}

function httpServiceOf(
  cluster: ProviderCluster,
  { path = '', timeout, headers = [] }: ProviderHttp,
): httpService.HttpService | string {
  const added = headersOf(headers)
  if (typeof added === 'string') return added
  const absolute = path === '' || path.startsWith('/') ? path : `/${path}`
  return create(httpService.HttpServiceSchema, {
    httpUri: uriOf(cluster, absolute, durationMs(timeout) ?? defaultTimeoutMs),
    requestHeadersToAdd: added.map((header) =>
      create(core.HeaderValueOptionSchema, {
        header,
        appendAction: core.HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
      }),
    ),
  })
}

/** Values from the control plane's environment are not ours to send around. */
function headersOf(headers: readonly ProviderHeader[]): core.HeaderValue[] | string {
  const found: core.HeaderValue[] = []
  for (const { name = '', value, envName } of headers) {
    if (value === undefined) {
      return `header '${name}' takes its value from the environment (${envName ?? ''}); write a value`
    }
    found.push(headerValue(name, value))
  }
  return found
}

function orNone<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  // What is left has the fields' own types, without undefined.
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> }
}
