/**
 * The channel dialect of exec and attach over WebSocket (`v4` and `v5.channel.k8s.io`): the first byte of a
 * message names the channel. v5 adds a message that closes one, so that stdin can end before the command.
 */
import type { Readable } from 'node:stream'
import { PassThrough } from 'node:stream'
import type { WebSocket } from 'ws'
import { streamLimits } from './limits.ts'

export const channelProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 }

export class ChannelConnection {
  /** What the client types; ends when it says so, or leaves. */
  readonly stdin: Readable
  readonly #webSocket: WebSocket
  readonly #stdin = new PassThrough()

  constructor(
    webSocket: WebSocket,
    handlers: {
      onResize(columns: number, rows: number): void
      onClose(): void
    },
  ) {
    this.#webSocket = webSocket
    this.stdin = this.#stdin
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', (message: Buffer) => {
      const [kind] = message
      const data = message.subarray(1)
      if (kind === channel.stdin) this.#feed(data)
      else if (kind === channel.resize) resize(data, handlers.onResize)
      else if (kind === channel.close && data[0] === channel.stdin) this.#stdin.end()
    })
    webSocket.once('close', () => {
      this.#stdin.end()
      handlers.onClose()
    })
    // Without a first message some clients wait for the peer before they start.
    this.#send(channel.stdout, Buffer.alloc(0))
  }

  /** Sends everything that `source` gives on stdout or stderr; resolves at its end. */
  async copy(source: Readable, to: 'stdout' | 'stderr'): Promise<void> {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (this.#webSocket.readyState !== this.#webSocket.OPEN) break
      this.#send(channel[to], chunk)
      await this.#drained()
    }
  }

  /** Sends the final Status and closes. */
  finish(status: object): void {
    this.#send(channel.error, Buffer.from(JSON.stringify(status)))
    this.#webSocket.close(1000)
  }

  #feed(data: Buffer): void {
    if (this.#stdin.writableEnded || this.#stdin.write(data)) return
    this.#webSocket.pause()
    this.#stdin.once('drain', () => this.#webSocket.resume())
  }

  #send(kind: number, data: Buffer): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return
    this.#webSocket.send(Buffer.concat([Buffer.of(kind), data]))
  }

  /** WebSockets have no drain event; a full buffer is looked at again soon. */
  async #drained(): Promise<void> {
    while (
      this.#webSocket.bufferedAmount > streamLimits.unsentBytesMax &&
      this.#webSocket.readyState === this.#webSocket.OPEN
    ) {
      await new Promise((resolve) => setTimeout(resolve, streamLimits.drainPollMs))
    }
  }
}

function resize(data: Buffer, onResize: (columns: number, rows: number) => void): void {
  try {
    const { Width: columns, Height: rows } = JSON.parse(data.toString()) as Record<string, unknown>
    if (typeof columns === 'number' && typeof rows === 'number') onResize(columns, rows)
  } catch {
    // A size that can't be read changes nothing.
  }
}
