/** TCP proxies: what policies say about connections, then bytes to a cluster. */
import { tcpProxy } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Scope } from '../lookup/scope.ts'
import { tcpAuthorization } from '../policies/authorization.ts'
import { extensionFilters } from '../policies/extensions.ts'
import { networkFilter } from '../policies/filters.ts'
import { type StreamRule, tcpProxyOf } from '../routes/streams.ts'
import { accessLogs } from '../telemetry/access-log.ts'
import { tcpMetrics } from '../telemetry/metrics.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { durationField } from '../values.ts'
import type { ListenerContext, NetworkFilter } from './build.ts'

export interface TcpOptions {
  readonly scope: Scope
  readonly target: TelemetryTarget
  readonly port?: number
  /** Servers decide who may come in; a client's own proxy decides nothing. */
  readonly authorizes: boolean
}

/** To the destinations of a rule. */
export function ruleProxy(
  context: ListenerContext,
  options: TcpOptions & { readonly rule: Pick<StreamRule, 'targets'>; readonly statPrefix: string },
): NetworkFilter[] {
  return streamFilters(
    context,
    options,
    tcpProxyOf(options.scope, options.rule, options.statPrefix),
  )
}

/** To a cluster that no service stands behind. */
export function clusterProxy(
  context: ListenerContext,
  options: TcpOptions & {
    readonly cluster: string
    readonly statPrefix?: string
    readonly idleTimeout?: string
  },
): NetworkFilter[] {
  const { cluster, statPrefix = cluster, idleTimeout } = options
  const message = create(tcpProxy.TcpProxySchema, {
    statPrefix,
    clusterSpecifier: { case: 'cluster', value: cluster },
    ...durationField('idleTimeout', idleTimeout),
  })
  return streamFilters(context, options, message)
}

function streamFilters(
  { needs }: ListenerContext,
  { scope, target, port, authorizes }: TcpOptions,
  message: tcpProxy.TcpProxy,
): NetworkFilter[] {
  const { reader } = scope
  const logs = accessLogs(reader, target, 'tcp')
  const metrics = tcpMetrics(reader, target)
  const extensions = extensionFilters(reader, { ...target, port })
  needs.add(logs)
  needs.add(metrics)
  // HTTP extensions of the same objects are for other chains.
  const { AUTHN, AUTHZ, STATS, OTHER } = extensions.network
  const hasExtensions = [AUTHN, AUTHZ, STATS, OTHER].some((filters) => filters.length > 0)
  if (hasExtensions) needs.add({ resources: extensions.resources })
  const policies = authorizes ? tcpAuthorization(reader, target) : undefined
  if (policies !== undefined) needs.add(policies)
  message.accessLog = [...logs.logs, ...metrics.logs]
  if (metrics.logs.length > 0) {
    message.accessLogOptions = create(tcpProxy.TcpProxy_TcpAccessLogOptionsSchema, {
      flushAccessLogOnConnected: true,
    })
  }
  return [
    ...(policies?.custom ?? []),
    ...AUTHN,
    ...AUTHZ,
    ...(policies?.local ?? []),
    ...STATS,
    ...OTHER,
    networkFilter('envoy.filters.network.tcp_proxy', tcpProxy.TcpProxySchema, message),
  ]
}
