/** One bidirectional call at the client. */
import {
  type Client,
  type ClientDuplexStream,
  connectivityState,
  type StatusObject,
} from '@grpc/grpc-js'
import { limits } from './limits.ts'

export interface StreamEnd {
  /** A gRPC status code, 0 for OK. */
  readonly status: number
  readonly message: string
}

export class ClientStream<I, O> {
  readonly #call: ClientDuplexStream<I, O>
  #closed = false

  constructor(client: Client, call: ClientDuplexStream<I, O>) {
    this.#call = call
    // The status event tells the same and comes always.
    call.on('error', () => {})
    call.once('status', () => (this.#closed = true))
    const timer = setTimeout(() => {
      if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) call.cancel()
    }, limits.connectTimeoutMs)
    timer.unref()
    call.once('status', () => clearTimeout(timer))
  }

  get closed(): boolean {
    return this.#closed
  }

  onMessage(handler: (message: O) => void): void {
    this.#call.on('data', handler)
  }

  /** Called once, after the last message. */
  onEnd(handler: (end: StreamEnd) => void): void {
    this.#call.once('status', (status: StatusObject) =>
      handler({ status: status.code, message: status.details }),
    )
  }

  send(message: I): void {
    if (!this.#closed) this.#call.write(message)
  }

  /** Says that no request will follow. */
  end(): void {
    this.#call.end()
  }

  cancel(): void {
    this.#call.cancel()
  }
}
