/**
 * Golden cases: `testdata/<case>/input.yaml` (a question, then Kubernetes objects) against
 * `expected.yaml`. `UPDATE_GOLDEN=1` rewrites expectations.
 */
import { join } from 'node:path'
import { accesslog, core, hcm } from '../../../proto/envoy.ts'
import { type Answers, goldenCases, readable } from '../policies/fixture.ts'
import type { Problem } from '../policies/problem.ts'
import type { ProviderCluster } from '../policies/providers.ts'
import { accessLogs, listenerAccessLogs } from './access-log.ts'
import { httpMetrics, tcpMetrics } from './metrics.ts'
import {
  endpointNames,
  headerPeerFilters,
  peerHeader,
  serviceNames,
  tunnelPeerFilters,
} from './peer.ts'
import { tracing } from './tracing.ts'

const folder = join(import.meta.dirname, 'testdata')

interface Found {
  readonly logs: readonly accesslog.AccessLog[]
  readonly clusters?: readonly ProviderCluster[]
  readonly problems: readonly Problem[]
}

const answers: Answers = {
  'access log': (given) => shown(accessLogs(given.reader, given, 'http'), log),
  'tcp access log': (given) => shown(accessLogs(given.reader, given, 'tcp'), log),
  'listener access log': (given) => shown(listenerAccessLogs(given.reader, given), log),
  metrics: (given) => shown(httpMetrics(given.reader, given), statistics),
  'tcp metrics': (given) => shown(tcpMetrics(given.reader, given), statistics),
  'metric names': (given) =>
    [...httpMetrics(given.reader, given).logs, ...tcpMetrics(given.reader, given).logs].flatMap(
      (entry) => Object.keys(statistics(entry).stats),
    ),
  tracing: (given) => {
    const { block, requestId, clusters, problems } = tracing(given.reader, given)
    return {
      block:
        block === undefined ? 'none' : readable(hcm.HttpConnectionManager_TracingSchema, block),
      ...(requestId === undefined
        ? {}
        : { requestId: readable(hcm.RequestIDExtensionSchema, requestId) }),
      ...rest(clusters, problems),
    }
  },
  peers: ({ reader, proxy, service }) => ({
    header: readable(core.HeaderValueOptionSchema, peerHeader(proxy)),
    inbound: headerPeerFilters().map((filter) => readable(hcm.HttpFilterSchema, filter)),
    tunnel: tunnelPeerFilters().map((filter) => readable(hcm.HttpFilterSchema, filter)),
    cluster: service === undefined ? {} : serviceNames(service),
    endpoints:
      service === undefined
        ? []
        : reader.workloadsOf(service).map((workload) => endpointNames(workload, reader.settings)),
  }),
}

function shown(found: Found, show: (entry: accesslog.AccessLog) => unknown): unknown {
  return { logs: found.logs.map(show), ...rest(found.clusters ?? [], found.problems) }
}

function rest(clusters: readonly ProviderCluster[], problems: readonly Problem[]): object {
  return {
    ...(clusters.length === 0 ? {} : { clusters: clusters.map(({ name }) => name) }),
    ...(problems.length === 0 ? {} : { problems }),
  }
}

function log(entry: accesslog.AccessLog): unknown {
  return readable(accesslog.AccessLogSchema, entry)
}

interface Stat {
  readonly stat: { readonly name: string; readonly tags?: readonly Tag[] }
}

interface Tag {
  readonly name: string
  readonly valueFormat: string
}

interface Statistics {
  readonly filter?: unknown
  readonly stats: Readonly<Record<string, unknown>>
}

/** The same tags are written once. */
function statistics(entry: accesslog.AccessLog): Statistics {
  // The logger's own JSON form.
  const { filter, typedConfig } = log(entry) as {
    filter?: unknown
    typedConfig: { counters?: Stat[]; histograms?: Stat[] }
  }
  const known = new Map<string, string>()
  const stats: Record<string, unknown> = {}
  for (const { stat, ...value } of [
    ...(typedConfig.counters ?? []),
    ...(typedConfig.histograms ?? []),
  ]) {
    const tags = Object.fromEntries((stat.tags ?? []).map((tag) => [tag.name, tag.valueFormat]))
    const text = JSON.stringify(tags)
    const same = known.get(text)
    stats[stat.name] = { ...value, tags: same === undefined ? tags : `as ${same}` }
    if (same === undefined) known.set(text, stat.name)
  }
  return { ...(filter === undefined ? {} : { filter }), stats }
}

goldenCases(folder, answers)
