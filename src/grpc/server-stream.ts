/** One bidirectional call at the server. */
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { type CallContext, contextOf, statusOf } from './peer.ts'

export class ServerStream<I, O> {
  readonly context: CallContext
  readonly #call: ServerDuplexStream<I, O>
  readonly #waiting = new Set<(sent: boolean) => void>()
  #onClose: (() => void) | undefined
  #ended = false
  #closed = false

  constructor(call: ServerDuplexStream<I, O>) {
    this.#call = call
    this.context = contextOf(call)
    call.on('cancelled', () => this.#close())
    call.on('error', () => this.#close())
    call.on('close', () => this.#close())
  }

  /** True when nothing can be sent any more. */
  get closed(): boolean {
    return this.#closed || this.#ended
  }

  /** Starts reading. Messages that came before wait in the transport's windows. */
  onMessage(handler: (message: I) => void): void {
    this.#call.on('data', handler)
    this.#call.on('end', () => this.end())
  }

  /** Called once when the call is over for whatever reason. */
  onClose(handler: () => void): void {
    this.#onClose = handler
    if (this.#closed) handler()
  }

  /**
   * Resolves when the message has left for the peer, true, or when the call ended first, false.
   * Waiting for it is the flow control: a peer that does not read lets it wait.
   */
  send(message: O): Promise<boolean> {
    if (this.closed) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#waiting.add(resolve)
      this.#call.write(message, () => {
        if (this.#waiting.delete(resolve)) resolve(!this.#closed)
      })
    })
  }

  /** Ends the call with OK. */
  end(): void {
    if (this.closed) return
    this.#ended = true
    this.#call.end()
  }

  /** Ends the call with the error's status. */
  fail(error: unknown): void {
    if (this.closed) return
    this.#ended = true
    this.#call.emit('error', statusOf(error))
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const resolve of this.#waiting) resolve(false)
    this.#waiting.clear()
    this.#onClose?.()
  }
}
