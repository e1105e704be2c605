/** `istio_dns_*`: what pods ask, and how the name servers behind answer. */

import { recordTypes } from '../../dns/index.ts'
import type { MetricsRegistry } from '../../metrics/index.ts'
import type { Workload } from '../state/types.ts'

const labels = [
  'request_query_type',
  'request_protocol',
  'source_canonical_service',
  'source_canonical_revision',
]
const bounds = [0.0005, 0.001, 0.01, 0.1, 1, 5]
const typeNames = new Map<number, string>(
  Object.entries(recordTypes).map(([name, type]) => [type, name]),
)

export interface DnsRequest {
  readonly type: number
  readonly transport: 'udp' | 'tcp'
  readonly client: Workload
}

export class DnsMetrics {
  readonly #requests
  readonly #forwarded
  readonly #failures
  readonly #durations

  constructor(registry: MetricsRegistry) {
    this.#requests = registry.counter('istio_dns_requests_total', 'Questions of pods.', { labels })
    this.#forwarded = registry.counter(
      'istio_dns_upstream_requests_total',
      'Questions passed on to name servers.',
      { labels },
    )
    this.#failures = registry.counter(
      'istio_dns_upstream_failures_total',
      'Questions that no name server answered.',
      { labels },
    )
    this.#durations = registry.histogram(
      'istio_dns_upstream_request_duration_seconds',
      'How long name servers took.',
      { labels, bounds },
    )
  }

  asked(request: DnsRequest): void {
    this.#requests.child(...values(request)).inc()
  }

  forwarded(request: DnsRequest): void {
    this.#forwarded.child(...values(request)).inc()
  }

  answered(request: DnsRequest, seconds: number): void {
    this.#durations.child(...values(request)).observe(seconds)
  }

  failed(request: DnsRequest): void {
    this.#failures.child(...values(request)).inc()
  }
}

function values({ type, transport, client }: DnsRequest): string[] {
  // Other types by one name: a client must not be able to make a series per number.
  return [typeNames.get(type) ?? 'other', transport, client.canonicalName, client.canonicalRevision]
}
