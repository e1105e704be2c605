/** The standard metric of gateways. The full label set comes with peer metadata; what is not known says so. */
import type { CounterChild, Family } from '../metrics/index.ts'
import { MetricsRegistry } from '../metrics/index.ts'
import type { AccessRecord } from './access-log.ts'

const labels = [
  'reporter',
  'source_workload',
  'source_workload_namespace',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'request_protocol',
  'response_code',
  'response_flags',
  'connection_security_policy',
] as const

export interface GatewayIdentity {
  readonly workload: string
  readonly namespace: string
}

export class RequestMetrics {
  readonly registry = new MetricsRegistry()
  readonly #requests: Family<CounterChild>
  readonly #identity: GatewayIdentity

  constructor(identity: GatewayIdentity) {
    this.#identity = identity
    this.#requests = this.registry.counter('istio_requests_total', 'Requests.', { labels })
  }

  count(record: AccessRecord): void {
    const host = record.upstreamCluster?.split('|').at(-1) ?? 'unknown'
    const [name = 'unknown', namespace = 'unknown'] = host.split('.')
    const known = host !== 'unknown'
    this.#requests
      .child(
        'source',
        this.#identity.workload,
        this.#identity.namespace,
        host,
        known ? name : 'unknown',
        known ? namespace : 'unknown',
        'http',
        String(record.status),
        record.flag,
        'unknown',
      )
      .inc()
  }
}
