/**
 * The least of an HTTP/2 client, so that the load costs little beside the server under test: fixed header
 * blocks without compression, endless windows, and payloads that are counted instead of decoded.
 */
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'

export interface Peer {
  readonly host: string
  readonly port: number
  /** Absent: plain text (etcd). */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

export interface Call {
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** Sees the payload piece by piece. */
  onData?(piece: Buffer): void
}

interface Open {
  readonly onData: ((piece: Buffer) => void) | undefined
  status: Buffer | undefined
  /** Payload bytes that the stream's window has not got back. */
  used: number
  resolve(ok: boolean): void
}

const frameTypes = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, window: 8 }
const endStream = 1
const ack = 1
const endHeaders = 4
const frameBytesMax = 16_384
const windowMax = 0x7fffffff
/** `:status` as the first entry of a block: 200 by index, 201 as a Huffman literal of the static name. */
const accepted = [/^(?:20)?88/, /^(?:20)?[04]8821003/]

export class RawClient {
  readonly #socket: Duplex
  readonly #open = new Map<number, Open>()
  #nextId = 1
  #rest: Buffer[] = []
  #restBytes = 0
  #needed = 9
  #unacknowledged = 0
  #closed: Error | undefined

  private constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection was closed')))
    const settings = Buffer.alloc(12)
    // No header table, and streams with an endless window.
    settings.writeUInt16BE(1, 0)
    settings.writeUInt16BE(4, 6)
    settings.writeUInt32BE(windowMax, 8)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    this.#frame(frameTypes.settings, 0, 0, settings)
    this.#grow(0, windowMax - 65_535)
  }

  static async connect(peer: Peer): Promise<RawClient> {
    const { host, port, tls } = peer
    const socket =
      tls === undefined
        ? connectTcp({ host, port })
        : connectTls({ host, port, ...tls, ALPNProtocols: ['h2'] })
    socket.setNoDelay(true)
    await new Promise((resolve, reject) => {
      socket.once(tls === undefined ? 'connect' : 'secureConnect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket)
  }

  /** Resolves when the answer has ended; rejects when it was not 200 or 201. */
  async call(request: Call): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed
    const id = this.#nextId
    this.#nextId += 2
    const { headers, body, onData } = request
    const ok = new Promise<boolean>((resolve) => {
      this.#open.set(id, { onData, status: undefined, used: 0, resolve })
    })
    const end = body === undefined ? endStream : 0
    this.#socket.cork()
    this.#frame(frameTypes.headers, endHeaders | end, id, headerBlock(headers))
    for (let offset = 0; body !== undefined && offset < body.length; offset += frameBytesMax) {
      const piece = body.subarray(offset, offset + frameBytesMax)
      const last = offset + piece.length === body.length
      this.#frame(frameTypes.data, last ? endStream : 0, id, piece)
    }
    this.#socket.uncork()
    if (!(await ok)) throw this.#closed ?? new Error(`refused: ${JSON.stringify(headers)}`)
  }

  close(): void {
    this.#socket.destroy()
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    const head = Buffer.allocUnsafe(9)
    head.writeUIntBE(payload.length, 0, 3)
    head[3] = type
    head[4] = flags
    head.writeUInt32BE(id, 5)
    this.#socket.write(Buffer.concat([head, payload]))
  }

  #grow(id: number, bytes: number): void {
    const payload = Buffer.alloc(4)
    payload.writeUInt32BE(bytes)
    this.#frame(frameTypes.window, 0, id, payload)
  }

  #read(chunk: Buffer): void {
    this.#rest.push(chunk)
    this.#restBytes += chunk.length
    if (this.#restBytes < this.#needed) return
    const all = this.#rest.length === 1 ? chunk : Buffer.concat(this.#rest)
    let offset = 0
    this.#needed = 9
    while (all.length - offset >= 9) {
      const length = all.readUIntBE(offset, 3)
      if (all.length - offset < 9 + length) {
        this.#needed = 9 + length
        break
      }
      const payload = all.subarray(offset + 9, offset + 9 + length)
      this.#take(all[offset + 3] ?? 0, all[offset + 4] ?? 0, all.readUInt32BE(offset + 5), payload)
      offset += 9 + length
    }
    this.#rest = offset === all.length ? [] : [all.subarray(offset)]
    this.#restBytes = all.length - offset
  }

  #take(type: number, flags: number, id: number, payload: Buffer): void {
    const open = this.#open.get(id)
    if (type === frameTypes.settings && flags !== ack) {
      this.#frame(frameTypes.settings, ack, 0, Buffer.alloc(0))
    } else if (type === frameTypes.ping && flags !== ack) {
      this.#frame(frameTypes.ping, ack, 0, payload)
    } else if (type === frameTypes.data) {
      if (open !== undefined) open.used += payload.length
      this.#acknowledge(payload.length)
      open?.onData?.(payload)
    } else if (type === frameTypes.headers && open !== undefined) {
      open.status ??= Buffer.from(payload.subarray(0, 8))
    }
    const ended = (type === frameTypes.data || type === frameTypes.headers) && flags & endStream
    if (open === undefined || (!ended && type !== frameTypes.reset)) return
    this.#open.delete(id)
    const status = open.status?.toString('hex') ?? ''
    open.resolve(type !== frameTypes.reset && accepted.some((form) => form.test(status)))
  }

  /** Gives the windows back now and then. */
  #acknowledge(bytes: number): void {
    this.#unacknowledged += bytes
    if (this.#unacknowledged < 1 << 28) return
    this.#grow(0, this.#unacknowledged)
    for (const [id, open] of this.#open) {
      if (open.used > 0) this.#grow(id, open.used)
      open.used = 0
    }
    this.#unacknowledged = 0
  }

  #fail(error: Error): void {
    this.#closed = error
    for (const open of this.#open.values()) open.resolve(false)
    this.#open.clear()
  }
}

function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.from([0]),
    text(name),
    text(value),
  ])
  return Buffer.concat(parts)
}

/** A length with a 7-bit prefix, then the bytes as they are. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const prefix: number[] = []
  let rest = bytes.length
  if (rest < 127) prefix.push(rest)
  else {
    prefix.push(127)
    for (rest -= 127; rest > 127; rest >>>= 7) prefix.push((rest & 127) | 128)
    prefix.push(rest)
  }
  return Buffer.concat([Buffer.from(prefix), bytes])
}
