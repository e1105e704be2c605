/** Bounds-checked reading and growing writing of big-endian wire data. */
import { MeshError } from '../base/index.ts'
import { limits } from './limits.ts'

/** The error of every malformed message. */
export function wireError(what: string): MeshError {
  return new MeshError('DNS_FORMAT', `malformed DNS message: ${what}`)
}

export class Reader {
  offset = 0
  readonly #data: Uint8Array

  constructor(data: Uint8Array) {
    this.#data = data
  }

  get remaining(): number {
    return this.#data.length - this.offset
  }

  byteAt(at: number): number {
    const byte = this.#data[at]
    if (byte === undefined) throw wireError('it ends too early')
    return byte
  }

  bytesAt(at: number, length: number): Uint8Array {
    if (at + length > this.#data.length) throw wireError('it ends too early')
    return this.#data.subarray(at, at + length)
  }

  bytes(length: number): Uint8Array {
    const taken = this.bytesAt(this.offset, length)
    this.offset += length
    return taken
  }

  u8(): number {
    return this.byteAt(this.offset++)
  }

  u16(): number {
    return (this.u8() << 8) | this.u8()
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16()
  }
}

export class Writer {
  #data = new Uint8Array(512)
  length = 0

  #reserve(count: number): void {
    const needed = this.length + count
    if (needed > limits.messageBytes) {
      throw new MeshError('DNS_TOO_LONG', `a DNS message has at most ${limits.messageBytes} bytes`)
    }
    if (needed <= this.#data.length) return
    const larger = new Uint8Array(
      Math.min(Math.max(needed, this.#data.length * 2), limits.messageBytes),
    )
    larger.set(this.#data)
    this.#data = larger
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#data[this.length++] = value
  }

  u16(value: number): void {
    this.u8((value >> 8) & 0xff)
    this.u8(value & 0xff)
  }

  u32(value: number): void {
    this.u16(Math.floor(value / 0x10000))
    this.u16(value & 0xffff)
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#data.set(value, this.length)
    this.length += value.length
  }

  /** Overwrites two bytes that were written before. */
  patchU16(at: number, value: number): void {
    this.#data[at] = (value >> 8) & 0xff
    this.#data[at + 1] = value & 0xff
  }

  finish(): Uint8Array {
    return this.#data.slice(0, this.length)
  }
}
