/** Puts gRPC messages together out of a stream's bytes: a flag, a length of 4 bytes, the message. */
import { GrpcError, grpcStatus } from './errors.ts'
import { limits } from './limits.ts'

const prefixBytes = 5

export class MessageReader {
  readonly #maxBytes: number
  #chunks: Buffer[] = []
  #length = 0
  #wanted = prefixBytes

  constructor(maxBytes: number = limits.serverMessageBytesMax) {
    this.#maxBytes = maxBytes
  }

  /** Bytes of a message that has begun. */
  get pending(): number {
    return this.#length
  }

  /** The messages which this chunk completes; throws a GrpcError for what is not to be read. */
  push(chunk: Buffer): Buffer[] {
    const messages: Buffer[] = []
    this.#chunks.push(chunk)
    this.#length += chunk.length
    while (this.#length >= this.#wanted) {
      // Joined when there is enough of it, so that a long message is not copied for each chunk.
      const bytes = this.#joined()
      const end = this.#messageEnd(bytes)
      this.#wanted = end
      if (bytes.length < end) break
      messages.push(bytes.subarray(prefixBytes, end))
      this.#chunks = end === bytes.length ? [] : [bytes.subarray(end)]
      this.#length = bytes.length - end
      this.#wanted = prefixBytes
    }
    return messages
  }

  #joined(): Buffer {
    const [only] = this.#chunks
    const bytes = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks)
    this.#chunks = [bytes]
    return bytes
  }

  #messageEnd(bytes: Buffer): number {
    if (bytes[0] !== 0) {
      throw new GrpcError(grpcStatus.unimplemented, 'compressed messages are not supported')
    }
    const length = bytes.readUInt32BE(1)
    if (length > this.#maxBytes) {
      throw new GrpcError(
        grpcStatus.resourceExhausted,
        `a message of ${length} bytes is larger than ${this.#maxBytes}`,
      )
    }
    return prefixBytes + length
  }
}

/** What goes before a message of this length. */
export function messagePrefix(length: number): Buffer {
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeUInt32BE(length, 1)
  return prefix
}
