/**
 * Port-forward in the channel dialect over WebSocket, which JavaScript and Python clients speak: of the n-th
 * port in the request, channel 2n carries data and 2n+1 errors; the first message on each is its port number.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { type Clock, toError } from '../base/index.ts'
import { streamLimits } from './limits.ts'
import { closeSoon, pingRegularly, sendMessage } from './websocket.ts'

/** A message on this channel closes the one that it names (v5). */
const closeChannel = 255

export interface ChannelPortForwardOptions {
  readonly webSocket: WebSocket
  readonly ports: readonly number[]
  /** Reaches a port of the pod. */
  readonly connect: (port: number) => Promise<Duplex>
  readonly clock: Clock
}

/** Serves until every forwarded connection has ended, or the client leaves. */
export async function serveChannelPortForward(options: ChannelPortForwardOptions): Promise<void> {
  const { webSocket, ports, connect, clock } = options
  webSocket.binaryType = 'nodebuffer'
  pingRegularly(webSocket, clock)
  const forwards = ports.map((port, index) => new Forward(webSocket, port, index * 2))
  webSocket.on('message', (message: Buffer) => {
    const [kind = closeChannel] = message
    if (kind === closeChannel) forwards[(message[1] ?? 1) / 2]?.end()
    else forwards[kind / 2]?.write(message.subarray(1))
  })
  webSocket.once('close', () => {
    for (const forward of forwards) forward.destroy()
  })
  await Promise.all(forwards.map((forward) => forward.run(connect)))
  closeSoon(webSocket, clock)
}

/** One port: what comes before the connection stands waits here. */
class Forward {
  readonly #webSocket: WebSocket
  readonly #port: number
  readonly #channel: number
  readonly #early: Buffer[] = []
  #upstream: Duplex | undefined
  #ended = false
  #gone = false

  constructor(webSocket: WebSocket, port: number, channel: number) {
    this.#webSocket = webSocket
    this.#port = port
    this.#channel = channel
    const number = Buffer.of(port & 0xff, port >> 8)
    void this.#send(channel, number)
    void this.#send(channel + 1, number)
  }

  async run(connect: (port: number) => Promise<Duplex>): Promise<void> {
    try {
      const upstream = await connect(this.#port)
      if (this.#gone) return void upstream.destroy()
      this.#attach(upstream)
      for await (const chunk of upstream as AsyncIterable<Buffer>) {
        const sent = this.#send(this.#channel, chunk)
        if (this.#webSocket.bufferedAmount > streamLimits.unsentBytesMax) await sent
      }
    } catch (error) {
      if (this.#gone) return
      this.destroy()
      const text = `error forwarding port ${this.#port}: ${toError(error).message}`
      await this.#send(this.#channel + 1, Buffer.from(text))
    }
  }

  write(data: Buffer): void {
    if (this.#gone) return
    if (this.#upstream === undefined) {
      this.#early.push(data)
      // Taken up again once the connection stands.
      this.#webSocket.pause()
    } else if (!this.#upstream.writableEnded && !this.#upstream.write(data)) {
      this.#webSocket.pause()
      this.#upstream.once('drain', () => this.#webSocket.resume())
    }
  }

  end(): void {
    this.#ended = true
    this.#upstream?.end()
  }

  destroy(): void {
    this.#gone = true
    this.#upstream?.destroy()
  }

  #attach(upstream: Duplex): void {
    this.#upstream = upstream
    upstream.once('close', () => this.#webSocket.resume())
    for (const data of this.#early.splice(0)) upstream.write(data)
    if (this.#ended) upstream.end()
    this.#webSocket.resume()
  }

  #send(channel: number, data: Buffer): Promise<void> {
    return sendMessage(this.#webSocket, Buffer.concat([Buffer.of(channel), data]))
  }
}
