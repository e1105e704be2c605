/** What the validation webhook counts, under Istio's names. */
import type { MetricsRegistry } from '../metrics/index.ts'

export interface ReviewedResource {
  readonly group?: string
  readonly version?: string
  readonly resource?: string
}

export interface WebhookMetrics {
  passed(resource: ReviewedResource): void
  failed(resource: ReviewedResource, reason: string): void
  httpError(status: number): void
  configUpdated(): void
  configFailed(reason: string): void
}

export function webhookMetrics(registry: MetricsRegistry): WebhookMetrics {
  const identity = ['group', 'version', 'resource']
  const passed = registry.counter('galley_validation_passed', 'Resources that are valid.', {
    labels: identity,
  })
  const failed = registry.counter('galley_validation_failed', 'Resources that are refused.', {
    labels: [...identity, 'reason'],
  })
  const errors = registry.counter('galley_validation_http_error', 'Calls that are no reviews.', {
    labels: ['status'],
  })
  const updates = registry
    .counter('galley_validation_config_updates', 'Updates of webhook configurations.')
    .child()
  const failures = registry.counter(
    'galley_validation_config_update_error',
    'Updates of webhook configurations that failed.',
    { labels: ['reason'] },
  )
  // Labels come from whoever calls; only the kinds that exist make series.
  const names = ({ group = '', version = '', resource = '' }: ReviewedResource): string[] =>
    group.endsWith('.istio.io') ? [group, version, resource] : ['', '', '']
  return {
    passed: (resource) => passed.child(...names(resource)).inc(),
    failed: (resource, reason) => failed.child(...names(resource), reason).inc(),
    httpError: (status) => errors.child(String(status)).inc(),
    configUpdated: () => updates.inc(),
    configFailed: (reason) => failures.child(reason).inc(),
  }
}
