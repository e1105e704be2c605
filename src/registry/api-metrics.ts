/** The registry's own metrics, under the names that dashboards of Kubernetes' API server ask for. */
import { readdirSync } from 'node:fs'
import type { Clock } from '../base/index.ts'
import { chooseFormat, contentTypes, expose, MetricsRegistry } from '../metrics/index.ts'
import type { Catalogue } from './catalogue.ts'
import type { Exchange } from './http/exchange.ts'
import { parseResourcePath, type RequestInfo } from './http/request-info.ts'
import { bucketIdOf } from './resource-type.ts'
import { verbOf } from './route.ts'
import type { ObjectStore } from './store/objects.ts'

export interface ApiMetricsOptions {
  readonly catalogue: Catalogue
  readonly store: ObjectStore
  readonly clock: Clock
  /** What `/version` says. */
  readonly version: Readonly<Record<string, string>>
}

const durationBounds = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45,
  60,
]
const subject = ['verb', 'group', 'version', 'resource', 'subresource', 'scope', 'component']
const component = 'apiserver'
const mutating = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
/** Subresources that are a connection rather than an answer. */
const connecting = new Set(['exec', 'attach', 'portforward', 'proxy', 'log'])

export class ApiMetrics {
  readonly #registry = new MetricsRegistry()
  readonly #options: ApiMetricsOptions
  readonly #requests
  readonly #durations
  readonly #inflight
  readonly #longRunning

  constructor(options: ApiMetricsOptions) {
    this.#options = options
    const registry = this.#registry
    this.#requests = registry.counter(
      'apiserver_request_total',
      'Requests by verb, resource and response code.',
      { labels: [...subject, 'dry_run', 'code'], expires: false },
    )
    this.#durations = registry.histogram(
      'apiserver_request_duration_seconds',
      'Seconds from request to the end of its answer; without watches and other streams.',
      { labels: [...subject, 'dry_run'], bounds: durationBounds, expires: false },
    )
    this.#inflight = registry.gauge(
      'apiserver_current_inflight_requests',
      'Requests that are being answered, without watches and other streams.',
      { labels: ['request_kind'], expires: false },
    )
    for (const kind of ['mutating', 'readOnly']) this.#inflight.child(kind)
    this.#longRunning = registry.gauge(
      'apiserver_longrunning_requests',
      'Watches and other streams that are open.',
      { labels: subject, expires: false },
    )
    this.#collected()
  }

  /** Counts a request from now until its answer has ended. */
  begin(exchange: Exchange): void {
    const startedAt = this.#options.clock.monotonic()
    const { method, path, response } = exchange
    let info: RequestInfo | undefined
    try {
      info = parseResourcePath(path)
    } catch {
      // A path that is refused has no resource.
    }
    const labels = this.#subject(exchange, info)
    const long = labels[0] === 'WATCH' || labels[0] === 'CONNECT'
    const gauge = long
      ? this.#longRunning.child(...labels)
      : this.#inflight.child(mutating.has(method) ? 'mutating' : 'readOnly')
    gauge.inc()
    response.once('close', () => {
      gauge.dec()
      const dryRun = exchange.query.get('dryRun') ?? ''
      this.#requests.child(...labels, dryRun, String(response.statusCode)).inc()
      if (long) return
      const seconds = (this.#options.clock.monotonic() - startedAt) / 1000
      this.#durations.child(...labels, dryRun).observe(seconds)
    })
  }

  /** Answers `/metrics`. */
  answer(exchange: Exchange): void {
    const format = chooseFormat(exchange.header('accept'))
    exchange.send(200, contentTypes[format], expose(this.#registry.families(), format))
  }

  /** Only names that exist become labels: a stranger's paths must not fill the memory. */
  #subject(exchange: Exchange, info: RequestInfo | undefined): string[] {
    const { catalogue } = this.#options
    const type = info === undefined ? undefined : catalogue.find(info.groupVersion, info.resource)
    if (info === undefined || type === undefined) {
      const verb = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(exchange.method)
        ? exchange.method
        : 'other'
      return [verb, '', '', '', '', '', component]
    }
    const { subresource = '', name, namespace } = info
    const known = type.subresources.includes(subresource) ? subresource : ''
    const scope =
      name !== undefined ? 'resource' : namespace === undefined ? 'cluster' : 'namespace'
    const verb = connecting.has(known) ? 'CONNECT' : methodVerb(exchange, info)
    return [verb, type.group, type.version, type.resource, known, scope, component]
  }

  /** What is cheaper to read at a scrape than to keep. */
  #collected(): void {
    const { catalogue, store, version } = this.#options
    const registry = this.#registry
    const objects = registry.gauge('apiserver_storage_objects', 'Stored objects by resource.', {
      labels: ['resource'],
      expires: false,
    })
    const build = { labels: ['git_version', 'platform'], expires: false }
    registry
      .gauge('kubernetes_build_info', 'What this server is.', build)
      .child(version['gitVersion'] ?? '', version['platform'] ?? '')
      .set(1)
    const cpu = registry.counter('process_cpu_seconds_total', 'Processor time used.').child()
    const memory = registry
      .gauge('process_resident_memory_bytes', 'Resident memory in bytes.')
      .child()
    const files = registry.gauge('process_open_fds', 'Open file descriptors.').child()
    const start = registry
      .gauge('process_start_time_seconds', 'Start of the process, in seconds since 1970.')
      .child()
    start.set(Math.round(Date.now() / 1000 - process.uptime()))
    registry.onCollect(() => {
      for (const groupVersion of catalogue.groupVersions()) {
        for (const type of catalogue.of(groupVersion)) {
          if (!type.verbs.includes('watch') || type.version !== type.storageVersion) continue
          if (type.group === 'events.k8s.io') continue
          const name = type.group === '' ? type.resource : `${type.resource}.${type.group}`
          objects.child(name).set(store.bucket(bucketIdOf(type)).size)
        }
      }
      const { user, system } = process.cpuUsage()
      cpu.value = (user + system) / 1e6
      memory.set(process.memoryUsage.rss())
      files.set(readdirSync('/proc/self/fd').length)
    })
  }
}

const methodVerbs: Readonly<Record<string, string>> = {
  create: 'POST',
  update: 'PUT',
}

function methodVerb(exchange: Exchange, info: RequestInfo): string {
  const verb = verbOf(exchange, info)
  if (verb === 'patch' && exchange.header('content-type')?.includes('apply-patch') === true) {
    return 'APPLY'
  }
  return methodVerbs[verb] ?? verb.toUpperCase()
}
