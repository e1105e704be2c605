/**
 * One ADS stream of one proxy. Requests change what is watched; sending is pulled: whenever the
 * previous message has left, the next watch that lacks something is asked. One message is under way at
 * a time, and of a type none before the last was acknowledged, so a slow proxy gets fewer and newer ones.
 */
import type { Clock, Logger, Timer } from '../base/index.ts'
import { GrpcError, grpcStatus, type ServerStream } from '../grpc/index.ts'
import {
  type DeltaDiscoveryRequest,
  type DiscoveryRequest,
  typeUrl as urls,
} from '../proto/index.ts'
import type { ConnectionInfo, TypeInfo } from './connection-info.ts'
import type { ProxyNode, ResourceSource } from './contract.ts'
import { type DebugAnswer, isDebugType } from './debug-type.ts'
import type { Dialect, Nonce } from './dialect.ts'
import { type Body, encodeBody, encodeHead, encodeState } from './encode.ts'
import type { XdsLimits } from './limits.ts'
import type { XdsMetrics } from './metrics.ts'
import { type AuthenticatedPeer, checkNode, parseNode } from './node.ts'
import { rank, stageOf } from './order.ts'
import type { Pushed, PushGate } from './push-gate.ts'
import type { Part } from './view.ts'
import type { Watch } from './watch.ts'

export type XdsRequest = DeltaDiscoveryRequest | DiscoveryRequest

/** What a connection uses of its stream. */
export type XdsStream<R> = Pick<
  ServerStream<R, Uint8Array | readonly Uint8Array[]>,
  'context' | 'onMessage' | 'onClose' | 'closed' | 'send' | 'end' | 'fail'
>

interface State {
  watch: Watch
  nonceSent: string
  nonceAcked: string
  /** Acknowledged or rejected. */
  nonceSettled: string
  versionSent: string
  versionAcked: string
  /** When the last response left, while it is not acknowledged. */
  unsettledSince: number | undefined
  error: string | undefined
}

export interface ConnectionContext {
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: XdsLimits
  readonly metrics: XdsMetrics
  readonly gate: PushGate
  readonly debug: DebugAnswer | undefined
  /** Who wants to know which proxies there are. */
  readonly source: Pick<ResourceSource, 'joined' | 'left'>
  /** Who answers, for `control_plane.identifier`. */
  readonly identifier: string
  /** The revision up to which views and watches were told. */
  revision(): number
}

export class Connection<R extends XdsRequest = XdsRequest> implements Pushed {
  readonly id: string
  readonly connectedAt: number
  readonly #stream: XdsStream<R>
  readonly #peer: AuthenticatedPeer
  readonly #dialect: Dialect<R>
  readonly #context: ConnectionContext
  #states: Map<string, State> = new Map()
  #node: ProxyNode | undefined
  #nonces = 0
  #sending = false
  #closed = false
  /** The oldest change that it has not got completely. */
  #dirtySince: number | undefined
  #pushedSince = false
  /** Endpoints of clusters that were sent and which the proxy has not named yet. */
  #awaited = new Set<string>()
  #awaitedSince = 0
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY

  constructor(
    id: string,
    stream: XdsStream<R>,
    peer: AuthenticatedPeer,
    dialect: Dialect<R>,
    context: ConnectionContext,
  ) {
    this.id = id
    this.#stream = stream
    this.#peer = peer
    this.#dialect = dialect
    this.#context = context
    this.connectedAt = context.clock.now()
    stream.onMessage((request) => this.#guard(() => this.#receive(request)))
  }

  /** Undefined before the first request. */
  info(): ConnectionInfo | undefined {
    const node = this.#node
    if (node === undefined) return undefined
    const types: TypeInfo[] = []
    for (const [typeUrl, { watch, unsettledSince: _, nonceSettled: __, ...state }] of this
      .#states) {
      types.push({ typeUrl, wildcard: watch.wildcard, names: watch.names, watch, ...state })
    }
    return {
      id: `${node.id}-${this.id}`,
      node,
      address: this.#stream.context.peer.address,
      connectedAt: this.connectedAt,
      protocol: this.#dialect.protocol,
      types,
    }
  }

  /** Tells of a round of changes, and sends what follows from it. */
  changed(names: ReadonlyMap<string, ReadonlySet<string> | '*'>, since: number): void {
    for (const [typeUrl, { watch }] of this.#states) {
      const touched = names.get(typeUrl)
      if (touched === undefined) continue
      watch.changed(touched)
      this.#dirtySince ??= since
    }
    if (this.#dirtySince !== undefined) this.#context.gate.enter(this)
  }

  /** Sends everything again, whether it has it or not. */
  restart(): void {
    for (const { watch } of this.#states.values()) watch.restart()
    this.#context.gate.enter(this)
  }

  /** Ends the stream with OK; a proxy reconnects at once. */
  end(): void {
    this.#stream.end()
  }

  /** Lets go of what it watches; called when the stream is over. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#context.gate.leave(this)
    for (const { watch } of this.#states.values()) watch.close()
    if (this.#node !== undefined) {
      this.#context.source.left?.(this.#node)
      this.#context.metrics.disconnected(this.#node)
    }
    this.#context.logger.debug('a proxy went', { node: this.#node?.id })
  }

  pump(): boolean {
    if (this.#sending || this.#closed || this.#node === undefined) return this.#sending
    const next = this.#next()
    if (next === undefined) {
      this.#settled()
      return false
    }
    const [typeUrl, state, body] = next
    void this.#send(typeUrl, state, body, this.#node)
    return true
  }

  /**
   * Make before break: listeners and routes wait until the clusters and endpoints which they may name are
   * acknowledged, and clusters are removed when that is acknowledged too.
   */
  #next(): [string, State, Body] | undefined {
    let made = !this.#awaitsEndpoints()
    let moved = true
    for (const [typeUrl, state] of this.#states) {
      const stage = stageOf(typeUrl)
      if (stage !== 'make' || made || state.watch.asked) {
        const body = this.#take(state, stage === 'first' ? 'present' : 'all')
        if (body !== undefined) return [typeUrl, state, body]
      }
      if (this.#unsettled(state)) {
        if (stage === 'first') made = false
        if (stage === 'make') moved = false
      }
    }
    if (!made || !moved) return undefined
    for (const [typeUrl, state] of this.#states) {
      if (stageOf(typeUrl) !== 'first') continue
      const body = this.#take(state, 'removed')
      if (body !== undefined) return [typeUrl, state, body]
    }
    return undefined
  }

  #take(state: State, part: Part): Body | undefined {
    return this.#unsettled(state) && !state.watch.asked ? undefined : state.watch.take(part)
  }

  #unsettled({ unsettledSince }: State): boolean {
    if (unsettledSince === undefined) return false
    const { clock, limits } = this.#context
    const leftMs = unsettledSince + limits.acknowledgeMs - clock.monotonic()
    if (leftMs <= 0) return false
    this.#lookAgainIn(leftMs)
    return true
  }

  /** A new cluster is of use when its endpoints are there, which the proxy asks for after it got the cluster. */
  #awaitsEndpoints(): boolean {
    const watch = this.#states.get(urls.endpoint)?.watch
    if (this.#awaited.size === 0 || watch === undefined) return false
    for (const name of this.#awaited) if (watch.watches(name)) this.#awaited.delete(name)
    if (this.#awaited.size === 0) return false
    const { clock, limits } = this.#context
    const leftMs = this.#awaitedSince + limits.subscribeMs - clock.monotonic()
    if (leftMs > 0) this.#lookAgainIn(leftMs)
    else this.#awaited.clear()
    return leftMs > 0
  }

  /** Somebody may wait for what is overdue then. */
  #lookAgainIn(delayMs: number): void {
    const { clock, gate } = this.#context
    const at = clock.monotonic() + delayMs
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    const look = (): void => {
      this.#timerAt = Number.POSITIVE_INFINITY
      gate.enter(this)
    }
    this.#timer = clock.after(delayMs, look, { background: true })
  }

  /** Nothing is left to send. */
  #settled(): void {
    if (this.#dirtySince === undefined) return
    for (const { unsettledSince } of this.#states.values()) if (unsettledSince !== undefined) return
    const { clock, metrics } = this.#context
    if (this.#pushedSince) metrics.converged(clock.monotonic() - this.#dirtySince)
    this.#dirtySince = undefined
    this.#pushedSince = false
  }

  #receive(request: R): void {
    const node = this.#node ?? this.#introduce(request)
    const { typeUrl } = request
    if (isDebugType(typeUrl)) return this.#answerDebug(request, node)
    const state = this.#states.get(typeUrl)
    if (state === undefined) this.#begin(request, node)
    else {
      const nonce = this.#settle(state, request, node)
      state.watch = this.#dialect.want(request, nonce, state.watch, node)
    }
    this.#context.gate.enter(this)
  }

  #introduce(request: R): ProxyNode {
    const { logger, metrics, source } = this.#context
    const node = parseNode(request.node, this.#peer, this.#stream.context.header('clusterid'))
    checkNode(node)
    this.#node = node
    source.joined?.(node)
    metrics.connected(node)
    logger.info('a proxy connected', {
      node: node.id,
      identity: node.identity,
      protocol: this.#dialect.protocol,
    })
    return node
  }

  /** The first request of a type on this stream, whatever nonce it has from an earlier one. */
  #begin(request: R, proxy: ProxyNode): void {
    const { limits, metrics } = this.#context
    const { typeUrl } = request
    if (this.#states.size >= limits.typesPerConnectionMax) {
      throw new GrpcError(
        grpcStatus.resourceExhausted,
        `more than ${limits.typesPerConnectionMax} types on a stream`,
      )
    }
    metrics.requested(typeUrl)
    this.#states.set(typeUrl, {
      watch: this.#dialect.want(request, 'first', undefined, proxy),
      nonceSent: '',
      nonceAcked: '',
      nonceSettled: '',
      versionSent: '',
      versionAcked: '',
      unsettledSince: undefined,
      error: undefined,
    })
    this.#states = new Map([...this.#states].sort(([one], [two]) => rank(one) - rank(two)))
  }

  /** Takes an acknowledgement or rejection of the last response; a stale nonce says nothing. */
  #settle(state: State, request: R, proxy: ProxyNode): Nonce {
    const { logger, metrics, limits } = this.#context
    const { responseNonce: nonce, typeUrl, errorDetail } = request
    if (nonce === '') return 'first'
    if (nonce !== state.nonceSent) {
      metrics.staleNonce(typeUrl)
      return 'stale'
    }
    if (nonce === state.nonceSettled) return 'again'
    state.nonceSettled = nonce
    state.unsettledSince = undefined
    if (errorDetail === undefined) {
      state.nonceAcked = nonce
      state.versionAcked = state.versionSent
      state.error = undefined
      return 'settles'
    }
    state.error = errorDetail.message.slice(0, limits.peerTextMax)
    metrics.nacked(typeUrl, proxy.id)
    logger.warn('a proxy rejected resources', { node: proxy.id, type: typeUrl, error: state.error })
    return 'settles'
  }

  /** Debug requests are answered once each; their acknowledgements say nothing. */
  #answerDebug(request: R, proxy: ProxyNode): void {
    const { debug, identifier, revision } = this.#context
    if (request.responseNonce !== '') return
    if (debug === undefined) {
      throw new GrpcError(grpcStatus.unimplemented, 'this control plane answers no debug requests')
    }
    const { typeUrl } = request
    const resources = debug({ typeUrl, names: this.#dialect.names(request), proxy })
    const { protocol } = this.#dialect
    const body = protocol === 'delta' ? encodeBody(resources, [], false) : encodeState(resources)
    const version = String(revision())
    const nonce = `${version}-${++this.#nonces}`
    const head = { typeUrl, version, nonce, controlPlane: identifier }
    void this.#stream.send([encodeHead(head, protocol), body.bytes])
  }

  async #send(typeUrl: string, state: State, body: Body, proxy: ProxyNode): Promise<void> {
    const { clock, gate, identifier, metrics, revision } = this.#context
    const { protocol } = this.#dialect
    const first = this.#nonces === 0
    const version = String(revision())
    const nonce = `${version}-${++this.#nonces}`
    state.nonceSent = nonce
    state.versionSent = version
    this.#sending = true
    this.#pushedSince = true
    if (body.endpoints.length > 0) this.#needEndpoints(body.endpoints)
    const controlPlane = first ? identifier : undefined
    const head = encodeHead({ typeUrl, version, nonce, controlPlane }, protocol)
    const began = clock.monotonic()
    state.unsettledSince = began
    const sent = await this.#stream.send([head, body.bytes])
    this.#sending = false
    gate.done(this)
    if (!sent) return
    if (state.unsettledSince === began) state.unsettledSince = clock.monotonic()
    metrics.pushed({
      typeUrl,
      proxyType: proxy.type,
      bytes: head.length + body.bytes.length,
      resources: body.resources,
      removed: body.removed,
      sendMs: clock.monotonic() - began,
    })
    gate.enter(this)
  }

  #needEndpoints(names: readonly string[]): void {
    const watch = this.#states.get(urls.endpoint)?.watch
    if (watch === undefined) return
    watch.again(names)
    for (const name of names) if (!watch.watches(name)) this.#awaited.add(name)
    this.#awaitedSince = this.#context.clock.monotonic()
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
}
