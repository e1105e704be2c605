/**
 * The delta ADS server: collects changes of the source into rounds, keeps the table of connections,
 * and decides who may connect. What a connection gets is in connection.ts, what it shares in view.ts.
 */
import { type Clock, type Component, type Logger, type Timer, toError } from '../base/index.ts'
import { type CallContext, GrpcError, type GrpcServer, grpcStatus } from '../grpc/index.ts'
import { AggregatedDiscoveryService } from '../proto/index.ts'
import { Connection, type ConnectionInfo, type DeltaStream } from './connection.ts'
import type { ResourceChange, ResourceSource } from './contract.ts'
import { defaultLimits, type XdsLimits } from './limits.ts'
import { noMetrics, type XdsMetrics } from './metrics.ts'
import type { AuthenticatedPeer } from './node.ts'
import { Views } from './view.ts'

/** Rejects with a GrpcError (UNAUTHENTICATED) when the caller is nobody. */
export type AuthenticatePeer = (context: CallContext) => Promise<AuthenticatedPeer>

export interface XdsServerOptions {
  readonly source: ResourceSource
  readonly authenticate: AuthenticatePeer
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<XdsLimits>
  readonly metrics?: XdsMetrics
  readonly random?: () => number
}

export interface XdsServer extends Component {
  /**
   * Adds the discovery service to a gRPC server, before that starts.
   * @param authenticate instead of the server's own, for a listener with other rules
   */
  register(server: GrpcServer, authenticate?: AuthenticatePeer): void
  /** Every proxy that is connected now. */
  connections(): ConnectionInfo[]
}

export function createXdsServer(options: XdsServerOptions): XdsServer {
  return new Server(options)
}

class Server implements XdsServer {
  readonly #options: XdsServerOptions
  readonly #limits: XdsLimits
  readonly #metrics: XdsMetrics
  readonly #views: Views
  readonly #connections = new Set<Connection>()
  readonly #pending = new Map<string, Set<string> | '*'>()
  #changes = 0
  #firstChangeAt = 0
  #timer: Timer | undefined
  #revision: number
  #unsubscribe: (() => void) | undefined
  #serial = 0
  #tokens: number
  #tokensAt: number
  #stopped = false

  constructor(options: XdsServerOptions) {
    this.#options = options
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#metrics = options.metrics ?? noMetrics
    this.#views = new Views(options.source, this.#limits.roundsMax)
    this.#revision = options.source.revision
    this.#tokens = this.#limits.connectionsPerSecond
    this.#tokensAt = options.clock.monotonic()
  }

  async start(): Promise<void> {
    const { source } = this.#options
    this.#revision = source.revision
    this.#unsubscribe = source.onChange((change) => this.#collect(change))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#unsubscribe?.()
    this.#timer?.cancel()
    for (const connection of this.#connections) connection.end()
  }

  connections(): ConnectionInfo[] {
    return [...this.#connections].flatMap((connection) => connection.info() ?? [])
  }

  register(server: GrpcServer, authenticate: AuthenticatePeer = this.#options.authenticate): void {
    server.registerBidi(AggregatedDiscoveryService.method.deltaAggregatedResources, (stream) => {
      this.#accept(stream, authenticate).catch((error: unknown) => {
        if (error instanceof GrpcError) this.#metrics.refused(error.status)
        else
          this.#options.logger.error('accepting a stream failed', { error: toError(error).message })
        stream.fail(error)
      })
    })
  }

  async #accept(stream: DeltaStream, authenticate: AuthenticatePeer): Promise<void> {
    const { source, clock, logger, random = Math.random } = this.#options
    this.#admit()
    const peer = await authenticate(stream.context)
    if (!source.ready || this.#stopped) {
      throw new GrpcError(grpcStatus.unavailable, 'the control plane is not ready yet')
    }
    if (stream.closed) return
    const id = String(++this.#serial)
    const connection = new Connection(id, stream, peer, {
      source,
      views: this.#views,
      clock,
      logger,
      limits: this.#limits,
      metrics: this.#metrics,
      revision: () => this.#revision,
    })
    this.#connections.add(connection)
    this.#metrics.connections(this.#connections.size)
    const ageMs = this.#limits.connectionAgeMs * (0.9 + 0.2 * random())
    const timer = clock.after(ageMs, () => connection.end(), { background: true })
    stream.onClose(() => {
      timer.cancel()
      connection.close()
      this.#connections.delete(connection)
      this.#metrics.connections(this.#connections.size)
    })
  }

  /** A bucket that fills with `connectionsPerSecond`. Comes before authentication, which costs a call. */
  #admit(): void {
    const { connectionsPerSecond, connectionsMax } = this.#limits
    const now = this.#options.clock.monotonic()
    const refill = ((now - this.#tokensAt) / 1000) * connectionsPerSecond
    this.#tokens = Math.min(connectionsPerSecond, this.#tokens + refill)
    this.#tokensAt = now
    if (this.#tokens < 1 || this.#connections.size >= connectionsMax) {
      throw new GrpcError(grpcStatus.resourceExhausted, 'too many connections; try again later')
    }
    this.#tokens--
  }

  /** A change waits until nothing has changed for a moment, but not for ever. */
  #collect(change: ResourceChange): void {
    const { clock } = this.#options
    for (const [typeUrl, names] of change.names) {
      const known = this.#pending.get(typeUrl)
      if (names === '*' || known === '*') this.#pending.set(typeUrl, '*')
      else if (known === undefined) this.#pending.set(typeUrl, new Set(names))
      else for (const name of names) known.add(name)
    }
    const now = clock.monotonic()
    if (this.#changes++ === 0) this.#firstChangeAt = now
    const left = this.#firstChangeAt + this.#limits.debounceMaxMs - now
    this.#timer?.cancel()
    this.#timer = clock.after(Math.max(0, Math.min(this.#limits.debounceQuietMs, left)), () =>
      this.#flush(),
    )
  }

  #flush(): void {
    const { source, clock } = this.#options
    const names = new Map(this.#pending)
    this.#metrics.debounced(this.#changes, clock.monotonic() - this.#firstChangeAt)
    this.#pending.clear()
    this.#changes = 0
    this.#revision = source.revision
    this.#views.update(names, this.#revision)
    for (const connection of this.#connections) connection.changed(names)
  }
}
