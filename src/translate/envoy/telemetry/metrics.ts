/**
 * Istio's standard metrics from Envoy's stats logger, and Telemetry's overrides of them. All loggers of
 * a proxy share one scope, so that a series is one however many listeners add to it. The agent's merged
 * page takes the scope's prefix off the names again.
 */
import type { TelemetryMetricOverride } from '../../../model/index.ts'
import { accessLogData, accesslog, scope, statsLog } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { type Problem, problemOf } from '../policies/problem.ts'
import { findProvider } from '../policies/providers.ts'
import { compareText, pack } from '../values.ts'
import { celOperator } from './expressions.ts'
import { isForSide, providerNames, type TelemetryTarget, telemetriesFor } from './scope.ts'
import { type Reporter, standardTags } from './tags.ts'

export interface Metrics {
  readonly logs: readonly accesslog.AccessLog[]
  readonly problems: readonly Problem[]
}

/** What Envoy puts in front of the names, between `envoy_` and the name. */
export const statsPrefix = 'istio'

const units = statsLog.Config_Histogram_Unit

interface Definition {
  /** Telemetry's word for it. */
  readonly metric: string
  readonly name: string
  /** Undefined: one for each. */
  readonly value?: string
  /** Undefined: a counter. */
  readonly unit?: statsLog.Config_Histogram_Unit
}

const httpDefinitions: readonly Definition[] = [
  { metric: 'REQUEST_COUNT', name: 'istio_requests_total' },
  {
    metric: 'REQUEST_DURATION',
    name: 'istio_request_duration_milliseconds',
    value: '%DURATION%',
    unit: units.Milliseconds,
  },
  {
    metric: 'REQUEST_SIZE',
    name: 'istio_request_bytes',
    value: '%DOWNSTREAM_WIRE_BYTES_RECEIVED%',
    unit: units.Bytes,
  },
  {
    metric: 'RESPONSE_SIZE',
    name: 'istio_response_bytes',
    value: '%DOWNSTREAM_WIRE_BYTES_SENT%',
    unit: units.Bytes,
  },
]

const openedDefinition: Definition = {
  metric: 'TCP_OPENED_CONNECTIONS',
  name: 'istio_tcp_connections_opened_total',
}

const closedDefinitions: readonly Definition[] = [
  { metric: 'TCP_CLOSED_CONNECTIONS', name: 'istio_tcp_connections_closed_total' },
  { metric: 'TCP_SENT_BYTES', name: 'istio_tcp_sent_bytes_total', value: '%BYTES_SENT%' },
  {
    metric: 'TCP_RECEIVED_BYTES',
    name: 'istio_tcp_received_bytes_total',
    value: '%BYTES_RECEIVED%',
  },
]

/** Counted by messages, which no operator of Envoy yields as a number. */
const messageMetrics = ['GRPC_REQUEST_MESSAGES', 'GRPC_RESPONSE_MESSAGES']

const known = new Set([
  ...[...httpDefinitions, openedDefinition, ...closedDefinitions].map(({ metric }) => metric),
  ...messageMetrics,
])

/** For HTTP connection managers. */
export function httpMetrics(reader: Reader, target: TelemetryTarget): Metrics {
  const { overrides, problems } = collect(reader, target)
  if (overrides === undefined) return { logs: [], problems }
  const log = statsLogger(reader, target, 'http', httpDefinitions, overrides)
  return { logs: log === undefined ? [] : [log], problems }
}

/**
 * For TCP proxies, which must have `flushAccessLogOnConnected` in their `accessLogOptions`: a connection
 * is opened when its endpoint is known, or failed when none was. Bytes are added at the end.
 */
export function tcpMetrics(reader: Reader, target: TelemetryTarget): Metrics {
  const { overrides, problems } = collect(reader, target)
  if (overrides === undefined) return { logs: [], problems }
  const opened = statsLogger(reader, target, 'tcp', [openedDefinition], overrides)
  const closed = statsLogger(reader, target, 'tcp', closedDefinitions, overrides)
  if (opened !== undefined) opened.filter = anyFilter([connected(), failedToConnect()])
  if (closed !== undefined) closed.filter = logType(accessLogData.AccessLogType.TcpConnectionEnd)
  return { logs: [opened, closed].filter((log) => log !== undefined), problems }
}

function connected(): accesslog.AccessLogFilter {
  return logType(accessLogData.AccessLogType.TcpUpstreamConnected)
}

function failedToConnect(): accesslog.AccessLogFilter {
  const flags = create(accesslog.ResponseFlagFilterSchema, {
    flags: ['UF', 'UH', 'UO', 'NR', 'NC', 'UAEX'],
  })
  return create(accesslog.AccessLogFilterSchema, {
    filterSpecifier: {
      case: 'andFilter',
      value: create(accesslog.AndFilterSchema, {
        filters: [
          logType(accessLogData.AccessLogType.TcpConnectionEnd),
          create(accesslog.AccessLogFilterSchema, {
            filterSpecifier: { case: 'responseFlagFilter', value: flags },
          }),
        ],
      }),
    },
  })
}

function anyFilter(filters: accesslog.AccessLogFilter[]): accesslog.AccessLogFilter {
  const value = create(accesslog.OrFilterSchema, { filters })
  return create(accesslog.AccessLogFilterSchema, { filterSpecifier: { case: 'orFilter', value } })
}

function logType(type: accessLogData.AccessLogType): accesslog.AccessLogFilter {
  const value = create(accesslog.LogTypeFilterSchema, { types: [type] })
  return create(accesslog.AccessLogFilterSchema, {
    filterSpecifier: { case: 'logTypeFilter', value },
  })
}

/** What is asked of one metric on one side. */
interface Override {
  disabled: boolean
  /** Tag → format; undefined: without the tag. */
  readonly tags: Map<string, string | undefined>
}

interface Collected {
  /** By Telemetry's word for the metric; undefined: no standard metrics here. */
  readonly overrides: ReadonlyMap<string, Override> | undefined
  readonly problems: readonly Problem[]
}

function collect(reader: Reader, target: TelemetryTarget): Collected {
  const problems: Problem[] = []
  const overrides = new Map<string, Override>()
  const defaults = reader.mesh().defaultProviders.metrics ?? []
  const blocks = telemetriesFor(reader, target).flatMap((object) =>
    (object.spec.metrics ?? []).map((block, index) => ({ object, block, index })),
  )
  // The closest list of providers counts; blocks of others are none of its business.
  let inScope = defaults
  for (const { block } of blocks) {
    const names = providerNames(block.providers)
    if (names.length > 0) inScope = names
  }
  let inherited = defaults
  let allDisabled = false
  for (const { object, block, index } of blocks) {
    const path = `/spec/metrics/${index}`
    const names = providerNames(block.providers)
    if (names.length > 0) inherited = names
    for (const [position, name] of names.entries()) {
      if (findProvider(reader, name) !== undefined) continue
      const message = `there is no extension provider '${name}' in MeshConfig; it is skipped`
      problems.push(problemOf(object, `${path}/providers/${position}/name`, message))
    }
    if (block.reportingInterval !== undefined) {
      const message = 'TCP metrics are reported when a connection ends; the interval has no effect'
      problems.push(problemOf(object, `${path}/reportingInterval`, message))
    }
    if (!inherited.some((name) => inScope.includes(name) && isPrometheus(reader, name))) continue
    for (const [position, override] of (block.overrides ?? []).entries()) {
      const where = `${path}/overrides/${position}`
      if (override.match?.metric === 'ALL_METRICS' && override.disabled === true) {
        if (isForSide(override.match.mode, target.side)) allDisabled = true
        continue
      }
      // Whatever else a closer block says brings metrics back.
      if (isForSide(override.match?.mode, target.side)) allDisabled = false
      const tell = (field: string, message: string): void =>
        void problems.push(problemOf(object, `${where}${field}`, message))
      apply(override, target, overrides, tell)
    }
  }
  const served = inScope.some((name) => isPrometheus(reader, name))
  return { overrides: served && !allDisabled ? overrides : undefined, problems }
}

function isPrometheus(reader: Reader, name: string): boolean {
  return findProvider(reader, name)?.prometheus !== undefined
}

function apply(
  override: TelemetryMetricOverride,
  target: TelemetryTarget,
  overrides: Map<string, Override>,
  tell: (field: string, message: string) => void,
): void {
  const { match, disabled, tagOverrides = {} } = override
  if (match?.customMetric !== undefined && !known.has(match.customMetric)) {
    const message = `there is no metric '${match.customMetric}'; proxies have the standard ones only`
    tell('/match/customMetric', message)
    return
  }
  const tags = new Map<string, string | undefined>()
  for (const [tag, { operation, value = '' }] of Object.entries(tagOverrides)) {
    if (operation === 'REMOVE') tags.set(tag, undefined)
    else {
      const operator = celOperator(value)
      if ('format' in operator) tags.set(tag, operator.format)
      else tell(`/tagOverrides/${tag}/value`, `${operator.problem}; the tag stays as it is`)
    }
  }
  const single = match?.customMetric ?? match?.metric ?? 'ALL_METRICS'
  if (messageMetrics.includes(single)) {
    tell('/match', `${single} is not available: Envoy has no number of gRPC messages to count`)
  }
  if (!isForSide(match?.mode, target.side)) return
  for (const metric of single === 'ALL_METRICS' ? known : [single]) {
    const entry = overrides.get(metric) ?? { disabled: false, tags: new Map() }
    if (disabled !== undefined) entry.disabled = disabled
    for (const [tag, format] of tags) entry.tags.set(tag, format)
    overrides.set(metric, entry)
  }
}

function statsLogger(
  reader: Reader,
  target: TelemetryTarget,
  layer: 'http' | 'tcp',
  definitions: readonly Definition[],
  overrides: ReadonlyMap<string, Override>,
): accesslog.AccessLog | undefined {
  const { proxy, service } = target
  const { settings } = reader
  const standard = standardTags({ proxy, service, settings, layer, reporter: reporterOf(target) })
  const common = tagsOf(standard, undefined)
  const counters: statsLog.Config_Counter[] = []
  const histograms: statsLog.Config_Histogram[] = []
  for (const { metric, name, value, unit } of definitions) {
    const override = overrides.get(metric)
    if (override?.disabled === true) continue
    const tags = override === undefined ? common : tagsOf(standard, override)
    const stat = create(statsLog.Config_StatSchema, { name, tags })
    if (unit !== undefined && value !== undefined) {
      histograms.push(create(statsLog.Config_HistogramSchema, { stat, unit, valueFormat: value }))
    } else {
      const amount = value === undefined ? { valueFixed: 1n } : { valueFormat: value }
      counters.push(create(statsLog.Config_CounterSchema, { stat, ...amount }))
    }
  }
  if (counters.length + histograms.length === 0) return undefined
  const config = create(statsLog.ConfigSchema, {
    statsScope: create(scope.ScopeSchema, { prefix: statsPrefix, sharingName: statsPrefix }),
    counters,
    histograms,
  })
  return create(accesslog.AccessLogSchema, {
    name: 'envoy.access_loggers.stats',
    configType: { case: 'typedConfig', value: pack(statsLog.ConfigSchema, config) },
  })
}

function reporterOf({ proxy, side }: TelemetryTarget): Reporter {
  if (proxy.kind === 'waypoint') return 'waypoint'
  return side === 'CLIENT' ? 'source' : 'destination'
}

function tagsOf(
  standard: ReadonlyMap<string, string>,
  override: Override | undefined,
): statsLog.Config_Tag[] {
  const tags = new Map(standard)
  const changes = [...(override?.tags ?? [])].toSorted(([left], [right]) =>
    compareText(left, right),
  )
  for (const [tag, format] of changes) {
    if (format === undefined) tags.delete(tag)
    else tags.set(tag, format)
  }
  return [...tags].map(([name, valueFormat]) =>
    create(statsLog.Config_TagSchema, { name, valueFormat }),
  )
}
