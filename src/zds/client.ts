/**
 * The proxy's end of ZDS: connects, says hello, passes requests to the handler and acknowledges them,
 * connects again when the agent goes away. What runs for the pods goes on meanwhile.
 */
import {
  Backoff,
  type Clock,
  type Component,
  type Logger,
  MeshError,
  sleep,
  toError,
} from '../base/index.ts'
import { closeFd, connectSeqPacket, type Packet, type SeqPacketConnection } from '../linux/index.ts'
import { decodeRequest, encodeAck, encodeHello } from './codec.ts'
import { limits } from './limits.ts'
import type { ZdsHandler, ZdsRequest } from './types.ts'

export interface ZdsClientOptions {
  /** The agent's socket. */
  readonly path: string
  readonly handler: ZdsHandler
  readonly logger: Logger
  readonly clock: Clock
  /**
   * The agent broke the order of the protocol, so our picture of the node can't be trusted: the
   * program should exit with status 1 and start again. Without it the connection is made anew.
   */
  readonly onViolation?: (error: MeshError) => void
}

export class ZdsClient implements Component {
  readonly #options: ZdsClientOptions
  readonly #abort = new AbortController()
  #connection: SeqPacketConnection | undefined
  #running: Promise<void> | undefined

  constructor(options: ZdsClientOptions) {
    this.#options = options
  }

  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** Returns at once: the agent may come later, and `snapshotSent` tells when all pods are known. */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    this.#connection?.close()
    await this.#running
  }

  async #run(): Promise<void> {
    const { path, logger, clock } = this.#options
    const { signal } = this.#abort
    const backoff = new Backoff({
      initialMs: limits.reconnectInitialMs,
      maxMs: limits.reconnectMaxMs,
    })
    while (!signal.aborted) {
      try {
        await this.#serve(() => backoff.reset())
        logger.warn('the node agent closed the connection', { path })
      } catch (error) {
        if (!signal.aborted)
          logger.warn('no connection to the node agent', { path, error: toError(error).message })
      }
      await sleep(clock, backoff.next(), signal).catch(() => {})
    }
  }

  async #serve(onAlive: () => void): Promise<void> {
    const { path, handler, logger } = this.#options
    const connection = await connectSeqPacket(path, { maxBytes: limits.packetBytes })
    this.#connection = connection
    try {
      if (this.#abort.signal.aborted) return
      await connection.send(encodeHello())
      logger.info('connected to the node agent', { path })
      handler.connected?.()
      let snapshotDone = false
      for (;;) {
        const packet = await connection.receive()
        if (packet === undefined) return
        onAlive()
        const request = await this.#handle(connection, packet, snapshotDone)
        if (request?.kind === 'snapshotSent') snapshotDone = true
      }
    } finally {
      this.#connection = undefined
      connection.close()
    }
  }

  /** The request that was carried out, or undefined when it was refused. */
  async #handle(
    connection: SeqPacketConnection,
    packet: Packet,
    snapshotDone: boolean,
  ): Promise<ZdsRequest | undefined> {
    let unclaimed = packet.fds
    let done: ZdsRequest | undefined
    let refusal = ''
    try {
      const request = decodeRequest(packet.data)
      const violation = violationOf(request, packet.fds.length, snapshotDone)
      if (violation !== undefined) throw violation
      unclaimed = []
      await this.#call(request, packet.fds)
      done = request
    } catch (error) {
      for (const fd of unclaimed) closeFd(fd)
      if (error instanceof MeshError && error.code === 'ZDS_ORDER') {
        this.#options.onViolation?.(error)
        throw error
      }
      refusal = toError(error).message || 'refused without a reason'
      this.#options.logger.warn('a request of the node agent was refused', { error: refusal })
    }
    await connection.send(encodeAck(refusal))
    return done
  }

  #call(request: ZdsRequest, fds: readonly number[]): Promise<void> {
    const { handler } = this.#options
    switch (request.kind) {
      case 'add': {
        const [netnsFd] = fds
        // violationOf has counted them.
        return netnsFd === undefined
          ? Promise.resolve()
          : handler.add(request.uid, request.info, netnsFd)
      }
      case 'keep':
        return handler.keep(request.uid)
      case 'del':
        return handler.del(request.uid)
      case 'snapshotSent':
        return handler.snapshotSent()
    }
  }
}

function violationOf(
  request: ZdsRequest,
  fdCount: number,
  snapshotDone: boolean,
): MeshError | undefined {
  if (snapshotDone && (request.kind === 'keep' || request.kind === 'snapshotSent')) {
    return new MeshError('ZDS_ORDER', `ZDS: ${request.kind} came after the snapshot had ended`, {
      hint: 'The node agent is of an incompatible version.',
    })
  }
  const expected = request.kind === 'add' ? 1 : 0
  if (fdCount === expected) return undefined
  return new MeshError(
    'ZDS_DESCRIPTORS',
    `ZDS: ${request.kind} came with ${fdCount} descriptors instead of ${expected}`,
  )
}
