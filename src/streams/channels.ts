/**
 * The channel dialect of exec and attach over WebSocket (`v4` and `v5.channel.k8s.io`): the first byte of a
 * message names the channel. v5 adds a message that closes one, so that stdin can end before the command.
 */
import type { Readable } from 'node:stream'
import { PassThrough } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock } from '../base/index.ts'
import {
  type CommandConnection,
  type CommandHandlers,
  type CommandOutcome,
  readSize,
} from './command.ts'
import { streamLimits } from './limits.ts'
import { closeSoon, pingRegularly, sendMessage } from './websocket.ts'

export const channelProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 }

export class ChannelConnection implements CommandConnection {
  readonly stdin: Readable
  readonly #webSocket: WebSocket
  readonly #clock: Clock
  readonly #stdin = new PassThrough()
  #finished = false

  constructor(webSocket: WebSocket, handlers: CommandHandlers, clock: Clock) {
    this.#webSocket = webSocket
    this.#clock = clock
    this.stdin = this.#stdin
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', (message: Buffer) => {
      const [kind] = message
      const data = message.subarray(1)
      if (kind === channel.stdin) this.#feed(data)
      else if (kind === channel.resize) readSize(data, handlers)
      else if (kind === channel.close && data[0] === channel.stdin) this.#stdin.end()
    })
    webSocket.once('close', () => {
      this.#stdin.end()
      handlers.onClose()
    })
    pingRegularly(webSocket, clock)
    // Without a first message some clients wait for the peer before they start.
    void sendMessage(webSocket, Buffer.of(channel.stdout))
  }

  async copy(source: Readable, to: 'stdout' | 'stderr'): Promise<void> {
    const kind = Buffer.of(channel[to])
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (this.#webSocket.readyState !== this.#webSocket.OPEN) break
      const sent = sendMessage(this.#webSocket, Buffer.concat([kind, chunk]))
      if (this.#webSocket.bufferedAmount > streamLimits.unsentBytesMax) await sent
    }
  }

  finish(outcome: CommandOutcome): void {
    this.#finished = true
    const status = Buffer.from(JSON.stringify(outcome))
    void sendMessage(this.#webSocket, Buffer.concat([Buffer.of(channel.error), status]))
    closeSoon(this.#webSocket, this.#clock)
  }

  #feed(data: Buffer): void {
    if (this.#finished || this.#stdin.writableEnded || this.#stdin.write(data)) return
    this.#webSocket.pause()
    this.#stdin.once('drain', () => this.#webSocket.resume())
  }
}
