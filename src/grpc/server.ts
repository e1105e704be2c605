/**
 * A gRPC server over node:http2 on connections that we accepted ourselves (see tls.ts), with handlers
 * that see messages and a peer. Our own because of what a push costs: grpc-js copies each message twice
 * for each stream and holds all of it until the slowest peer has read it.
 */
import type { Socket } from 'node:net'
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import type { Component, Logger } from '../base/index.ts'
import { deserializer, type Encodable, type Method, methodPath, pieces } from './codec.ts'
import { GrpcError, grpcStatus } from './errors.ts'
import { limits } from './limits.ts'
import type { CallContext } from './peer.ts'
import { ServerStream } from './server-stream.ts'
import { type CallHandler, ServerSession } from './session.ts'
import {
  type ConnectionListener,
  type ListenAddress,
  listen,
  type ServingCertificate,
} from './tls.ts'

export interface GrpcServerOptions {
  readonly listeners: readonly ListenAddress[]
  /** Asked at the start of TLS listeners; later ones come by `setCertificate`. */
  readonly certificate?: () => ServingCertificate
  readonly logger: Logger
  /** A silent connection is asked after this whether it is there ... */
  readonly keepaliveTimeMs?: number
  /** ... and given up when it does not answer. */
  readonly keepaliveTimeoutMs?: number
}

export type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: CallContext,
) => Promise<Encodable<O>>

export type BidiHandler<I extends DescMessage, O extends DescMessage> = (
  stream: ServerStream<MessageShape<I>, Encodable<O>>,
) => void

export class GrpcServer implements Component {
  readonly #options: GrpcServerOptions
  readonly #handlers = new Map<string, CallHandler>()
  readonly #sessions = new Set<ServerSession>()
  #listeners: ConnectionListener[] = []
  #onEmpty: () => void = () => {}

  constructor(options: GrpcServerOptions) {
    this.#options = options
  }

  /** Registers before `start`; an Error that is no GrpcError becomes INTERNAL without its text. */
  registerUnary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    handler: UnaryHandler<I, O>,
  ): void {
    this.registerBidi(method, (stream) => {
      const requests: MessageShape<I>[] = []
      stream.onMessage(
        (request) => void requests.push(request),
        () => void this.#answer(method, handler, stream, requests),
      )
    })
  }

  registerBidi<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    handler: BidiHandler<I, O>,
  ): void {
    const decode = deserializer(method.input)
    const encode = pieces(method.output)
    this.#handlers.set(methodPath(method), (stream, headers, peer) => {
      const call = new ServerStream<MessageShape<I>, Encodable<O>>({
        stream,
        headers,
        peer,
        decode,
        encode,
      })
      try {
        handler(call)
      } catch (error) {
        this.#complain(method, error)
        call.fail(error)
      }
    })
  }

  /** Takes a new serving certificate for connections from now on; those that exist stay. */
  setCertificate(certificate: ServingCertificate): void {
    for (const listener of this.#listeners) listener.setCertificate(certificate)
  }

  /** The bound ports, in the order of the listeners. */
  get ports(): number[] {
    return this.#listeners.map((listener) => listener.port)
  }

  async start(): Promise<void> {
    const { listeners, logger } = this.#options
    try {
      for (const address of listeners) {
        const listener = await listen({
          address,
          certificate: this.#options.certificate?.(),
          logger,
          onConnection: (socket) => this.#accept(socket),
        })
        this.#listeners.push(listener)
      }
    } catch (error) {
      await this.stop(0)
      throw error
    }
  }

  /** Calls under way may end by themselves for a moment. */
  async stop(deadlineMs: number = limits.stopGraceMs): Promise<void> {
    for (const listener of this.#listeners) listener.close()
    this.#listeners = []
    if (this.#sessions.size === 0) return
    const ended = new Promise<void>((resolve) => (this.#onEmpty = resolve))
    for (const session of this.#sessions) session.close()
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.destroy()
    }, deadlineMs)
    await ended
    clearTimeout(timer)
  }

  #accept(socket: Socket): void {
    const { logger, keepaliveTimeMs, keepaliveTimeoutMs } = this.#options
    // The session reports what ends it; without a listener an early reset would be uncaught.
    socket.on('error', (error) => logger.debug('a connection broke', { error: error.message }))
    const session = new ServerSession(socket, {
      handlers: this.#handlers,
      keepaliveTimeMs: keepaliveTimeMs ?? limits.keepaliveTimeMs,
      keepaliveTimeoutMs: keepaliveTimeoutMs ?? limits.keepaliveTimeoutMs,
      logger,
      onClose: (closed) => {
        this.#sessions.delete(closed)
        if (this.#sessions.size === 0) this.#onEmpty()
      },
    })
    this.#sessions.add(session)
  }

  async #answer<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    handler: UnaryHandler<I, O>,
    stream: ServerStream<MessageShape<I>, Encodable<O>>,
    [request, ...more]: readonly MessageShape<I>[],
  ): Promise<void> {
    try {
      if (request === undefined || more.length > 0) {
        throw new GrpcError(grpcStatus.unimplemented, 'the call takes exactly one message')
      }
      const answer = await handler(request, stream.context)
      void stream.send(answer)
      stream.end()
    } catch (error) {
      if (!(error instanceof GrpcError)) this.#complain(method, error)
      stream.fail(error)
    }
  }

  #complain(method: Method<DescMessage, DescMessage>, error: unknown): void {
    this.#options.logger.error(`${methodPath(method)} failed`, { error: String(error) })
  }
}
