/** Telemetry (telemetry.istio.io), raw. */
import type { PolicyAttachment } from './security.ts'

export type TelemetryMode = 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER'

export interface ProviderRef {
  readonly name?: string
}

export interface TelemetrySpec extends PolicyAttachment {
  readonly tracing?: readonly TelemetryTracing[]
  readonly metrics?: readonly TelemetryMetrics[]
  readonly accessLogging?: readonly TelemetryAccessLogging[]
}

export interface TelemetryTracing {
  readonly match?: { readonly mode?: TelemetryMode }
  readonly providers?: readonly ProviderRef[]
  readonly randomSamplingPercentage?: number
  readonly disableSpanReporting?: boolean
  readonly customTags?: Readonly<Record<string, TelemetryTag>>
  readonly useRequestIdForTraceSampling?: boolean
  readonly enableIstioTags?: boolean
  readonly disableContextPropagation?: boolean
}

/** One of the four. */
export interface TelemetryTag {
  readonly literal?: { readonly value?: string }
  readonly environment?: { readonly name?: string; readonly defaultValue?: string }
  readonly header?: { readonly name?: string; readonly defaultValue?: string }
  readonly formatter?: { readonly value?: string }
}

export type StandardMetric =
  | 'ALL_METRICS'
  | 'REQUEST_COUNT'
  | 'REQUEST_DURATION'
  | 'REQUEST_SIZE'
  | 'RESPONSE_SIZE'
  | 'TCP_OPENED_CONNECTIONS'
  | 'TCP_CLOSED_CONNECTIONS'
  | 'TCP_SENT_BYTES'
  | 'TCP_RECEIVED_BYTES'
  | 'GRPC_REQUEST_MESSAGES'
  | 'GRPC_RESPONSE_MESSAGES'

export interface TelemetryMetrics {
  readonly providers?: readonly ProviderRef[]
  readonly overrides?: readonly TelemetryMetricOverride[]
  readonly reportingInterval?: string
}

export interface TelemetryMetricOverride {
  readonly match?: {
    readonly metric?: StandardMetric
    readonly customMetric?: string
    readonly mode?: TelemetryMode
  }
  readonly disabled?: boolean
  readonly tagOverrides?: Readonly<
    Record<string, { readonly operation?: 'UPSERT' | 'REMOVE'; readonly value?: string }>
  >
}

export interface TelemetryAccessLogging {
  readonly match?: { readonly mode?: TelemetryMode }
  readonly providers?: readonly ProviderRef[]
  readonly disabled?: boolean
  readonly filter?: { readonly expression?: string }
}
