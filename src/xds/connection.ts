/**
 * One delta stream of one proxy. Requests change what is watched; sending is pulled: whenever the
 * previous message has left, the next watch that lacks something is asked. At most one message is
 * under way, so a proxy that reads slowly gets fewer and newer ones.
 */
import type { Clock, Logger } from '../base/index.ts'
import { GrpcError, grpcStatus, type ServerStream } from '../grpc/index.ts'
import { type DeltaDiscoveryRequest, typeUrl as urls } from '../proto/index.ts'
import type { ProxyNode, ResourceSource } from './contract.ts'
import { type Body, encodeResponse } from './encode.ts'
import type { XdsLimits } from './limits.ts'
import type { XdsMetrics } from './metrics.ts'
import { NamedWatch } from './named-watch.ts'
import { type AuthenticatedPeer, checkNode, parseNode } from './node.ts'
import type { Views } from './view.ts'
import { type Versions, type Watch, WildcardWatch } from './watch.ts'

export type DeltaStream = ServerStream<DeltaDiscoveryRequest, Uint8Array>

/** A row of the connection table, for `/debug/syncz` and the like. */
export interface ConnectionInfo {
  readonly id: string
  readonly node: ProxyNode
  readonly address: string
  /** Milliseconds since the epoch. */
  readonly connectedAt: number
  readonly types: readonly TypeInfo[]
}

export interface TypeInfo {
  readonly typeUrl: string
  readonly wildcard: boolean
  /** Names subscribed one by one. */
  readonly names: number
  readonly nonceSent: string
  readonly nonceAcked: string
  readonly versionSent: string
  readonly versionAcked: string
  /** The last rejection, until the next acknowledgement. */
  readonly error: string | undefined
}

interface State {
  readonly watch: Watch
  nonceSent: string
  nonceAcked: string
  versionSent: string
  versionAcked: string
  error: string | undefined
}

export interface ConnectionContext {
  readonly source: ResourceSource
  readonly views: Views
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: XdsLimits
  readonly metrics: XdsMetrics
  /** The revision up to which views and watches were told. */
  revision(): number
}

/** The order in which a proxy needs them: an endpoint before the route that leads to it. */
const pushOrder: readonly string[] = [
  urls.cluster,
  urls.endpoint,
  urls.listener,
  urls.route,
  urls.secret,
  urls.address,
  urls.workload,
  urls.authorization,
]

export class Connection {
  readonly id: string
  readonly connectedAt: number
  readonly #stream: DeltaStream
  readonly #peer: AuthenticatedPeer
  readonly #context: ConnectionContext
  #states: Map<string, State> = new Map()
  #node: ProxyNode | undefined
  #nonces = 0
  #sending = false
  #closed = false

  constructor(
    id: string,
    stream: DeltaStream,
    peer: AuthenticatedPeer,
    context: ConnectionContext,
  ) {
    this.id = id
    this.#stream = stream
    this.#peer = peer
    this.#context = context
    this.connectedAt = context.clock.now()
    stream.onMessage((request) => this.#guard(() => this.#receive(request)))
  }

  /** Undefined before the first request. */
  info(): ConnectionInfo | undefined {
    if (this.#node === undefined) return undefined
    return {
      id: `${this.#node.id}-${this.id}`,
      node: this.#node,
      address: this.#stream.context.peer.address,
      connectedAt: this.connectedAt,
      types: [...this.#states].map(([typeUrl, { watch, ...state }]) => ({
        typeUrl,
        wildcard: watch.wildcard,
        names: watch.names,
        ...state,
      })),
    }
  }

  /** Tells of a round of changes, and sends what follows from it. */
  changed(names: ReadonlyMap<string, ReadonlySet<string> | '*'>): void {
    for (const [typeUrl, { watch }] of this.#states) {
      const touched = names.get(typeUrl)
      if (touched !== undefined) watch.changed(touched)
    }
    this.#pump()
  }

  /** Ends the stream with OK; a proxy reconnects at once. */
  end(): void {
    this.#stream.end()
  }

  #receive(request: DeltaDiscoveryRequest): void {
    if (this.#node === undefined) {
      const node = parseNode(request.node, this.#peer, this.#stream.context.header('clusterid'))
      checkNode(node)
      this.#node = node
      this.#context.logger.info('a proxy connected', { node: node.id, identity: node.identity })
    }
    const { typeUrl } = request
    const state = this.#states.get(typeUrl)
    if (state === undefined) this.#begin(request, this.#node)
    else {
      this.#settle(state, request, this.#node)
      this.#resubscribe(state, request, this.#node)
    }
    this.#pump()
  }

  /** The first request of a type on this stream. */
  #begin(request: DeltaDiscoveryRequest, proxy: ProxyNode): void {
    const { limits } = this.#context
    const { typeUrl, resourceNamesSubscribe: names } = request
    if (this.#states.size >= limits.typesPerConnectionMax) {
      throw new GrpcError(
        grpcStatus.resourceExhausted,
        `more than ${limits.typesPerConnectionMax} types on a stream`,
      )
    }
    const wild = names.length === 0 || names.includes('*')
    const wildcard = wild && !request.resourceNamesUnsubscribe.includes('*')
    const watch = this.#watch(typeUrl, proxy, wildcard, request.initialResourceVersions)
    this.#states.set(typeUrl, {
      watch,
      nonceSent: '',
      nonceAcked: '',
      versionSent: '',
      versionAcked: '',
      error: undefined,
    })
    this.#states = new Map([...this.#states].sort(([one], [two]) => rank(one) - rank(two)))
    this.#subscribe(watch, names, proxy)
    watch.unsubscribe(request.resourceNamesUnsubscribe)
  }

  #watch(typeUrl: string, proxy: ProxyNode, wildcard: boolean, initial: Versions): Watch {
    const { source, views } = this.#context
    const options = { source, typeUrl, proxy, initial }
    return wildcard
      ? new WildcardWatch(options, views, this.#context.revision())
      : new NamedWatch(options)
  }

  /** An acknowledgement or rejection of the last response; a stale nonce says nothing. */
  #settle(state: State, request: DeltaDiscoveryRequest, proxy: ProxyNode): void {
    if (request.responseNonce === '' || request.responseNonce !== state.nonceSent) return
    const { logger, metrics, limits } = this.#context
    if (request.errorDetail === undefined) {
      state.nonceAcked = state.nonceSent
      state.versionAcked = state.versionSent
      state.error = undefined
      return
    }
    state.error = request.errorDetail.message.slice(0, limits.peerTextMax)
    metrics.nacked(request.typeUrl, proxy.id)
    logger.warn('a proxy rejected resources', {
      node: proxy.id,
      type: request.typeUrl,
      error: state.error,
    })
  }

  #resubscribe(state: State, request: DeltaDiscoveryRequest, proxy: ProxyNode): void {
    const { typeUrl, resourceNamesSubscribe, resourceNamesUnsubscribe } = request
    const add = resourceNamesSubscribe.includes('*')
    const drop = resourceNamesUnsubscribe.includes('*')
    const wildcard = drop ? false : add || state.watch.wildcard
    let { watch } = state
    if (wildcard !== watch.wildcard) {
      watch.close()
      watch = this.#watch(typeUrl, proxy, wildcard, {})
      this.#states.set(typeUrl, { ...state, watch })
    }
    this.#subscribe(watch, resourceNamesSubscribe, proxy)
    watch.unsubscribe(resourceNamesUnsubscribe)
  }

  #subscribe(watch: Watch, names: readonly string[], proxy: ProxyNode): void {
    const { limits } = this.#context
    if (watch.names + names.length > limits.namesPerConnectionMax) {
      throw new GrpcError(
        grpcStatus.resourceExhausted,
        `${proxy.id} subscribes to more than ${limits.namesPerConnectionMax} names`,
      )
    }
    watch.subscribe(names.filter((name) => name !== '*'))
  }

  #pump(): void {
    if (this.#sending || this.#closed || this.#node === undefined) return
    for (const [typeUrl, state] of this.#states) {
      const body = state.watch.take()
      if (body === undefined) continue
      this.#sending = true
      this.#send(typeUrl, state, body, this.#node).then(
        () => {
          this.#sending = false
          this.#guard(() => this.#pump())
        },
        (error: unknown) => this.#stream.fail(error),
      )
      return
    }
  }

  async #send(typeUrl: string, state: State, body: Body, proxy: ProxyNode): Promise<void> {
    const { clock, metrics, logger, revision } = this.#context
    const version = String(revision())
    const nonce = `${version}-${this.id}-${(++this.#nonces).toString(36)}`
    const message = encodeResponse(body, { typeUrl, version, nonce })
    state.nonceSent = nonce
    state.versionSent = version
    const began = clock.monotonic()
    const { resources, removed } = body
    logger.debug('pushing', { node: proxy.id, type: typeUrl, resources, removed, nonce })
    if (!(await this.#stream.send(message))) return
    metrics.pushed({
      typeUrl,
      proxyType: proxy.type,
      bytes: message.length,
      resources,
      removed,
      sendMs: clock.monotonic() - began,
    })
  }

  /** Runs what a request triggers; a failure ends this stream only. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      const { logger, metrics } = this.#context
      if (error instanceof GrpcError) {
        metrics.refused(error.status)
        logger.warn('a stream was ended', {
          from: this.#stream.context.peer.address,
          reason: error.message,
        })
      } else
        logger.error('serving a stream failed', { error: String((error as Error).stack ?? error) })
      this.#stream.fail(error)
      this.close()
    }
  }

  /** Lets go of what it watches; called when the stream is over. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const { watch } of this.#states.values()) watch.close()
    this.#context.logger.debug('a proxy went', { node: this.#node?.id })
  }
}

function rank(typeUrl: string): number {
  const index = pushOrder.indexOf(typeUrl)
  return index < 0 ? pushOrder.length : index
}
