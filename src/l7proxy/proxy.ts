/** From a request to its route and upstream, and the record of how it ended. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Clock, sabotaged } from '../base/index.ts'
import { formatAccess } from './access-log.ts'
import { Exchange, type LocalReply } from './exchange.ts'
import { Forward } from './forward.ts'
import { findRoute, findVirtualHost, normalizePath } from './match.ts'
import type { ConfigStore } from './store.ts'
import type { ClusterConfig, ListenerConfig, Route, RouteAction } from './types.ts'
import { forwardUpgrade } from './upgrade.ts'
import type { UpstreamPool } from './upstream.ts'

export interface ProxyOptions {
  readonly store: ConfigStore
  readonly pool: UpstreamPool
  readonly clock: Clock
  /** From 0 to 1; splits weighted clusters. */
  readonly random: () => number
  /** Gets one line a request. */
  readonly accessLog: (line: string) => void
  readonly onRequest: (record: Exchange['record']) => void
}

interface Decision {
  readonly action: Extract<RouteAction, { kind: 'forward' }>
  readonly cluster: ClusterConfig
  readonly attemptHeader: boolean
}

export class HttpProxy {
  readonly #options: ProxyOptions

  constructor(options: ProxyOptions) {
    this.#options = options
  }

  handle(request: IncomingMessage, response: ServerResponse, listener: ListenerConfig): void {
    const { store, pool, clock } = this.#options
    const exchange = new Exchange(request, response, listener, clock)
    response.once('close', () => this.#finish(exchange))
    const decision = this.#decide(exchange)
    if ('status' in decision) {
      exchange.reply(decision)
      return
    }
    const { action, cluster, attemptHeader } = decision
    const endpoints = store.endpoints.get(cluster.endpointsName) ?? []
    new Forward({ exchange, action, cluster, endpoints, pool, clock, attemptHeader }).start()
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, listener: ListenerConfig): void {
    const { store, pool, clock } = this.#options
    const exchange = new Exchange(request, noResponse, listener, clock)
    const onEnd = (): void => this.#finish(exchange)
    const refuse = (status: number): void => {
      exchange.record.status = status
      socket.once('close', onEnd)
      socket.end(`HTTP/1.1 ${status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
    }
    const wanted = request.headers.upgrade?.toLowerCase()
    if (!listener.websocket || wanted !== 'websocket') return refuse(403)
    const decision = this.#decide(exchange)
    if ('status' in decision) return refuse(decision.status)
    const { cluster } = decision
    const endpoints = store.endpoints.get(cluster.endpointsName) ?? []
    const endpoint = pool.choose(cluster, endpoints, new Set())
    if (endpoint === undefined) return refuse(503)
    forwardUpgrade({ exchange, endpoint, socket, head, onEnd })
    return undefined
  }

  /** Where the request goes, or how it is answered here. */
  #decide(exchange: Exchange): Decision | LocalReply {
    const { store } = this.#options
    const { listener, request, record } = exchange
    if (request.httpVersion === '1.0') {
      return { status: 426, flag: 'DPE', details: 'low_version' }
    }
    if (record.authority === '') return { status: 400, flag: '-', details: 'missing_host_header' }
    const path = listener.normalizePath ? normalizePath(exchange.path) : exchange.path
    if (path === undefined) return { status: 400, flag: '-', details: 'path_normalization_failed' }
    // What was judged is what goes on: the upstream must not resolve the path differently.
    if (path !== exchange.path)
      record.path = exchange.query === '' ? path : `${path}?${exchange.query}`
    const table = store.routes.get(listener.routeName)
    const host = table === undefined ? undefined : findVirtualHost(table, record.authority)
    const input = { headers: exchange.headers, path, query: exchange.query }
    const hidden = host === undefined || sabotaged('gateway-routes')
    const route = hidden ? undefined : findRoute(host, input)
    if (host === undefined || route === undefined) {
      return { status: 404, flag: 'NR', details: 'route_not_found' }
    }
    return this.#follow(exchange, route, host.includeAttemptCount)
  }

  #follow(exchange: Exchange, route: Route, attemptHeader: boolean): Decision | LocalReply {
    const { store } = this.#options
    const { action } = route
    exchange.record.routeName = route.name
    if (action.kind === 'direct') {
      return { status: action.status, flag: '-', details: 'direct_response', body: action.body }
    }
    const name = this.#target(action)
    const cluster = name === undefined ? undefined : store.clusters.get(name)
    if (cluster === undefined) {
      return { status: action.notFoundStatus, flag: 'NC', details: 'cluster_not_found' }
    }
    return { action, cluster, attemptHeader }
  }

  #target(action: Extract<RouteAction, { kind: 'forward' }>): string | undefined {
    const [first, ...others] = action.targets
    if (others.length === 0) return first?.cluster
    let rest = this.#options.random() * action.totalWeight
    for (const { cluster, weight } of action.targets) {
      rest -= weight
      if (rest < 0) return cluster
    }
    return first?.cluster
  }

  #finish(exchange: Exchange): void {
    const { accessLog, onRequest } = this.#options
    exchange.record.durationMs = exchange.elapsedMs
    onRequest(exchange.record)
    if (exchange.listener.accessLog) accessLog(formatAccess(exchange.record))
  }
}

/** An upgrade has no response object; nothing on its path touches one. */
const noResponse = undefined as unknown as ServerResponse
