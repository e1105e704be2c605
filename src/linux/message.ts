/** `struct msghdr` with one iovec and one SCM_RIGHTS control message, laid out by hand (64-bit). */
import { closeSync } from 'node:fs'
import { MeshError } from '../base/index.ts'
import { abi, libc } from './libc.ts'
import { limits } from './limits.ts'
import type { Packet } from './types.ts'

const headerBytes = 56
const controlHeaderBytes = 16
const controlBytes = controlHeaderBytes + limits.fdsPerPacket * 4

/** The memory of one message; reused for every packet received on a connection. */
export class MessageBuffer {
  readonly #header = Buffer.alloc(headerBytes)
  readonly #vector = Buffer.alloc(16)
  readonly #control = Buffer.alloc(controlBytes)
  #data: Buffer

  constructor(maxBytes: number) {
    this.#data = Buffer.alloc(maxBytes)
  }

  /** The header to pass to recvmsg. */
  prepareReceive(): Buffer {
    return this.#layOut(this.#data, controlBytes)
  }

  /** The header to pass to sendmsg; valid as long as this object lives. */
  prepareSend(data: Uint8Array, fds: readonly number[]): Buffer {
    this.#data = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    if (fds.length === 0) return this.#layOut(this.#data, 0)
    const length = controlHeaderBytes + fds.length * 4
    this.#control.writeBigUInt64LE(BigInt(length), 0)
    this.#control.writeInt32LE(abi.SOL_SOCKET, 8)
    this.#control.writeInt32LE(abi.SCM_RIGHTS, 12)
    for (const [index, fd] of fds.entries())
      this.#control.writeInt32LE(fd, controlHeaderBytes + index * 4)
    return this.#layOut(this.#data, Math.ceil(length / 8) * 8)
  }

  /** The packet that recvmsg has just put here, or why it can't be used (its descriptors are closed). */
  take(length: number): Packet | MeshError {
    const fds = this.#fds()
    const flags = this.#header.readInt32LE(48)
    if ((flags & (abi.MSG_TRUNC | abi.MSG_CTRUNC)) === 0) {
      return { data: Uint8Array.from(this.#data.subarray(0, length)), fds }
    }
    for (const fd of fds) closeSync(fd)
    return new MeshError(
      'LINUX_PACKET_SIZE',
      (flags & abi.MSG_TRUNC) !== 0
        ? `a packet of more than ${this.#data.length} bytes was received`
        : `the descriptors of a packet were lost (more than ${limits.fdsPerPacket}, or no room for them)`,
      { hint: 'The peer speaks another protocol, or `ulimit -n` is too low.' },
    )
  }

  #fds(): number[] {
    const fds: number[] = []
    const used = Number(this.#header.readBigUInt64LE(40))
    for (let offset = 0; offset + controlHeaderBytes <= used; ) {
      const length = Number(this.#control.readBigUInt64LE(offset))
      if (length < controlHeaderBytes) break
      const isRights =
        this.#control.readInt32LE(offset + 8) === abi.SOL_SOCKET &&
        this.#control.readInt32LE(offset + 12) === abi.SCM_RIGHTS
      if (isRights) {
        for (let at = offset + controlHeaderBytes; at + 4 <= offset + length; at += 4) {
          fds.push(this.#control.readInt32LE(at))
        }
      }
      offset += Math.ceil(length / 8) * 8
    }
    return fds
  }

  #layOut(data: Buffer, controlLength: number): Buffer {
    const { addressOf } = libc()
    this.#vector.writeBigUInt64LE(data.length === 0 ? 0n : addressOf(data), 0)
    this.#vector.writeBigUInt64LE(BigInt(data.length), 8)
    this.#header.fill(0)
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16)
    this.#header.writeBigUInt64LE(1n, 24)
    this.#header.writeBigUInt64LE(controlLength === 0 ? 0n : addressOf(this.#control), 32)
    this.#header.writeBigUInt64LE(BigInt(controlLength), 40)
    return this.#header
  }
}
