/**
 * The agent's end of ZDS. Holds the pods of the node and keeps the proxies informed: the newest
 * connection gets a snapshot and all additions, every connection gets deletions, so that in a rolling
 * restart the old proxy drains while the new one takes over.
 */
import {
  type Clock,
  type Component,
  type Logger,
  sleep,
  type Timer,
  toError,
} from '../base/index.ts'
import {
  listenSeqPacket,
  type SeqPacketConnection,
  type SeqPacketListener,
} from '../linux/index.ts'
import { ProxyConnection } from './connection.ts'
import { limits } from './limits.ts'
import type { ZdsPod, ZdsPodState } from './types.ts'

export interface ZdsServerOptions {
  readonly path: string
  readonly logger: Logger
  readonly clock: Clock
  /** Permissions of the socket file; default 0600. */
  readonly mode?: number
  /** Called whenever a pod's state becomes another one. */
  readonly onState?: (uid: string, state: ZdsPodState) => void
  /** Called when the number of proxies changes. */
  readonly onProxies?: (count: number) => void
}

interface Held {
  pod: ZdsPod
  state: ZdsPodState | undefined
}

const noProxy: ZdsPodState = {
  state: 'pending',
  reason: 'no node proxy is connected',
  noProxy: true,
}

export class ZdsServer implements Component {
  readonly #options: ZdsServerOptions
  readonly #pods = new Map<string, Held>()
  /** Oldest first. */
  #connections: ProxyConnection[] = []
  readonly #abort = new AbortController()
  #listener: SeqPacketListener | undefined
  #accepting: Promise<void> | undefined
  #retry: Timer | undefined

  constructor(options: ZdsServerOptions) {
    this.#options = options
  }

  get proxies(): number {
    return this.#connections.length
  }

  stateOf(uid: string): ZdsPodState | undefined {
    return this.#pods.get(uid)?.state
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const { path, mode, clock } = this.#options
    this.#listener = await listenSeqPacket(path, {
      maxBytes: limits.packetBytes,
      ...(mode === undefined ? {} : { mode }),
    })
    this.#accepting = this.#accept(this.#listener)
    this.#retry = clock.every(limits.retryMs, () => this.#retryPending(), { background: true })
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    this.#retry?.cancel()
    this.#listener?.close()
    for (const connection of this.#connections) connection.close()
    await this.#accepting
  }

  /**
   * Holds the pod until `delete` and offers it to the newest proxy. Resolves with the first outcome;
   * later ones come through `onState`. The same uid again replaces what is held.
   */
  async add(pod: ZdsPod): Promise<ZdsPodState> {
    const held = this.#pods.get(pod.uid)
    if (held === undefined) this.#pods.set(pod.uid, { pod, state: undefined })
    else held.pod = pod
    const newest = this.#connections.at(-1)
    if (newest === undefined) return this.#setState(pod.uid, noProxy)
    // A snapshot under way was listed before this pod came; requests are in order, so this follows it.
    return this.#offer(newest, pod.uid)
  }

  /** Forgets the pod and tells every proxy. Resolves when those that live have answered. */
  async delete(uid: string): Promise<void> {
    if (!this.#pods.delete(uid)) return
    await Promise.all(
      this.#connections.map(async (connection) => {
        connection.acknowledged.delete(uid)
        try {
          const error = await connection.request(() =>
            this.#pods.has(uid) ? undefined : { message: { kind: 'del', uid } },
          )
          if (error)
            this.#options.logger.warn('the node proxy failed to remove a pod', { uid, error })
        } catch (error) {
          this.#options.logger.debug('a proxy was lost while removing a pod', {
            uid,
            error: toError(error).message,
          })
        }
      }),
    )
  }

  async #accept(listener: SeqPacketListener): Promise<void> {
    const { logger, clock, path } = this.#options
    const { signal } = this.#abort
    while (!signal.aborted) {
      try {
        const socket = await listener.accept()
        if (socket === undefined) return
        if (this.#connections.length < limits.connections) void this.#serve(socket)
        else {
          logger.error('too many node proxies are connected; the new one is refused', { path })
          socket.close()
        }
      } catch (error) {
        logger.error('accepting a node proxy failed', { path, error: toError(error).message })
      }
      await sleep(clock, limits.acceptIntervalMs, signal).catch(() => {})
    }
  }

  async #serve(socket: SeqPacketConnection): Promise<void> {
    const { logger, onProxies } = this.#options
    const connection = new ProxyConnection(socket, this.#options.clock)
    try {
      const { ended } = await connection.open()
      logger.info('a node proxy connected', { pid: connection.pid, pods: this.#pods.size })
      this.#connections.push(connection)
      onProxies?.(this.#connections.length)
      await this.#sendSnapshot(connection)
      await ended
      logger.info('a node proxy disconnected', { pid: connection.pid })
    } catch (error) {
      logger.warn('a node proxy was dropped', {
        pid: connection.pid,
        error: toError(error).message,
      })
    } finally {
      connection.close()
      this.#remove(connection)
    }
  }

  #remove(connection: ProxyConnection): void {
    const wasNewest = this.#connections.at(-1) === connection
    const before = this.#connections.length
    this.#connections = this.#connections.filter((other) => other !== connection)
    if (this.#connections.length === before) return
    this.#options.onProxies?.(this.#connections.length)
    // The older proxy has not heard of what went to the newest only.
    const newest = this.#connections.at(-1)
    if (!wasNewest || newest === undefined) return
    for (const uid of this.#pods.keys())
      if (!newest.acknowledged.has(uid)) void this.#offer(newest, uid)
  }

  async #sendSnapshot(connection: ProxyConnection): Promise<void> {
    const offers = [...this.#pods.keys()].map((uid) => this.#offer(connection, uid, 'snapshot'))
    const sent = connection.request(() => ({ message: { kind: 'snapshotSent' } }))
    await Promise.all(offers)
    const error = await sent
    if (error) this.#options.logger.error('the node proxy refused the snapshot', { error })
    connection.ready = true
  }

  /** Sends the pod to one proxy and records the outcome. Never rejects. */
  async #offer(
    connection: ProxyConnection,
    uid: string,
    phase: 'snapshot' | 'live' = 'live',
  ): Promise<ZdsPodState> {
    if (phase === 'live' && this.#pods.get(uid)?.pod.netnsFd === undefined) {
      return this.#setState(uid, { state: 'pending', reason: 'its network namespace is not known' })
    }
    try {
      const error = await connection.request(() => {
        const pod = this.#pods.get(uid)?.pod
        if (pod === undefined) return undefined
        const { info, netnsFd } = pod
        if (netnsFd !== undefined) return { message: { kind: 'add', uid, info }, fds: [netnsFd] }
        return phase === 'snapshot' ? { message: { kind: 'keep', uid } } : undefined
      })
      if (error) return this.#setState(uid, { state: 'pending', reason: error })
      if (this.#pods.has(uid)) connection.acknowledged.add(uid)
      return this.#setState(uid, { state: 'enabled' })
    } catch (error) {
      // A proxy that goes away does not disable a pod: its rules stay, and the next proxy is told.
      const known = this.#pods.get(uid)?.state
      if (known?.state === 'enabled') return known
      return this.#setState(uid, { state: 'pending', reason: toError(error).message })
    }
  }

  #setState(uid: string, state: ZdsPodState): ZdsPodState {
    const held = this.#pods.get(uid)
    if (held === undefined) return state
    const changed = held.state?.state !== state.state
    held.state = state
    if (changed) this.#options.onState?.(uid, state)
    return state
  }

  #retryPending(): void {
    const newest = this.#connections.at(-1)
    if (newest === undefined || !newest.ready) return
    for (const [uid, held] of this.#pods) {
      if (held.state?.state === 'pending' && held.pod.netnsFd !== undefined)
        void this.#offer(newest, uid)
    }
  }
}
