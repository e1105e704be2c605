/**
 * One call at the server. Messages leave in slices, each after the one before it: what waits in the transport for a
 * slow peer is one slice and not a whole message, and the message itself may be shared with a
 * thousand other streams.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { grpcStatus } from './errors.ts'
import { limits } from './limits.ts'
import { MessageReader, messagePrefix } from './message-reader.ts'
import { type CallContext, type CallPeer, contextOf, type Status, statusOf } from './peer.ts'

export interface ServerStreamOptions<I, O> {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  readonly peer: CallPeer
  decode(bytes: Buffer): I
  /** The message's bytes, in one piece or several. */
  encode(message: O): readonly Uint8Array[]
}

interface Outgoing {
  readonly slices: Generator<Uint8Array>
  readonly left: (sent: boolean) => void
}

export class ServerStream<I, O> {
  readonly context: CallContext
  readonly #options: ServerStreamOptions<I, O>
  readonly #queue: Outgoing[] = []
  #onClose: (() => void) | undefined
  #responded = false
  #writing = false
  #status: Status | undefined
  #closed = false

  constructor(options: ServerStreamOptions<I, O>) {
    this.#options = options
    this.context = contextOf(options.peer, options.headers)
    const { stream } = options
    stream.on('error', () => this.#close())
    stream.on('close', () => this.#close())
    stream.once('aborted', () => this.#close())
  }

  /** True when nothing can be sent any more. */
  get closed(): boolean {
    return this.#closed || this.#status !== undefined
  }

  /**
   * Starts reading. Messages that came before wait in the transport's windows.
   * @param onEnd no message will follow; by default the call ends with OK then
   */
  onMessage(handler: (message: I) => void, onEnd: () => void = () => this.end()): void {
    const { stream } = this.#options
    const reader = new MessageReader()
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const bytes of reader.push(chunk))
          if (!this.closed) handler(this.#options.decode(bytes))
      } catch (error) {
        this.fail(error)
      }
    })
    stream.on('end', onEnd)
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
    const slices = slicesOf(this.#options.encode(message))
    return new Promise((left) => {
      this.#queue.push({ slices, left })
      this.#write()
    })
  }

  /** Ends the call with OK, after what was given to `send`. */
  end(): void {
    this.#finish({ code: grpcStatus.ok, details: '' })
  }

  /** Ends the call with the error's status. */
  fail(error: unknown): void {
    this.#finish(statusOf(error))
  }

  #finish(status: Status): void {
    if (this.closed) return
    this.#status = status
    this.#write()
  }

  #write(): void {
    if (this.#writing || this.#closed) return
    const [next] = this.#queue
    if (next === undefined) {
      if (this.#status !== undefined) this.#sendStatus(this.#status)
      return
    }
    const slice = next.slices.next()
    if (slice.done === true) {
      this.#queue.shift()
      next.left(true)
      this.#write()
      return
    }
    this.#respond()
    this.#writing = true
    this.#options.stream.write(slice.value, () => {
      this.#writing = false
      this.#write()
    })
  }

  #respond(): void {
    if (this.#responded) return
    this.#responded = true
    this.#options.stream.respond(responseHeaders, { waitForTrailers: true })
  }

  #sendStatus(status: Status): void {
    const { stream } = this.#options
    this.#status = status
    const trailers = trailersOf(status)
    if (!this.#responded) {
      this.#responded = true
      stream.respond({ ...responseHeaders, ...trailers }, { endStream: true })
    } else {
      stream.once('wantTrailers', () => stream.sendTrailers(trailers))
      stream.end()
    }
    // Whatever the peer still sends is of no use; reading it lets the stream come to its end.
    stream.resume()
    const timer = setTimeout(() => stream.close(), limits.halfClosedMs)
    timer.unref()
    stream.once('close', () => clearTimeout(timer))
    this.#close()
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const { left } of this.#queue.splice(0)) left(false)
    this.#onClose?.()
  }
}

const responseHeaders = {
  [constants.HTTP2_HEADER_STATUS]: 200,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc+proto',
}

/** Percent-encoded, as the protocol wants everything but printable ASCII. */
export function trailersOf({ code, details }: Status): Record<string, string> {
  if (details === '') return { 'grpc-status': String(code) }
  const message = details.replaceAll(/[^ -$&-~]/gu, (text) =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  )
  return { 'grpc-status': String(code), 'grpc-message': message }
}

/** Small messages go as one; of large ones only their head is copied. */
function* slicesOf(pieces: readonly Uint8Array[]): Generator<Uint8Array> {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  const prefix = messagePrefix(length)
  if (length <= limits.joinedBytesMax) {
    yield Buffer.concat([prefix, ...pieces])
    return
  }
  yield prefix
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += limits.sliceBytes) {
      yield piece.subarray(at, at + limits.sliceBytes)
    }
  }
}
