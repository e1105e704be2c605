/**
 * A SPDY/3.1 connection over any Duplex: a raw upgraded socket, or a WebSocket that carries the frames.
 * SPDY's own flow control is not used by the clients in question, so a slow consumer pauses the transport.
 */
import { Duplex } from 'node:stream'
import { type Clock, type Timer, toError } from '../base/index.ts'
import { streamLimits } from './limits.ts'
import { encodeSpdyFrame, malformed, type SpdyFrame, SpdyFrameReader } from './spdy-frames.ts'
import { SpdyHeaderCodec, type SpdyHeaders } from './spdy-headers.ts'

const refusedStream = 3
const cancel = 5

/** One stream of a connection. Ending the writing side sends FIN; destroying it sends a reset. */
export class SpdyStream extends Duplex {
  readonly id: number
  readonly headers: SpdyHeaders
  readonly #connection: SpdyConnection
  #remoteEnded = false

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders) {
    super({ allowHalfOpen: true })
    this.#connection = connection
    this.id = id
    this.headers = headers
  }

  /** @internal The connection is gone; what has arrived completely can still be read. */
  abandon(): void {
    if (this.#remoteEnded && !this.readableEnded) this.once('end', () => this.destroy())
    else this.destroy()
  }

  /** @internal Takes data from the peer. */
  receive(data: Buffer, fin: boolean): void {
    if (this.#remoteEnded || this.destroyed) return
    if (data.length > 0 && !this.push(data)) this.#connection.pause(this)
    if (fin) {
      this.#remoteEnded = true
      this.push(null)
    }
  }

  override _read(): void {
    this.#connection.resume(this)
  }

  override _write(
    chunk: Buffer,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    void this.#connection.sendData(this.id, chunk).then(() => callback(), callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    void this.#connection.sendFin(this.id).then(() => callback(), callback)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#connection.forget(this, !this.#remoteEnded || !this.writableFinished)
    callback(error)
  }
}

export interface SpdyConnectionOptions {
  readonly transport: Duplex
  /** Clients use odd stream ids and servers even ones. */
  readonly role: 'client' | 'server'
  readonly clock: Clock
  onStream?(stream: SpdyStream): void
  /** Once, however it ended. */
  onClose?(): void
}

export class SpdyConnection {
  readonly #options: SpdyConnectionOptions
  readonly #reader = new SpdyFrameReader()
  readonly #codec = new SpdyHeaderCodec()
  readonly #streams = new Map<number, SpdyStream>()
  readonly #paused = new Set<SpdyStream>()
  /** Work in order: header blocks are decompressed asynchronously, and frames must not overtake them. */
  #incoming: Promise<void> = Promise.resolve()
  #outgoing: Promise<void> = Promise.resolve()
  #nextId: number
  #nextPing: number
  readonly #pings: Timer
  #linger: Timer | undefined
  #finishing = false
  #closed = false

  constructor(options: SpdyConnectionOptions) {
    this.#options = options
    this.#nextId = options.role === 'client' ? 1 : 2
    this.#nextPing = this.#nextId
    const { transport, clock } = options
    this.#pings = clock.every(streamLimits.pingMs, () => this.#ping(), { background: true })
    transport.on('data', (chunk: Buffer) => this.#receive(chunk))
    // After the frames that came before it.
    transport.once('end', () => void this.#incoming.then(() => this.close()))
    transport.once('close', () => this.close())
    transport.on('error', () => this.close())
  }

  /** Opens a stream; resolves when the request is on its way. */
  async open(headers: SpdyHeaders): Promise<SpdyStream> {
    const id = this.#nextId
    this.#nextId += 2
    const stream = new SpdyStream(this, id, headers)
    this.#streams.set(id, stream)
    await this.#inOrder(async () => {
      const block = await this.#codec.encode(headers)
      await this.#send({ kind: 'synStream', streamId: id, fin: false, block })
    })
    return stream
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#pings.cancel()
    this.#linger?.cancel()
    for (const stream of this.#streams.values()) stream.abandon()
    this.#streams.clear()
    this.#codec.close()
    this.#options.transport.destroy()
    this.#options.onClose?.()
  }

  /** Closes once everything written has left, and the peer has closed too; a slow peer is cut off. */
  finish(): void {
    if (this.#closed || this.#finishing) return
    this.#finishing = true
    const { transport, clock } = this.#options
    const cut = (): void => this.close()
    this.#linger = clock.after(streamLimits.lingerMs, cut, { background: true })
    // The ends of the streams are queued by now: they start writing in the same turn.
    const ended = [...this.#streams.values()].filter((stream) => stream.writableEnded)
    void Promise.all(ended.map(finished)).then(() => transport.end())
    transport.resume()
  }

  /** @internal */
  async sendData(streamId: number, data: Buffer): Promise<void> {
    for (let start = 0; start < data.length; start += streamLimits.spdyWriteBytes) {
      const piece = data.subarray(start, start + streamLimits.spdyWriteBytes)
      await this.#inOrder(() => this.#send({ kind: 'data', streamId, fin: false, data: piece }))
    }
  }

  /** @internal */
  sendFin(streamId: number): Promise<void> {
    const frame: SpdyFrame = { kind: 'data', streamId, fin: true, data: Buffer.alloc(0) }
    return this.#inOrder(() => this.#send(frame))
  }

  /** @internal */
  pause(stream: SpdyStream): void {
    if (this.#finishing) return
    this.#paused.add(stream)
    this.#options.transport.pause()
  }

  /** @internal */
  resume(stream: SpdyStream): void {
    if (this.#paused.delete(stream) && this.#paused.size === 0) this.#options.transport.resume()
  }

  /** @internal */
  forget(stream: SpdyStream, reset: boolean): void {
    this.resume(stream)
    if (!this.#streams.delete(stream.id) || this.#closed || !reset) return
    const frame: SpdyFrame = { kind: 'rstStream', streamId: stream.id, code: cancel }
    this.#inOrder(() => this.#send(frame)).catch(() => {})
  }

  #receive(chunk: Buffer): void {
    let frames: SpdyFrame[]
    try {
      frames = this.#reader.push(chunk)
    } catch {
      return this.close()
    }
    for (const frame of frames) {
      this.#incoming = this.#incoming.then(() => this.#handle(frame)).catch(() => this.close())
    }
  }

  async #handle(frame: SpdyFrame): Promise<void> {
    if (this.#closed) return
    switch (frame.kind) {
      case 'synStream':
        return this.#accept(frame.streamId, frame.fin, await this.#codec.decode(frame.block))
      case 'synReply':
      case 'headers':
        // Their content means nothing here, but the decompressor must see every block.
        await this.#codec.decode(frame.block)
        if (frame.fin) this.#streams.get(frame.streamId)?.receive(Buffer.alloc(0), true)
        return
      case 'data':
        return this.#streams.get(frame.streamId)?.receive(frame.data, frame.fin)
      case 'rstStream':
        this.#streams.get(frame.streamId)?.destroy()
        return
      case 'ping':
        // The answer to one of ours says nothing new.
        if (frame.id % 2 === this.#nextPing % 2) return
        return this.#inOrder(() => this.#send(frame))
      case 'goAway':
      case 'other':
        return
    }
  }

  async #accept(streamId: number, fin: boolean, headers: SpdyHeaders): Promise<void> {
    if (this.#streams.has(streamId)) throw malformed(`stream ${streamId} twice`)
    const { onStream } = this.#options
    if (onStream === undefined || this.#streams.size >= streamLimits.spdyStreamsMax) {
      return this.#inOrder(() => this.#send({ kind: 'rstStream', streamId, code: refusedStream }))
    }
    const stream = new SpdyStream(this, streamId, headers)
    this.#streams.set(streamId, stream)
    await this.#inOrder(async () => {
      const block = await this.#codec.encode({})
      await this.#send({ kind: 'synReply', streamId, fin: false, block })
    })
    if (fin) stream.receive(Buffer.alloc(0), true)
    onStream(stream)
  }

  /** A transport that is paused does not see its peer leave; a ping that can't be delivered shows it. */
  #ping(): void {
    const id = this.#nextPing
    this.#nextPing = (id + 2) & 0x7fffffff
    this.#inOrder(() => this.#send({ kind: 'ping', id })).catch(() => {})
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#outgoing.then(() => {
      if (this.#closed) throw new Error('the connection is closed')
      return work()
    })
    this.#outgoing = done.catch(() => {})
    return done
  }

  #send(frame: SpdyFrame): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#options.transport.write(encodeSpdyFrame(frame), (error) => {
        if (error === null || error === undefined) resolve()
        else reject(toError(error))
      })
    })
  }
}

/** Resolves when the last bytes of a stream have been handed over, or it is gone. */
function finished(stream: SpdyStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableFinished || stream.destroyed) return resolve()
    stream.once('finish', resolve).once('close', resolve)
  })
}
