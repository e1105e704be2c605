/** Limits and life of connections: circuit breakers, timeouts, keepalives, outlier detection. */
import type {
  ConnectionPoolSettings,
  MeshConfig,
  OutlierDetection,
  RetryBudget,
  TcpKeepalive,
} from '../../../model/index.ts'
import {
  address,
  cluster as api,
  circuitBreaker,
  outlierDetection,
  percent,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { duration, durationField, durationMs, unlimited } from '../values.ts'

const defaultConnectTimeoutMs = 10_000

export function connectTimeoutMs(
  pool: ConnectionPoolSettings | undefined,
  mesh: Pick<MeshConfig, 'connectTimeout'>,
): number {
  return (
    durationMs(pool?.tcp?.connectTimeout) ??
    durationMs(mesh.connectTimeout) ??
    defaultConnectTimeoutMs
  )
}

/** Without limits of its own a cluster has none: Envoy's default of 1,024 would cap busy services. */
export function circuitBreakers(
  pool: ConnectionPoolSettings | undefined,
  budget: RetryBudget | undefined,
): circuitBreaker.CircuitBreakers {
  const { tcp, http } = pool ?? {}
  return create(circuitBreaker.CircuitBreakersSchema, {
    thresholds: [
      create(circuitBreaker.CircuitBreakers_ThresholdsSchema, {
        maxConnections: limit(tcp?.maxConnections),
        maxPendingRequests: limit(http?.http1MaxPendingRequests),
        maxRequests: limit(http?.http2MaxRequests),
        maxRetries: limit(http?.maxRetries),
        trackRemaining: true,
        ...(budget === undefined ? {} : { retryBudget: retryBudget(budget) }),
      }),
    ],
  })
}

function limit(value: number | undefined): number {
  return value === undefined || value <= 0 ? unlimited : value
}

const defaultBudgetPercent = 20
const defaultBudgetConcurrency = 3

function retryBudget(budget: RetryBudget): circuitBreaker.CircuitBreakers_Thresholds_RetryBudget {
  const { percent: value = defaultBudgetPercent, minRetryConcurrency } = budget
  return create(circuitBreaker.CircuitBreakers_Thresholds_RetryBudgetSchema, {
    budgetPercent: create(percent.PercentSchema, { value }),
    minRetryConcurrency: minRetryConcurrency ?? defaultBudgetConcurrency,
    ...durationField('budgetInterval', budget.budgetInterval),
  })
}

/** A block that is set at all turns probing on; without one the operating system decides. */
export function upstreamConnectionOptions(
  pool: ConnectionPoolSettings | undefined,
  mesh: Pick<MeshConfig, 'tcpKeepalive'>,
): { upstreamConnectionOptions?: api.UpstreamConnectionOptions } {
  const keepalive = pool?.tcp?.tcpKeepalive ?? mesh.tcpKeepalive
  if (keepalive === undefined) return {}
  return {
    upstreamConnectionOptions: create(api.UpstreamConnectionOptionsSchema, {
      tcpKeepalive: tcpKeepalive(keepalive),
    }),
  }
}

function tcpKeepalive(keepalive: TcpKeepalive): address.TcpKeepalive {
  const seconds = (text: string | undefined): number | undefined => {
    const ms = durationMs(text)
    return ms === undefined ? undefined : Math.ceil(ms / 1000)
  }
  const time = seconds(keepalive.time)
  const interval = seconds(keepalive.interval)
  return create(address.TcpKeepaliveSchema, {
    ...(keepalive.probes === undefined ? {} : { keepaliveProbes: keepalive.probes }),
    ...(time === undefined ? {} : { keepaliveTime: time }),
    ...(interval === undefined ? {} : { keepaliveInterval: interval }),
  })
}

const always = 100

export function outlierDetectionOf(settings: OutlierDetection): outlierDetection.OutlierDetection {
  const serverErrors = settings.consecutive5xxErrors
  const gatewayErrors = settings.consecutiveGatewayErrors ?? settings.consecutiveErrors
  const localErrors = settings.consecutiveLocalOriginFailures
  return create(outlierDetection.OutlierDetectionSchema, {
    // Ejection by comparing success rates is off: nobody asked for it.
    enforcingSuccessRate: 0,
    ...durationField('interval', settings.interval),
    ...durationField('baseEjectionTime', settings.baseEjectionTime),
    ...(settings.maxEjectionPercent === undefined || settings.maxEjectionPercent === 0
      ? {}
      : { maxEjectionPercent: settings.maxEjectionPercent }),
    ...(serverErrors === undefined
      ? {}
      : { consecutive5xx: serverErrors, enforcingConsecutive5xx: serverErrors > 0 ? always : 0 }),
    ...(gatewayErrors === undefined
      ? {}
      : {
          consecutiveGatewayFailure: gatewayErrors,
          enforcingConsecutiveGatewayFailure: gatewayErrors > 0 ? always : 0,
        }),
    ...(settings.splitExternalLocalOriginErrors === true
      ? {
          splitExternalLocalOriginErrors: true,
          enforcingLocalOriginSuccessRate: 0,
          ...(localErrors === undefined
            ? {}
            : {
                consecutiveLocalOriginFailure: localErrors,
                enforcingConsecutiveLocalOriginFailure: localErrors > 0 ? always : 0,
              }),
        }
      : {}),
  })
}

/** Zero turns a limit off: an idle connection then stays. */
export function idleTimeout(text: string | undefined): {
  idleTimeout?: ReturnType<typeof duration>
} {
  return durationField('idleTimeout', text)
}
