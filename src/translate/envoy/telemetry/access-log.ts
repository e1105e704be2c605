/**
 * Access logs: the mesh's file, or the providers that Telemetry and `defaultProviders` name. The first
 * Telemetry that says anything about access logs takes the decision away from `accessLogFile`.
 */
import type {
  AccessLogService,
  ExtensionProvider,
  HttpAccessLogProvider,
  MeshConfig,
  OtelAccessLogProvider,
} from '../../../model/index.ts'
import {
  accesslog,
  celConfig,
  celFilter,
  configSource,
  fileLog,
  grpcLog,
  otelCommon,
  otelLog,
  type substitutionFormat,
} from '../../../proto/envoy.ts'
import { type Any, create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { meshProblem, type Problem, problemOf } from '../policies/problem.ts'
import {
  findProvider,
  grpcTo,
  type ProviderCluster,
  providerCluster,
} from '../policies/providers.ts'
import { compareText, pack } from '../values.ts'
import { filterProblem } from './expressions.ts'
import {
  asLine,
  defaultJson,
  defaultText,
  formattersFor,
  jsonOf,
  jsonSubstitution,
  substitution,
  textSubstitution,
} from './log-format.ts'
import { isForSide, providerNames, type TelemetryTarget, telemetriesFor } from './scope.ts'

export interface AccessLogs {
  readonly logs: readonly accesslog.AccessLog[]
  readonly clusters: readonly ProviderCluster[]
  readonly problems: readonly Problem[]
}

/** For HTTP connection managers and TCP proxies. */
export function accessLogs(
  reader: Reader,
  target: TelemetryTarget,
  layer: 'http' | 'tcp',
): AccessLogs {
  const logs: accesslog.AccessLog[] = []
  const clusters: ProviderCluster[] = []
  const problems: Problem[] = []
  const chosen = chooseProviders(reader, target, problems)
  if (chosen === undefined) {
    logs.push(...meshFile(reader.mesh(), problems))
    return { logs, clusters, problems }
  }
  for (const [name, expression] of [...chosen].toSorted(([a], [b]) => compareText(a, b))) {
    const provider = findProvider(reader, name)
    if (provider === undefined) continue
    const built = logOf(reader, provider, layer)
    if (typeof built === 'string') {
      problems.push(meshProblem(`/extensionProviders/${name}`, built))
    } else if (built !== undefined) {
      const filter = expression === undefined ? undefined : filterOf(expression)
      logs.push(filter === undefined ? built.log : { ...built.log, filter })
      if (built.cluster !== undefined) clusters.push(built.cluster)
    }
  }
  return { logs, clusters, problems }
}

/**
 * For listeners: what no filter chain matched, or no route was found for, is seen here and nowhere else.
 */
export function listenerAccessLogs(reader: Reader, target: TelemetryTarget): AccessLogs {
  if (reader.mesh().disableEnvoyListenerLog === true)
    return { logs: [], clusters: [], problems: [] }
  const found = accessLogs(reader, target, 'tcp')
  const noRoute = create(accesslog.AccessLogFilterSchema, {
    filterSpecifier: {
      case: 'responseFlagFilter',
      value: create(accesslog.ResponseFlagFilterSchema, { flags: ['NR'] }),
    },
  })
  const logs = found.logs.map((log) => ({
    ...log,
    filter: log.filter === undefined ? noRoute : allOf([noRoute, log.filter]),
  }))
  return { ...found, logs }
}

function allOf(filters: accesslog.AccessLogFilter[]): accesslog.AccessLogFilter {
  const value = create(accesslog.AndFilterSchema, { filters })
  return create(accesslog.AccessLogFilterSchema, { filterSpecifier: { case: 'andFilter', value } })
}

/** Provider → the filter's expression; undefined when only the mesh's file is configured. */
function chooseProviders(
  reader: Reader,
  target: TelemetryTarget,
  problems: Problem[],
): ReadonlyMap<string, string | undefined> | undefined {
  const defaults = reader.mesh().defaultProviders.accessLogging ?? []
  const objects = telemetriesFor(reader, target).filter(
    ({ spec }) => (spec.accessLogging ?? []).length > 0,
  )
  if (objects.length === 0 && defaults.length === 0) return undefined
  const chosen = new Map<string, string | undefined>()
  if (objects.length === 0) {
    for (const name of defaults) chosen.set(name, undefined)
    return chosen
  }
  let inScope = defaults
  const filters = new Map<string, string | undefined>()
  for (const object of objects) {
    const names: string[] = []
    for (const [index, block] of (object.spec.accessLogging ?? []).entries()) {
      const expression = usableFilter(block.filter?.expression, (message) => {
        problems.push(problemOf(object, `/spec/accessLogging/${index}/filter/expression`, message))
      })
      for (const [position, name] of providerNames(block.providers).entries()) {
        names.push(name)
        filters.set(name, expression)
        if (findProvider(reader, name) !== undefined) continue
        const message = `there is no extension provider '${name}' in MeshConfig; it is skipped`
        const path = `/spec/accessLogging/${index}/providers/${position}/name`
        problems.push(problemOf(object, path, message))
      }
    }
    if (names.length > 0) inScope = names
  }
  let inherited = defaults
  for (const { spec } of objects) {
    for (const { providers, match, disabled, filter } of spec.accessLogging ?? []) {
      const names = providerNames(providers)
      const applied = names.length === 0 ? inherited : names
      inherited = applied
      for (const name of applied) {
        if (!inScope.includes(name) || !isForSide(match?.mode, target.side)) continue
        if (disabled === true) chosen.delete(name)
        // A block that names no provider filters the ones it inherits.
        else chosen.set(name, filters.get(name) ?? usableFilter(filter?.expression))
      }
    }
  }
  return chosen
}

/** An expression that Envoy would refuse is left out: rather too many lines than no listener. */
function usableFilter(
  expression: string | undefined,
  tell: (message: string) => void = () => undefined,
): string | undefined {
  if (expression === undefined) return undefined
  const problem = filterProblem(expression)
  if (problem === undefined) return expression
  tell(`${problem}; everything is logged`)
  return undefined
}

function filterOf(expression: string): accesslog.AccessLogFilter {
  const config = create(celFilter.ExpressionFilterSchema, {
    expression,
    celConfig: create(celConfig.CelExpressionConfigSchema, {
      enableStringConversion: true,
      enableStringConcat: true,
      enableStringFunctions: true,
    }),
  })
  return create(accesslog.AccessLogFilterSchema, {
    filterSpecifier: {
      case: 'extensionFilter',
      value: create(accesslog.ExtensionFilterSchema, {
        name: 'envoy.access_loggers.extension_filters.cel',
        configType: { case: 'typedConfig', value: pack(celFilter.ExpressionFilterSchema, config) },
      }),
    },
  })
}

function meshFile(mesh: MeshConfig, problems: Problem[]): accesslog.AccessLog[] {
  if (mesh.enableEnvoyAccessLogService === true) {
    const message = 'not supported; use an extension provider envoyHttpAls and defaultProviders'
    problems.push(meshProblem('/enableEnvoyAccessLogService', message))
  }
  return mesh.accessLogFile === ''
    ? []
    : [fileLogTo(mesh.accessLogFile, meshFormat(mesh, problems))]
}

/** The mesh's `accessLogEncoding` and `accessLogFormat`. */
function meshFormat(
  { accessLogEncoding, accessLogFormat }: MeshConfig,
  problems: Problem[],
): substitutionFormat.SubstitutionFormatString {
  if (accessLogEncoding === 'TEXT') {
    return textSubstitution(accessLogFormat === '' ? defaultText : asLine(accessLogFormat))
  }
  if (accessLogFormat === '') return jsonSubstitution({ ...defaultJson })
  const labels = jsonOf(parseJson(accessLogFormat))
  if (labels !== undefined) return jsonSubstitution(labels)
  const message = 'accessLogEncoding is JSON, but this is no JSON object; the default is used'
  problems.push(meshProblem('/accessLogFormat', message))
  return jsonSubstitution({ ...defaultJson })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

interface BuiltLog {
  readonly log: accesslog.AccessLog
  readonly cluster?: ProviderCluster
}

/** Undefined for a provider that has nothing to do with this layer; a sentence for one in trouble. */
function logOf(
  reader: Reader,
  provider: ExtensionProvider,
  layer: 'http' | 'tcp',
): BuiltLog | string | undefined {
  const { name = '', envoyFileAccessLog, envoyHttpAls, envoyTcpAls, envoyOtelAls } = provider
  if (envoyFileAccessLog !== undefined) {
    const { path = '/dev/stdout', logFormat, omitEmptyValues = false } = envoyFileAccessLog
    // The built-in provider writes as the mesh's own file does.
    const asMesh = name === 'envoy' && logFormat === undefined && !omitEmptyValues
    const problems: Problem[] = []
    const format = asMesh
      ? meshFormat(reader.mesh(), problems)
      : substitution(logFormat, omitEmptyValues)
    return { log: fileLogTo(path, format) }
  }
  if (envoyHttpAls !== undefined) {
    return layer === 'http' ? withCluster(reader, envoyHttpAls, httpService) : undefined
  }
  if (envoyTcpAls !== undefined) {
    return layer === 'tcp' ? withCluster(reader, envoyTcpAls, tcpService) : undefined
  }
  if (envoyOtelAls !== undefined) return withCluster(reader, envoyOtelAls, otelService)
  if (provider.stackdriver !== undefined) {
    return 'stackdriver needs an extension that Envoy does not have; use opentelemetry providers'
  }
  return undefined
}

function withCluster<P extends AccessLogService>(
  reader: Reader,
  provider: P,
  build: (provider: P, cluster: ProviderCluster) => accesslog.AccessLog,
): BuiltLog | string {
  const cluster = providerCluster(reader, provider)
  return typeof cluster === 'string' ? cluster : { log: build(provider, cluster), cluster }
}

function logger(name: string, typedConfig: Any): accesslog.AccessLog {
  return create(accesslog.AccessLogSchema, {
    name,
    configType: { case: 'typedConfig', value: typedConfig },
  })
}

function fileLogTo(
  path: string,
  format: substitutionFormat.SubstitutionFormatString,
): accesslog.AccessLog {
  const config = create(fileLog.FileAccessLogSchema, {
    path,
    accessLogFormat: { case: 'logFormat', value: format },
  })
  return logger('envoy.access_loggers.file', pack(fileLog.FileAccessLogSchema, config))
}

function common(
  cluster: ProviderCluster,
  logName: string,
  filterStateObjectsToLog: readonly string[] = [],
): grpcLog.CommonGrpcAccessLogConfig {
  return create(grpcLog.CommonGrpcAccessLogConfigSchema, {
    logName,
    grpcService: grpcTo(cluster),
    transportApiVersion: configSource.ApiVersion.V3,
    filterStateObjectsToLog: [...filterStateObjectsToLog],
  })
}

function httpService(
  provider: HttpAccessLogProvider,
  cluster: ProviderCluster,
): accesslog.AccessLog {
  const name = provider.logName || 'http_envoy_accesslog'
  const config = create(grpcLog.HttpGrpcAccessLogConfigSchema, {
    commonConfig: common(cluster, name, provider.filterStateObjectsToLog),
    additionalRequestHeadersToLog: [...(provider.additionalRequestHeadersToLog ?? [])],
    additionalResponseHeadersToLog: [...(provider.additionalResponseHeadersToLog ?? [])],
    additionalResponseTrailersToLog: [...(provider.additionalResponseTrailersToLog ?? [])],
  })
  const packed = pack(grpcLog.HttpGrpcAccessLogConfigSchema, config)
  return logger('envoy.access_loggers.http_grpc', packed)
}

function tcpService(provider: AccessLogService, cluster: ProviderCluster): accesslog.AccessLog {
  const name = provider.logName || 'tcp_envoy_accesslog'
  const config = create(grpcLog.TcpGrpcAccessLogConfigSchema, {
    commonConfig: common(cluster, name, provider.filterStateObjectsToLog),
  })
  const packed = pack(grpcLog.TcpGrpcAccessLogConfigSchema, config)
  return logger('envoy.access_loggers.tcp_grpc', packed)
}

function otelService(
  provider: OtelAccessLogProvider,
  cluster: ProviderCluster,
): accesslog.AccessLog {
  const { logName, logFormat } = provider
  const text = (logFormat?.text ?? '') === '' ? defaultText : (logFormat?.text ?? '')
  const labels = logFormat?.labels === undefined ? {} : (jsonOf(logFormat.labels) ?? {})
  const values = Object.entries(labels)
    .toSorted(([left], [right]) => compareText(left, right))
    .map(([key, value]) =>
      create(otelCommon.KeyValueSchema, {
        key,
        value: textValue(typeof value === 'string' ? value : JSON.stringify(value)),
      }),
    )
  const config = create(otelLog.OpenTelemetryAccessLogConfigSchema, {
    grpcService: grpcTo(cluster),
    logName: logName || 'otel_envoy_accesslog',
    disableBuiltinLabels: true,
    body: textValue(text),
    ...(values.length === 0
      ? {}
      : { attributes: create(otelCommon.KeyValueListSchema, { values }) }),
    formatters: formattersFor(text + JSON.stringify(labels)),
  })
  const packed = pack(otelLog.OpenTelemetryAccessLogConfigSchema, config)
  return logger('envoy.access_loggers.open_telemetry', packed)
}

function textValue(text: string): otelCommon.AnyValue {
  return create(otelCommon.AnyValueSchema, { value: { case: 'stringValue', value: text } })
}
