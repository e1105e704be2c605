/**
 * Sends one request to an upstream and its answer back. Nothing of the body is read before a
 * connection stands, so that a refused connection can be retried elsewhere without buffering.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type Clock, canonicalIp, errnoOf, type Timer } from '../base/index.ts'
import type { Exchange } from './exchange.ts'
import { downstreamHeaders, upstreamHeaders } from './headers.ts'
import type { ClusterConfig, Endpoint, RouteAction } from './types.ts'
import { keyOf, type UpstreamPool } from './upstream.ts'

type ForwardAction = Extract<RouteAction, { kind: 'forward' }>

export interface ForwardOptions {
  readonly exchange: Exchange
  readonly action: ForwardAction
  readonly cluster: ClusterConfig
  readonly endpoints: readonly Endpoint[]
  readonly pool: UpstreamPool
  readonly clock: Clock
  readonly attemptHeader: boolean
}

const resetDetails = 'upstream_reset_before_response_started'
const resetPrefix = 'upstream connect error or disconnect/reset before headers. reset reason: '

export class Forward {
  readonly #options: ForwardOptions
  readonly #tried = new Set<string>()
  #attempts = 0
  #done = false
  #timer: Timer | undefined
  #upstream: ClientRequest | undefined

  constructor(options: ForwardOptions) {
    this.#options = options
  }

  start(): void {
    const { exchange, action, clock } = this.#options
    if (action.timeoutMs > 0) {
      this.#timer = clock.after(action.timeoutMs, () => {
        this.#fail({
          status: 504,
          flag: 'UT',
          details: 'response_timeout',
          body: 'upstream request timeout',
        })
      })
    }
    exchange.response.on('close', () => {
      this.#timer?.cancel()
      if (exchange.response.writableFinished) return
      if (!this.#done) {
        exchange.record.flag = 'DC'
        exchange.record.details = 'downstream_remote_disconnect'
      }
      this.#upstream?.destroy()
    })
    this.#attempt()
  }

  #attempt(): void {
    const { exchange, cluster, endpoints, pool } = this.#options
    const endpoint = pool.choose(cluster, endpoints, this.#tried)
    if (endpoint === undefined) {
      this.#fail({
        status: 503,
        flag: 'UH',
        details: 'no_healthy_upstream',
        body: 'no healthy upstream',
      })
      return
    }
    this.#attempts++
    this.#tried.add(keyOf(endpoint))
    exchange.record.upstreamHost = keyOf(endpoint)
    exchange.record.upstreamCluster = cluster.name
    const upstream = this.#open(endpoint)
    this.#upstream = upstream
    const end = pool.begin(endpoint)
    upstream.on('close', end)
    this.#watch(upstream)
  }

  #open(endpoint: Endpoint): ClientRequest {
    const { exchange, cluster, pool, attemptHeader } = this.#options
    const { request, listener, record } = exchange
    const chunked = request.headers['transfer-encoding'] !== undefined
    const headers = upstreamHeaders(request.rawHeaders, record.requestId, {
      clientAddress: exchange.clientAddress,
      useRemoteAddress: listener.useRemoteAddress,
      scheme: 'http',
      attempt: attemptHeader ? this.#attempts : undefined,
      chunked,
    })
    // Without a length Node would announce a body of unknown size for methods that may have one.
    if (!exchange.hasBody && !chunked && request.headers['content-length'] === undefined) {
      if (!bodiless.has(request.method ?? '')) headers.push('content-length', '0')
    }
    return httpRequest({
      agent: pool.agent(cluster.name),
      host: endpoint.address,
      port: endpoint.port,
      method: request.method,
      path: record.path,
      headers,
      setHost: false,
    })
  }

  #watch(upstream: ClientRequest): void {
    const { exchange, cluster, clock } = this.#options
    let connected = false
    let connectTimer: Timer | undefined
    const onConnected = (socket: Socket): void => {
      connected = true
      connectTimer?.cancel()
      exchange.record.upstreamLocal = `${canonicalIp(socket.localAddress ?? '')}:${socket.localPort ?? 0}`
      this.#sendBody(upstream)
    }
    upstream.on('socket', (socket) => {
      if (!socket.connecting) return onConnected(socket)
      connectTimer = clock.after(cluster.connectTimeoutMs, () => upstream.destroy(connectTimeout))
      socket.once('connect', () => onConnected(socket))
      return undefined
    })
    upstream.on('response', (response) => this.#answer(response))
    upstream.on('information', (info) => {
      if (info.statusCode === 103)
        exchange.response.writeEarlyHints({ link: info.headers.link ?? '' })
    })
    upstream.on('error', (error) => {
      connectTimer?.cancel()
      if (this.#done || upstream !== this.#upstream) return
      this.#broken(error, connected, upstream.reusedSocket)
    })
  }

  #sendBody(upstream: ClientRequest): void {
    const { exchange } = this.#options
    if (!exchange.hasBody) {
      upstream.end()
      return
    }
    exchange.request.on('data', (chunk: Buffer) => (exchange.record.bytesReceived += chunk.length))
    exchange.request.pipe(upstream)
  }

  /** The connection failed, or ended before the answer began. */
  #broken(error: Error, connected: boolean, reused: boolean): void {
    const { exchange, action } = this.#options
    const mayRetry = this.#attempts <= action.retries && !exchange.response.headersSent
    if (mayRetry && !connected && action.retriesConnectFailures) return this.#attempt()
    // An idle connection that the server closed just now: it has seen nothing of the request.
    if (mayRetry && reused && !exchange.hasBody && errnoOf(error) === 'ECONNRESET') {
      this.#tried.clear()
      return this.#attempt()
    }
    if (connected) {
      this.#fail({
        status: 503,
        flag: 'UC',
        details: `${resetDetails}{connection_termination}`,
        body: `${resetPrefix}connection termination`,
      })
      return undefined
    }
    const timedOut = error === connectTimeout
    const why = errnoOf(error) ?? error.message
    const cause = timedOut
      ? 'connection timeout'
      : `remote connection failure, transport failure reason: delayed connect error: ${why}`
    this.#fail({
      status: 503,
      flag: 'UF',
      details: `${resetDetails}{${timedOut ? 'connection_timeout' : 'remote_connection_failure'}}`,
      body: `${resetPrefix}${cause}`,
      failure: why,
    })
    return undefined
  }

  #answer(upstream: IncomingMessage): void {
    const { exchange } = this.#options
    const { response, record, listener } = exchange
    this.#done = true
    record.upstreamMs = exchange.elapsedMs
    record.status = upstream.statusCode ?? 502
    const headers = downstreamHeaders(upstream.rawHeaders, listener.serverName, record.upstreamMs)
    response.writeHead(record.status, upstream.statusMessage, headers)
    upstream.on('data', (chunk: Buffer) => (record.bytesSent += chunk.length))
    upstream.on('end', () => {
      this.#timer?.cancel()
      if (upstream.rawTrailers.length > 0) response.addTrailers(pairs(upstream.rawTrailers))
    })
    upstream.on('error', () => {
      // The answer broke off in the middle: the client must see that it is not complete.
      record.flag = 'UC'
      record.details = 'upstream_reset_after_response_started{connection_termination}'
      response.destroy()
    })
    upstream.pipe(response)
  }

  #fail(reply: Parameters<Exchange['reply']>[0]): void {
    this.#done = true
    this.#timer?.cancel()
    const upstream = this.#upstream
    this.#upstream = undefined
    this.#options.exchange.reply(reply)
    upstream?.destroy()
  }
}

const bodiless: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
])

const connectTimeout = new Error('connection timeout')

function pairs(raw: readonly string[]): [string, string][] {
  const result: [string, string][] = []
  for (let index = 0; index + 1 < raw.length; index += 2) {
    result.push([raw[index] ?? '', raw[index + 1] ?? ''])
  }
  return result
}
