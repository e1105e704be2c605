/**
 * The incremental xDS client: one stream for all types, reconnecting for ever. While there is no
 * connection everything keeps its last state. Behaviour as of Istio's node proxy (ambient 1.1-1.3).
 */
import { Backoff, type Component, type Timer, toError } from '../base/index.ts'
import {
  type ClientStream,
  callHeaders,
  GrpcChannel,
  grpcStatus,
  type StreamEnd,
  statusName,
} from '../grpc/index.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../proto/index.ts'
import { limits } from './limits.ts'
import { Subscription } from './subscription.ts'
import type { DeltaClientOptions } from './types.ts'

export interface DeltaClient extends Component {
  /** Resolves when the first response of every wildcard type was acknowledged. */
  readonly ready: Promise<void>
  readonly connected: boolean
  /**
   * Asks for one resource of an on-demand type, by name or alias. Resolves when the control plane
   * has answered, also when there is no such resource; waits through reconnections.
   */
  demand(typeUrl: string, name: string): Promise<void>
}

/** `start` begins connecting and returns; `ready` tells when the state is there. */
export function createDeltaClient(options: DeltaClientOptions): DeltaClient {
  return new Client(options)
}

type Stream = ClientStream<DeltaDiscoveryRequest | Uint8Array, DeltaDiscoveryResponse>

class Client implements DeltaClient {
  readonly ready: Promise<void>
  readonly #options: DeltaClientOptions
  readonly #channel: GrpcChannel
  readonly #backoff: Backoff
  readonly #subscriptions = new Map<string, Subscription>()
  /** Wildcard types without an acknowledged response so far. */
  readonly #expected: Set<string>
  #becomeReady: () => void = () => {}
  #stream: Stream | undefined
  #answered = false
  #running = false
  #timer: Timer | undefined
  /** Until then, or the first answer, failing to connect is only information. */
  #quietUntilMs = 0

  constructor(options: DeltaClientOptions) {
    const { serverName, random, types, logger } = options
    this.#options = options
    this.#channel = new GrpcChannel({
      address: options.address,
      ...(serverName !== undefined && { serverName }),
      roots: options.rootCa,
      headers: () =>
        callHeaders({
          token: options.token,
          clusterId: options.clusterId,
          ...(options.headers && { extra: options.headers }),
        }),
    })
    this.#backoff = new Backoff({
      initialMs: limits.backoffInitialMs,
      maxMs: limits.backoffMaxMs,
      ...(random && { random }),
    })
    for (const type of types) this.#subscriptions.set(type.typeUrl, new Subscription(type, logger))
    this.#expected = new Set(types.filter((type) => type.wildcard).map((type) => type.typeUrl))
    this.ready = new Promise((resolve) => (this.#becomeReady = resolve))
    if (this.#expected.size === 0) this.#becomeReady()
  }

  get connected(): boolean {
    return this.#stream !== undefined && this.#answered
  }

  async start(): Promise<void> {
    this.#running = true
    this.#quietUntilMs = this.#options.clock.monotonic() + limits.startQuietMs
    this.#connect()
  }

  async stop(): Promise<void> {
    this.#running = false
    this.#timer?.cancel()
    this.#stream?.cancel()
    this.#stream = undefined
    this.#channel.close()
  }

  demand(typeUrl: string, name: string): Promise<void> {
    const subscription = this.#subscriptions.get(typeUrl)
    if (subscription === undefined)
      return Promise.reject(new TypeError(`${typeUrl} is not subscribed`))
    return subscription.demand(name, () => {
      this.#stream?.send(
        create(DeltaDiscoveryRequestSchema, { typeUrl, resourceNamesSubscribe: [name] }),
      )
    })
  }

  #connect(): void {
    const { logger } = this.#options
    let stream: Stream
    try {
      // A fresh connection each time: other replicas get their share, new roots are used.
      this.#channel.reset()
      stream = this.#channel.bidi(AggregatedDiscoveryService.method.deltaAggregatedResources)
    } catch (error) {
      this.#again(toError(error).message)
      return
    }
    this.#stream = stream
    this.#answered = false
    stream.onMessage((response) => {
      if (stream === this.#stream) this.#receive(stream, response)
    })
    stream.onEnd((end) => {
      if (stream === this.#stream) this.#lost(end)
    })
    logger.debug('connecting to the control plane', { address: this.#options.address })
    for (const subscription of this.#subscriptions.values()) this.#sendInitial(stream, subscription)
  }

  #sendInitial(stream: Stream, subscription: Subscription): void {
    const { node } = this.#options
    const { typeUrl, wildcard } = subscription.type
    stream.send(
      create(DeltaDiscoveryRequestSchema, {
        node: { id: node.id, metadata: { ...node.metadata } },
        typeUrl,
        initialResourceVersions: subscription.initialVersions(),
        // Both lists name the wildcard: subscribed to nothing. An empty list is the wildcard.
        resourceNamesSubscribe: wildcard ? [] : ['*'],
        resourceNamesUnsubscribe: wildcard ? [] : ['*'],
      }),
    )
  }

  #receive(stream: Stream, response: DeltaDiscoveryResponse): void {
    const { logger, onConnected } = this.#options
    if (!this.#answered) {
      this.#answered = true
      this.#quietUntilMs = 0
      this.#backoff.reset()
      onConnected?.()
    }
    const { typeUrl, nonce } = response
    const reasons = this.#subscriptions.get(typeUrl)?.apply(response) ?? []
    logger.debug('received a response', {
      type: typeUrl,
      resources: response.resources.length,
      removed: response.removedResources.length,
      rejected: reasons.length,
    })
    if (reasons.length === 0) {
      stream.send(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce }))
      if (this.#expected.delete(typeUrl) && this.#expected.size === 0) this.#becomeReady()
      return
    }
    const message = nackMessage(reasons)
    logger.warn('resources were rejected', {
      type: typeUrl,
      count: reasons.length,
      reasons: message,
    })
    stream.send(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl,
        responseNonce: nonce,
        errorDetail: { code: 0, message },
      }),
    )
  }

  #lost(end: StreamEnd): void {
    const answered = this.#answered
    this.#stream = undefined
    this.#answered = false
    const reason = `${statusName(end.status)}: ${end.message}`
    if (end.status === grpcStatus.ok && answered) {
      this.#options.onDisconnected?.(reason)
      this.#options.logger.debug('the control plane ended the stream; reconnecting')
      this.#schedule(0)
      return
    }
    if (isTransient(end)) this.#backoff.reset()
    this.#again(reason)
  }

  #again(reason: string): void {
    const delayMs = this.#backoff.next()
    this.#options.onDisconnected?.(reason)
    // A control plane that starts beside us is no news.
    const level = this.#options.clock.monotonic() < this.#quietUntilMs ? 'info' : 'warn'
    this.#options.logger[level](
      'no connection to the control plane; everything keeps its last state',
      { address: this.#options.address, reason, retryMs: Math.round(delayMs) },
    )
    this.#schedule(delayMs)
  }

  #schedule(delayMs: number): void {
    if (!this.#running) return
    this.#timer = this.#options.clock.after(delayMs, () => {
      if (this.#running) this.#connect()
    })
  }
}

/** Ends that say nothing against the server's health. */
function isTransient(end: StreamEnd): boolean {
  switch (end.status) {
    case grpcStatus.unknown:
    case grpcStatus.cancelled:
    case grpcStatus.deadlineExceeded:
      return true
    case grpcStatus.unavailable:
      return /transport is closing|received prior goaway|connection dropped/i.test(end.message)
    default:
      return false
  }
}

function nackMessage(reasons: readonly string[]): string {
  const shown = reasons.slice(0, limits.nackReasonsMax)
  if (shown.length < reasons.length) shown.push(`${reasons.length - shown.length} more`)
  return shown.join('; ').slice(0, limits.nackCharactersMax)
}
