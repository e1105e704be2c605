/**
 * SOCK_SEQPACKET over Unix sockets, with descriptors in SCM_RIGHTS: what ZDS speaks and Node's
 * `net` refuses. The descriptors are non-blocking and watched by the event loop through uv_poll; a
 * worker thread blocked in recvmsg would do as well but costs 15 MB and 30 ms for each end.
 */
import { chmodSync, closeSync, unlinkSync } from 'node:fs'
import { errnoOf, MeshError } from '../base/index.ts'
import { encodeUnix } from './address.ts'
import { check, lastError } from './errors.ts'
import { abi, libc } from './libc.ts'
import { limits } from './limits.ts'
import { MessageBuffer } from './message.ts'
import type { PollHandle } from './poll.ts'
import { peerCredentials } from './sockopts.ts'
import type { Packet, PeerCredentials, SeqPacketConnection, SeqPacketListener } from './types.ts'

export interface SeqPacketOptions {
  /** A longer packet, sent or received, is an error. Default 64 KiB. */
  readonly maxBytes?: number
}

/** Connects to a listening SEQPACKET socket. */
export async function connectSeqPacket(
  path: string,
  options: SeqPacketOptions = {},
): Promise<SeqPacketConnection> {
  const fd = openSocket(path)
  try {
    const address = encodeUnix(path)
    check(libc().connect(fd, address, address.length), 'connect', path)
    return new Connection(fd, options.maxBytes ?? limits.packetBytes)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Listens at `path`. A socket file whose server is gone is replaced; a live one is an error.
 * @param options.mode permissions of the socket file, 0600 by default
 */
export async function listenSeqPacket(
  path: string,
  options: SeqPacketOptions & { readonly mode?: number; readonly backlog?: number } = {},
): Promise<SeqPacketListener> {
  await removeStale(path)
  const fd = openSocket(path)
  try {
    const address = encodeUnix(path)
    check(libc().bind(fd, address, address.length), 'bind', path)
    chmodSync(path, options.mode ?? 0o600)
    check(libc().listen(fd, options.backlog ?? 16), 'listen', path)
    return new Listener(fd, path, options.maxBytes ?? limits.packetBytes)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openSocket(path: string): number {
  const type = abi.SOCK_SEQPACKET | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK
  return check(libc().socket(abi.AF_UNIX, type, 0), 'socket', path)
}

async function removeStale(path: string): Promise<void> {
  try {
    const live = await connectSeqPacket(path)
    live.close()
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'LINUX_ENOENT') return
    if (code !== 'LINUX_ECONNREFUSED') throw error
    unlinkSync(path)
    return
  }
  throw new MeshError('LINUX_EADDRINUSE', `another process listens on ${path}`, {
    hint: `Stop it first; \`ss -xlp\` shows its pid.`,
  })
}

interface PendingSend {
  readonly data: Uint8Array
  readonly fds: readonly number[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

class Connection implements SeqPacketConnection {
  readonly peer: PeerCredentials
  readonly #fd: number
  readonly #maxBytes: number
  readonly #poll: PollHandle
  readonly #inbound: MessageBuffer
  readonly #packets: Packet[] = []
  readonly #sends: PendingSend[] = []
  #waiter: PromiseWithResolvers<Packet | undefined> | undefined
  #failure: MeshError | undefined
  #ended = false
  #closed = false

  constructor(fd: number, maxBytes: number) {
    this.#fd = fd
    this.#maxBytes = maxBytes
    this.peer = peerCredentials(fd)
    this.#inbound = new MessageBuffer(maxBytes)
    this.#poll = libc().poll(fd)
    this.#watch()
  }

  send(data: Uint8Array, fds: readonly number[] = []): Promise<void> {
    if (data.length === 0 || data.length > this.#maxBytes)
      return Promise.reject(tooLong(data.length, this.#maxBytes))
    if (fds.length > limits.fdsPerPacket) return Promise.reject(tooManyFds(fds.length))
    if (this.#closed) return Promise.reject(closedError())
    if (this.#sends.length >= limits.queuedSends) return Promise.reject(peerStuck())
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#sends.push({ data, fds, resolve, reject })
    if (this.#sends.length === 1) this.#flush()
    return promise
  }

  receive(): Promise<Packet | undefined> {
    const packet = this.#packets.shift()
    if (packet !== undefined) {
      this.#watch()
      return Promise.resolve(packet)
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#ended || this.#closed) return Promise.resolve(undefined)
    this.#waiter ??= Promise.withResolvers()
    return this.#waiter.promise
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#poll.close()
    libc().shutdown(this.#fd, abi.SHUT_RDWR)
    closeSync(this.#fd)
    for (const packet of this.#packets.splice(0)) for (const fd of packet.fds) closeSync(fd)
    for (const pending of this.#sends.splice(0)) pending.reject(closedError())
    this.#waiter?.resolve(undefined)
    this.#waiter = undefined
  }

  /** Reads while there is room for packets, writes while something waits. */
  #watch(): void {
    if (this.#closed) return
    const readable = !this.#ended && this.#packets.length < limits.queuedPackets
    const writable = this.#sends.length > 0
    if (!readable && !writable) return this.#poll.stop()
    this.#poll.start({ readable, writable }, (status, events) => {
      if (events.writable && this.#sends.length > 0) this.#flush()
      // A poll error shows in recvmsg as well, with its name.
      if (events.readable || status < 0) this.#drain()
    })
  }

  #drain(): void {
    while (!this.#closed && !this.#ended && this.#packets.length < limits.queuedPackets) {
      const result = libc().recvmsg(this.#fd, this.#inbound.prepareReceive(), abi.MSG_CMSG_CLOEXEC)
      if (result < 0) {
        const error = lastError('recvmsg', 'a SEQPACKET connection')
        if (error.errno === 'EAGAIN' || error.errno === 'EINTR') break
        // The peer closed with unread packets of ours: for the reader that is the end.
        this.#finish(error.errno === 'ECONNRESET' ? undefined : error)
        break
      }
      const packet = this.#inbound.take(result)
      if (packet instanceof MeshError) this.#finish(packet)
      else if (result === 0) this.#finish(undefined)
      else this.#deliver(packet)
    }
    this.#watch()
  }

  #deliver(packet: Packet): void {
    const waiter = this.#waiter
    this.#waiter = undefined
    if (waiter === undefined) this.#packets.push(packet)
    else waiter.resolve(packet)
  }

  #finish(failure: MeshError | undefined): void {
    this.#ended = true
    this.#failure = failure
    const waiter = this.#waiter
    this.#waiter = undefined
    if (failure === undefined) waiter?.resolve(undefined)
    else waiter?.reject(failure)
  }

  #flush(): void {
    for (let pending = this.#sends[0]; pending !== undefined; pending = this.#sends[0]) {
      const message = new MessageBuffer(0).prepareSend(pending.data, pending.fds)
      if (libc().sendmsg(this.#fd, message, abi.MSG_NOSIGNAL) >= 0) {
        this.#sends.shift()
        pending.resolve()
        continue
      }
      const error = lastError('sendmsg', 'a SEQPACKET connection')
      if (error.errno === 'EAGAIN' || error.errno === 'EINTR') break
      this.#sends.shift()
      pending.reject(error)
    }
    this.#watch()
  }
}

class Listener implements SeqPacketListener {
  readonly #fd: number
  readonly #path: string
  readonly #maxBytes: number
  readonly #poll: PollHandle
  #waiter: PromiseWithResolvers<SeqPacketConnection | undefined> | undefined
  #closed = false

  constructor(fd: number, path: string, maxBytes: number) {
    this.#fd = fd
    this.#path = path
    this.#maxBytes = maxBytes
    this.#poll = libc().poll(fd)
    this.#poll.stop()
  }

  accept(): Promise<SeqPacketConnection | undefined> {
    if (this.#closed) return Promise.resolve(undefined)
    if (this.#waiter === undefined) {
      this.#waiter = Promise.withResolvers()
      // Connections wait in the kernel's backlog until someone asks for them.
      this.#poll.start({ readable: true }, () => this.#acceptOne())
    }
    return this.#waiter.promise
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#poll.close()
    closeSync(this.#fd)
    try {
      unlinkSync(this.#path)
    } catch {
      // Removed by someone else: the same result.
    }
    this.#waiter?.resolve(undefined)
    this.#waiter = undefined
  }

  #acceptOne(): void {
    const waiter = this.#waiter
    if (waiter === undefined) return
    const fd = libc().accept4(this.#fd, null, null, abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC)
    if (fd < 0) {
      const error = lastError('accept4', this.#path)
      if (error.errno === 'EAGAIN' || error.errno === 'EINTR') return
      this.#waiter = undefined
      this.#poll.stop()
      return waiter.reject(error)
    }
    this.#waiter = undefined
    this.#poll.stop()
    waiter.resolve(new Connection(fd, this.#maxBytes))
  }
}

function tooLong(length: number, maxBytes: number): MeshError {
  return new MeshError(
    'LINUX_PACKET_SIZE',
    `a packet of ${length} bytes can't be sent; 1 to ${maxBytes} are allowed`,
  )
}

function tooManyFds(count: number): MeshError {
  return new MeshError(
    'LINUX_PACKET_FDS',
    `${count} descriptors in one packet; ${limits.fdsPerPacket} are allowed`,
  )
}

function closedError(): MeshError {
  return new MeshError('LINUX_CONNECTION_CLOSED', 'the SEQPACKET connection is closed', {
    retryable: true,
  })
}

function peerStuck(): MeshError {
  return new MeshError('LINUX_PEER_STUCK', `the peer has not read ${limits.queuedSends} packets`, {
    retryable: true,
  })
}
