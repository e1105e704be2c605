/**
 * A gRPC server over grpc-js with connections that we accepted ourselves (see tls.ts), and handlers
 * that see messages, a peer and nothing of the library.
 */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js'
import type { Component, Logger } from '../base/index.ts'
import { deserializer, type Encodable, type Method, methodPath, serializer } from './codec.ts'
import { GrpcError } from './errors.ts'
import { limits } from './limits.ts'
import { type CallContext, contextOf, statusOf } from './peer.ts'
import { ServerStream } from './server-stream.ts'
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
  readonly #server: Server
  #injector: ConnectionInjector | undefined
  #listeners: ConnectionListener[] = []

  constructor(options: GrpcServerOptions) {
    this.#options = options
    this.#server = new Server({
      'grpc.max_receive_message_length': limits.serverMessageBytesMax,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': limits.streamsPerConnectionMax,
      'grpc.keepalive_time_ms': limits.keepaliveTimeMs,
      'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
      'grpc.max_connection_idle_ms': limits.connectionIdleMs,
      'grpc.enable_channelz': 0,
    })
  }

  /** Registers before `start`; an Error that is no GrpcError becomes INTERNAL without its text. */
  registerUnary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    handler: UnaryHandler<I, O>,
  ): void {
    const { logger } = this.#options
    const path = methodPath(method)
    const func = async (
      call: ServerUnaryCall<MessageShape<I>, Encodable<O>>,
      reply: sendUnaryData<Encodable<O>>,
    ): Promise<void> => {
      try {
        reply(null, await handler(call.request, contextOf(call)))
      } catch (error) {
        if (!(error instanceof GrpcError)) logger.error(`${path} failed`, { error: String(error) })
        reply(statusOf(error))
      }
    }
    this.#server.register(
      path,
      func,
      serializer(method.output),
      deserializer(method.input),
      'unary',
    )
  }

  registerBidi<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    handler: BidiHandler<I, O>,
  ): void {
    const { logger } = this.#options
    const path = methodPath(method)
    const func = (call: ServerDuplexStream<MessageShape<I>, Encodable<O>>): void => {
      const stream = new ServerStream<MessageShape<I>, Encodable<O>>(call)
      try {
        handler(stream)
      } catch (error) {
        logger.error(`${path} failed`, { error: String(error) })
        stream.fail(error)
      }
    }
    this.#server.register(path, func, serializer(method.output), deserializer(method.input), 'bidi')
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
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure())
    this.#injector = injector
    try {
      for (const address of listeners) {
        const listener = await listen({
          address,
          certificate: this.#options.certificate?.(),
          logger,
          onConnection: (socket) => {
            // The session reports what ends it; without a listener an early reset would be uncaught.
            socket.on('error', (error) =>
              logger.debug('a connection broke', { error: error.message }),
            )
            injector.injectConnection(socket)
          },
        })
        this.#listeners.push(listener)
      }
    } catch (error) {
      await this.stop(0)
      throw error
    }
  }

  async stop(deadlineMs: number = limits.stopGraceMs): Promise<void> {
    for (const listener of this.#listeners) listener.close()
    this.#listeners = []
    const ended = new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => resolve())
      this.#injector?.drain(deadlineMs)
    })
    const timer = setTimeout(() => this.#server.forceShutdown(), deadlineMs)
    await ended
    clearTimeout(timer)
  }
}
