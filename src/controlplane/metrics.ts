/** The control plane's metrics under Istio's names: what dashboards ask for. */
import type { CaMetrics } from '../ca/index.ts'
import { MetricsRegistry } from '../metrics/index.ts'
import type { XdsMetrics } from '../xds/index.ts'
import type { MeshSource } from './source.ts'

const sendBounds = [0.01, 0.1, 1, 3, 5, 10, 20, 30]
const debounceBounds = [0.01, 0.1, 1, 3, 5, 10, 20, 30]

export class ControlPlaneMetrics {
  readonly registry = new MetricsRegistry()
  readonly ca: CaMetrics
  readonly xds: XdsMetrics

  constructor(version: string) {
    const { registry } = this
    registry
      .gauge('istio_build', 'Build information.', { labels: ['component', 'tag'], expires: false })
      .child('pilot', version)
      .set(1)
    registry
      .gauge('pilot_info', 'Version.', { labels: ['version'], expires: false })
      .child(version)
      .set(1)
    this.ca = caMetrics(registry)
    this.xds = xdsMetrics(registry, version)
  }

  /** Sizes that are read at each scrape. */
  observe(source: MeshSource, startedMs: number, nowMs: () => number): void {
    const services = this.registry.gauge('pilot_services', 'Services known.').child()
    const uptime = this.registry.gauge('istiod_uptime_seconds', 'Seconds since the start.').child()
    this.registry.onCollect(() => {
      services.set(source.snapshot.services.size)
      uptime.set((nowMs() - startedMs) / 1000)
    })
  }
}

const caCounters = [
  'citadel_server_csr_count',
  'citadel_server_success_cert_issuance_count',
  'citadel_server_authentication_failure_count',
  'citadel_server_csr_parsing_err_count',
  'citadel_server_id_extraction_err_count',
  'citadel_server_csr_sign_err_count',
] as const

const caGauges = [
  'citadel_server_root_cert_expiry_timestamp',
  'citadel_server_cert_chain_expiry_timestamp',
] as const

function caMetrics(registry: MetricsRegistry): CaMetrics {
  const help = 'Certificate authority.'
  const counters = new Map(
    caCounters.map((name) => [name, registry.counter(name, help).child()] as const),
  )
  const gauges = new Map(
    caGauges.map((name) => [name, registry.gauge(name, help).child()] as const),
  )
  return {
    count: (name) => counters.get(name)?.inc(),
    set: (name, value) => gauges.get(name)?.set(value),
  }
}

/** `type.googleapis.com/istio.workload.Address` → `Address`. */
function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('.') + 1)
}

function xdsMetrics(registry: MetricsRegistry, version: string): XdsMetrics {
  const connected = registry
    .gauge('pilot_xds', 'Connected proxies.', { labels: ['version'], expires: false })
    .child(version)
  const byType = { labels: ['type'] }
  const pushes = registry.counter('pilot_xds_pushes', 'Messages sent.', byType)
  const bytes = registry.gauge('pilot_xds_config_size_bytes', 'Size of the last message.', byType)
  const rejects = registry.counter(
    'pilot_total_xds_rejects',
    'Messages that proxies refused.',
    byType,
  )
  const refused = registry
    .counter('pilot_total_xds_internal_errors', 'Connections refused.')
    .child()
  const send = registry
    .histogram('pilot_xds_send_time', 'Seconds to send a message.', { bounds: sendBounds })
    .child()
  const debounce = registry
    .histogram('pilot_debounce_time', 'Seconds changes waited.', { bounds: debounceBounds })
    .child()
  return {
    connections: (count) => connected.set(count),
    pushed: (push) => {
      const type = shortType(push.typeUrl)
      pushes.child(type).inc()
      bytes.child(type).set(push.bytes)
      send.observe(push.sendMs / 1000)
    },
    nacked: (typeUrl) => rejects.child(shortType(typeUrl)).inc(),
    debounced: (_changes, waitedMs) => debounce.observe(waitedMs / 1000),
    refused: () => refused.inc(),
  }
}
