/** The control plane's metrics under Istio's names: what dashboards ask for. */
import type { CaMetrics } from '../ca/index.ts'
import { MetricsRegistry } from '../metrics/index.ts'
import type { XdsMetrics } from '../xds/index.ts'
import type { KeySetMetrics } from './jwks.ts'
import { xdsMetrics } from './metrics-xds.ts'
import type { MeshChange, MeshSource } from './source.ts'

/** What the process itself costs. */
export interface ProcessUsage {
  readonly cpuSeconds: number
  readonly residentBytes: number
}

/** How an informer tells of its objects; the kinds differ in what dashboards call them. */
interface Watched {
  on(handlers: {
    added(object: { kind?: string }): void
    updated(object: { kind?: string }): void
    deleted(object: { kind?: string }): void
  }): unknown
}

export class ControlPlaneMetrics {
  readonly registry = new MetricsRegistry()
  readonly ca: CaMetrics
  readonly xds: XdsMetrics
  readonly keySets: KeySetMetrics

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
    this.xds = xdsMetrics(registry)
    const fetches = (outcome: string) =>
      registry
        .counter(`pilot_jwks_resolver_network_fetch_${outcome}_total`, 'Key sets asked for.')
        .child()
    const [success, fail] = [fetches('success'), fetches('fail')]
    this.keySets = { fetched: () => success.inc(), failed: () => fail.inc() }
  }

  /** Sizes that are read at each scrape, and what changes in the mesh. */
  observe(
    source: MeshSource,
    options: {
      readonly startedMs: number
      readonly nowMs: () => number
      readonly usage: () => ProcessUsage
    },
  ): void {
    const { registry } = this
    const gauge = (name: string, help: string) => registry.gauge(name, help).child()
    const services = gauge('pilot_services', 'Services known.')
    const virtualServices = gauge('pilot_virt_services', 'VirtualServices known.')
    const views = gauge('weft_views', 'Different configurations of connected L7 proxies.')
    const uptime = gauge('istiod_uptime_seconds', 'Seconds since the start.')
    const resident = gauge('process_resident_memory_bytes', 'Memory of the process.')
    const cpu = registry.counter('process_cpu_seconds_total', 'CPU of the process.').child()
    registry
      .gauge('istiod_managed_clusters', 'Clusters read.', { labels: ['cluster_type'] })
      .child('local')
      .set(1)
    let cpuSeconds = 0
    registry.onCollect(() => {
      services.set(source.snapshot.services.size)
      virtualServices.set(source.snapshot.objects.VirtualService.size)
      views.set(source.viewStatistics.views)
      uptime.set((options.nowMs() - options.startedMs) / 1000)
      const used = options.usage()
      resident.set(used.residentBytes)
      cpu.inc(used.cpuSeconds - cpuSeconds)
      cpuSeconds = used.cpuSeconds
    })
    const updates = registry.counter('pilot_inbound_updates', 'Changes of the mesh.', {
      labels: ['type'],
    })
    source.onMeshChange((change) => {
      for (const type of updateTypes(change)) updates.child(type).inc()
    })
  }

  /** Events of the API server. */
  watch(name: 'cfg' | 'reg', informers: readonly Watched[]): void {
    const events = this.registry.counter(`pilot_k8s_${name}_events`, 'Events of Kubernetes.', {
      labels: ['type', 'event'],
    })
    const count = (event: string) => (object: { kind?: string }) =>
      events.child(object.kind ?? 'unknown', event).inc()
    for (const informer of informers) {
      informer.on({ added: count('add'), updated: count('update'), deleted: count('delete') })
    }
  }
}

function updateTypes({ touched, snapshot }: MeshChange): Set<string> {
  const types = new Set<string>()
  for (const key of touched.services) types.add(snapshot.services.has(key) ? 'svc' : 'svcdelete')
  if (touched.workloads.size > 0 || touched.endpoints.size > 0) types.add('eds')
  if (types.size === 0) types.add('config')
  return types
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
