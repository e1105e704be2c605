/**
 * The protobuf wire format, read with every bound checked. Written by hand because the library's
 * reader neither refuses numbers that JavaScript would round nor says which field was wrong.
 */
import { isUtf8 } from 'node:buffer'

/** Why the bytes can't be read; whoever knows the field adds it. */
export class WireError extends Error {}

export const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

export interface Tag {
  readonly number: number
  readonly wireType: number
}

export class WireReader {
  readonly #bytes: Buffer
  #position: number
  #end: number
  /** The last varint, as two halves of 32 bits: one number can't hold 64. */
  #low = 0
  #high = 0

  constructor(bytes: Uint8Array, start = 0) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#position = start
    this.#end = bytes.byteLength
  }

  get done(): boolean {
    return this.#position >= this.#end
  }

  tag(): Tag {
    this.#varint()
    const number = this.#low >>> 3
    if (this.#high !== 0 || number === 0) throw new WireError('a field number is out of range')
    return { number, wireType: this.#low & 7 }
  }

  bool(): boolean {
    this.#varint()
    return this.#low !== 0 || this.#high !== 0
  }

  int32(): number {
    this.#varint()
    if (this.#high !== this.#low >> 31) {
      throw new WireError(`the number ${this.#bigint()} does not fit into 32 bits`)
    }
    return this.#low
  }

  int64(): number {
    this.#varint()
    const value = this.#high * 2 ** 32 + (this.#low >>> 0)
    if (!Number.isSafeInteger(value)) {
      throw new WireError(
        `the number ${this.#bigint()} is larger than this server can store exactly`,
      )
    }
    return value
  }

  double(): number {
    const value = this.#bytes.readDoubleLE(this.#take(8))
    if (!Number.isFinite(value)) throw new WireError(`${value} is not a number that JSON can hold`)
    return value
  }

  string(): string {
    const [start, end] = this.#delimited()
    const text = this.#bytes.toString('utf8', start, end)
    // Bytes that are no UTF-8 turn into this character; only then is a closer look worth it.
    if (text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(start, end))) {
      throw new WireError('the text is not valid UTF-8')
    }
    return text
  }

  base64(): string {
    const [start, end] = this.#delimited()
    return this.#bytes.toString('base64', start, end)
  }

  /** Bytes, not copied. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(...this.#delimited())
  }

  /** Reads a length and calls `read` with the reader ending there. */
  within(read: () => void): void {
    const [start, end] = this.#delimited()
    const outer = this.#end
    this.#position = start
    this.#end = end
    read()
    this.#end = outer
  }

  skip(wireType: number): void {
    if (wireType === wireTypes.varint) this.#varint()
    else if (wireType === wireTypes.bytes) this.#delimited()
    else if (wireType === wireTypes.fixed64) this.#take(8)
    else if (wireType === wireTypes.fixed32) this.#take(4)
    else throw new WireError(`wire type ${wireType} does not occur in Kubernetes messages`)
  }

  #bigint(): bigint {
    return BigInt.asIntN(64, (BigInt(this.#high) << 32n) | BigInt(this.#low >>> 0))
  }

  /** Moves on by some bytes; returns where they start. */
  #take(count: number): number {
    const start = this.#position
    if (count > this.#end - start) throw truncated()
    this.#position = start + count
    return start
  }

  #delimited(): [start: number, end: number] {
    this.#varint()
    const length = this.#low >>> 0
    if (this.#high !== 0) throw truncated()
    const start = this.#take(length)
    return [start, start + length]
  }

  #varint(): void {
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#position >= this.#end) throw truncated()
      const byte = this.#bytes[this.#position++] ?? 0
      const bits = byte & 0x7f
      if (shift < 32) low |= bits << shift
      if (shift > 28) high |= bits << (shift - 32)
      else if (shift === 28) high |= bits >> 4
      if (byte < 0x80) {
        if (shift === 63 && bits > 1) break
        this.#low = low
        this.#high = high
        return
      }
    }
    throw new WireError('a number has more than 64 bits')
  }
}

function truncated(): WireError {
  return new WireError('the data ends in the middle of a value')
}
