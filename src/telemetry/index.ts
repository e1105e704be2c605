/** The standard labels, counters and access log of the node proxy. */
export {
  type AccessEntry,
  AccessLog,
  type AccessLogOptions,
  type AccessOutcome,
  type AccessPeer,
} from './access-log.ts'
export {
  type Reporter,
  type ResponseFlag,
  type TelemetryService,
  type TelemetryWorkload,
  type Traffic,
  trafficLabelNames,
  trafficLabels,
} from './labels.ts'
export { ConnectionCounters, TrafficMetrics } from './traffic-metrics.ts'
