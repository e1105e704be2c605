/** The figures of the xDS server under Istio's names. */
import { grpcStatus, statusName } from '../grpc/index.ts'
import type { MetricsRegistry } from '../metrics/index.ts'
import { typeUrl as urls } from '../proto/index.ts'
import type { ProxyNode, XdsMetrics } from '../xds/index.ts'

const secondsBounds = [0.01, 0.1, 1, 3, 5, 10, 20, 30]
const proxyBounds = [0.1, 0.5, 1, 3, 5, 10, 20, 30]
const sizeBounds = [1, 10_000, 1_000_000, 4_000_000, 10_000_000, 40_000_000]

/** What dashboards call the types. */
const shortTypes: ReadonlyMap<string, string> = new Map([
  [urls.cluster, 'cds'],
  [urls.endpoint, 'eds'],
  [urls.listener, 'lds'],
  [urls.route, 'rds'],
  [urls.secret, 'sds'],
  [urls.extensionConfig, 'ecds'],
  [urls.address, 'wds'],
  [urls.workload, 'wds'],
  [urls.authorization, 'wads'],
])

/** Rejections of these types have a metric each, which says by whom. */
const rejectable = ['cds', 'eds', 'lds', 'rds'] as const

const triggers: ReadonlyMap<string, string> = new Map([
  [urls.endpoint, 'endpoint'],
  [urls.secret, 'secret'],
  [urls.address, 'service'],
  [urls.workload, 'service'],
])

function shortType(typeUrl: string): string {
  return shortTypes.get(typeUrl) ?? typeUrl
}

function versionOf({ metadata }: ProxyNode): string {
  const { ISTIO_VERSION: version } = metadata
  return typeof version === 'string' && version !== '' ? version : 'unknown'
}

export function xdsMetrics(registry: MetricsRegistry): XdsMetrics {
  const byType = { labels: ['type'] }
  const connected = registry.gauge('pilot_xds', 'Proxies connected, by their version.', {
    labels: ['version'],
    expires: false,
  })
  const pushes = registry.counter('pilot_xds_pushes', 'Messages sent.', byType)
  const size = registry.histogram('pilot_xds_config_size_bytes', 'Sizes of messages.', {
    ...byType,
    bounds: sizeBounds,
  })
  const rejects = registry.counter('pilot_total_xds_rejects', 'Messages rejected.', byType)
  const rejectedBy = new Map<string, typeof rejects>(
    rejectable.map((type) => {
      const options = { labels: ['node', 'err'] }
      const help = `Rejected ${type.toUpperCase()} messages, by proxy.`
      return [type, registry.counter(`pilot_xds_${type}_reject`, help, options)]
    }),
  )
  const staleNonces = registry.counter(
    'pilot_xds_expired_nonce',
    'Requests that came after a newer response had gone out.',
    byType,
  )
  const internalErrors = registry
    .counter('pilot_total_xds_internal_errors', 'Streams ended by a mistake of ours.')
    .child()
  const refused = registry.counter('weft_xds_refused_total', 'Streams refused, by status.', {
    labels: ['status'],
  })
  const pushTime = registry.histogram('pilot_xds_push_time', 'Seconds a push takes.', {
    ...byType,
    bounds: secondsBounds,
  })
  const triggered = registry.counter('pilot_push_triggers', 'Pushes, by their reason.', byType)
  const histogram = (name: string, help: string, bounds: readonly number[]) =>
    registry.histogram(name, help, { bounds }).child()
  const send = histogram('pilot_xds_send_time', 'Seconds to send a message.', secondsBounds)
  const debounce = histogram('pilot_debounce_time', 'Seconds that changes waited.', secondsBounds)
  const queue = histogram(
    'pilot_proxy_queue_time',
    'Seconds a proxy waited for its turn to be sent to.',
    proxyBounds,
  )
  const convergence = histogram(
    'pilot_proxy_convergence_time',
    'Seconds from a change until a proxy had acknowledged all it meant for it.',
    proxyBounds,
  )
  return {
    connected: (proxy) => connected.child(versionOf(proxy)).inc(),
    disconnected: (proxy) => connected.child(versionOf(proxy)).dec(),
    pushed: (push) => {
      const type = shortType(push.typeUrl)
      pushes.child(type).inc()
      size.child(type).observe(push.bytes)
      pushTime.child(type).observe(push.sendMs / 1000)
      send.observe(push.sendMs / 1000)
    },
    nacked: (typeUrl, proxyId) => {
      const type = shortType(typeUrl)
      rejects.child(type).inc()
      rejectedBy.get(type)?.child(proxyId, 'rejected').inc()
    },
    staleNonce: (typeUrl) => staleNonces.child(shortType(typeUrl)).inc(),
    requested: () => triggered.child('proxyrequest').inc(),
    debounced: ({ waitedMs, typeUrls }) => {
      debounce.observe(waitedMs / 1000)
      const reasons = new Set([...typeUrls].map((typeUrl) => triggers.get(typeUrl) ?? 'config'))
      for (const reason of reasons) triggered.child(reason).inc()
    },
    queued: (waitedMs) => queue.observe(waitedMs / 1000),
    converged: (afterMs) => convergence.observe(afterMs / 1000),
    refused: (status) => {
      refused.child(statusName(status)).inc()
      if (status === grpcStatus.internal || status === grpcStatus.unknown) internalErrors.inc()
    },
  }
}
