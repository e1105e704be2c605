/**
 * The ADS server: collects changes of the source into rounds, keeps the table of connections,
 * and decides who may connect. What a connection gets is in connection.ts, what it shares in view.ts.
 */
import {
  type Clock,
  type Component,
  type Logger,
  sleep,
  type Timer,
  toError,
} from '../base/index.ts'
import { type CallContext, GrpcError, type GrpcServer, grpcStatus } from '../grpc/index.ts'
import { AggregatedDiscoveryService } from '../proto/index.ts'
import { Admission } from './admission.ts'
import { Connection, type XdsRequest, type XdsStream } from './connection.ts'
import type { ConnectionInfo } from './connection-info.ts'
import type { ResourceChange, ResourceSource } from './contract.ts'
import type { DebugAnswer } from './debug-type.ts'
import { DeltaDialect, type Dialect, type DialectContext, StateDialect } from './dialect.ts'
import { defaultLimits, type XdsLimits } from './limits.ts'
import { noMetrics, type XdsMetrics } from './metrics.ts'
import type { AuthenticatedPeer } from './node.ts'
import { PushGate } from './push-gate.ts'
import { SecretGuard } from './secret-guard.ts'
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
  /** Answers istioctl; absent: its requests are refused. */
  readonly debug?: DebugAnswer
  /** Who answers: what istioctl shows as the control plane of a proxy. */
  readonly identifier?: string
}

export interface XdsServer extends Component {
  /**
   * Adds the discovery service to a gRPC server, before that starts.
   * @param authenticate instead of the server's own, for a listener with other rules
   */
  register(server: Pick<GrpcServer, 'registerBidi'>, authenticate?: AuthenticatePeer): void
  /** Every proxy that is connected now. */
  connections(): ConnectionInfo[]
  /** Sends everything to every proxy again; returns how many there are. */
  pushAll(): number
  /** Ends the stream of one proxy, by the id of its connection; false when there is none. */
  disconnect(id: string): boolean
}

export function createXdsServer(options: XdsServerOptions): XdsServer {
  return new Server(options)
}

/** A connection, whatever its protocol. */
type Open = Pick<Connection, 'info' | 'changed' | 'restart' | 'end'>

class Server implements XdsServer {
  readonly #options: XdsServerOptions
  readonly #limits: XdsLimits
  readonly #metrics: XdsMetrics
  readonly #views: Views
  readonly #gate: PushGate
  readonly #admission: Admission
  readonly #dialects: DialectContext
  readonly #connections = new Set<Open>()
  readonly #pending = new Map<string, Set<string> | '*'>()
  #changes = 0
  #firstChangeAt = 0
  #timer: Timer | undefined
  #revision: number
  #unsubscribe: (() => void) | undefined
  #serial = 0
  #started = false
  #stopped = false

  constructor(options: XdsServerOptions) {
    this.#options = options
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#metrics = options.metrics ?? noMetrics
    const source = new SecretGuard(options.source)
    this.#views = new Views(source, this.#limits.roundsMax)
    this.#gate = new PushGate(options.clock, this.#limits, (ms) => this.#metrics.queued(ms))
    this.#admission = new Admission(options.clock, this.#limits)
    this.#revision = source.revision
    this.#dialects = {
      source,
      views: this.#views,
      namesMax: this.#limits.namesPerConnectionMax,
      revision: () => this.#revision,
      isEarly: (typeUrl, name) => {
        const pending = this.#pending.get(typeUrl)
        return pending === '*' || pending?.has(name) === true
      },
    }
  }

  async start(): Promise<void> {
    const { source } = this.#options
    this.#revision = source.revision
    this.#unsubscribe = source.onChange((change) => this.#collect(change))
    this.#started = true
  }

  /** Streams end one by one, so that the proxies do not come to the next replica all at once. */
  async stop(deadlineMs?: number): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#unsubscribe?.()
    this.#timer?.cancel()
    const { clock } = this.#options
    const drainMs = Math.min(this.#limits.drainMs, (deadlineMs ?? Number.POSITIVE_INFINITY) / 2)
    const stepMs = 20
    const open = [...this.#connections]
    const atOnce = Math.max(1, Math.ceil(open.length / Math.max(1, drainMs / stepMs)))
    for (let index = 0; index < open.length; index += atOnce) {
      if (index > 0) await sleep(clock, stepMs)
      for (const connection of open.slice(index, index + atOnce)) connection.end()
    }
    this.#gate.stop()
  }

  connections(): ConnectionInfo[] {
    return [...this.#connections].flatMap((connection) => connection.info() ?? [])
  }

  pushAll(): number {
    for (const connection of this.#connections) connection.restart()
    return this.#connections.size
  }

  disconnect(id: string): boolean {
    const found = [...this.#connections].find((connection) => connection.info()?.id === id)
    found?.end()
    return found !== undefined
  }

  register(
    server: Pick<GrpcServer, 'registerBidi'>,
    authenticate: AuthenticatePeer = this.#options.authenticate,
  ): void {
    const { deltaAggregatedResources, streamAggregatedResources } =
      AggregatedDiscoveryService.method
    const delta = new DeltaDialect(this.#dialects)
    const state = new StateDialect(this.#dialects)
    server.registerBidi(deltaAggregatedResources, (stream) =>
      this.#serve(stream, delta, authenticate),
    )
    server.registerBidi(streamAggregatedResources, (stream) =>
      this.#serve(stream, state, authenticate),
    )
  }

  #serve<R extends XdsRequest>(
    stream: XdsStream<R>,
    dialect: Dialect<R>,
    authenticate: AuthenticatePeer,
  ): void {
    this.#accept(stream, dialect, authenticate).catch((error: unknown) => {
      if (error instanceof GrpcError) this.#metrics.refused(error.status)
      else
        this.#options.logger.error('accepting a stream failed', { error: toError(error).message })
      stream.fail(error)
    })
  }

  async #accept<R extends XdsRequest>(
    stream: XdsStream<R>,
    dialect: Dialect<R>,
    authenticate: AuthenticatePeer,
  ): Promise<void> {
    const { source, clock, logger, debug, identifier = '', random = Math.random } = this.#options
    const limits = this.#limits
    // Before authentication, which costs a call.
    if (this.#connections.size >= limits.connectionsMax) {
      throw new GrpcError(grpcStatus.resourceExhausted, 'too many connections; try again later')
    }
    await this.#admission.enter()
    const peer = await authenticate(stream.context)
    if (!source.ready || !this.#started || this.#stopped) {
      throw new GrpcError(grpcStatus.unavailable, 'the control plane is not ready yet')
    }
    if (stream.closed) return
    const connection = new Connection<R>(String(++this.#serial), stream, peer, dialect, {
      clock,
      logger,
      limits,
      metrics: this.#metrics,
      gate: this.#gate,
      debug,
      source: this.#dialects.source,
      identifier,
      revision: () => this.#revision,
    })
    this.#connections.add(connection)
    const ageMs = limits.connectionAgeMs * (0.9 + 0.2 * random())
    const timer = clock.after(ageMs, () => connection.end(), { background: true })
    stream.onClose(() => {
      timer.cancel()
      connection.close()
      this.#connections.delete(connection)
    })
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
    const since = this.#firstChangeAt
    const waitedMs = clock.monotonic() - since
    this.#metrics.debounced({ changes: this.#changes, waitedMs, typeUrls: names.keys() })
    this.#pending.clear()
    this.#changes = 0
    this.#revision = source.revision
    this.#views.update(names, this.#revision)
    for (const connection of this.#connections) connection.changed(names, since)
  }
}
