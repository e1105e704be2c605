/** DNS over TCP: each message after its 16-bit length. */

/** One message with its length in front. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 2)
  framed.writeUInt16BE(message.length)
  framed.set(message, 2)
  return framed
}

/** Cuts a byte stream into messages. Holds at most one incomplete message (64 KiB). */
export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Buffer): Buffer[] {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: Buffer[] = []
    while (data.length >= 2) {
      const length = data.readUInt16BE(0)
      if (data.length < length + 2) break
      messages.push(data.subarray(2, length + 2))
      data = data.subarray(length + 2)
    }
    this.#rest = data
    return messages
  }
}
