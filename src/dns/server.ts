/**
 * A DNS server over sockets that it is given: UDP with truncation, TCP with its length prefix.
 * It takes ready sockets instead of addresses because some are opened inside pods' namespaces.
 */
import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram'
import type { Server, Socket } from 'node:net'
import { type Logger, toError } from '../base/index.ts'
import { FrameSplitter, frame } from './framing.ts'
import { limits } from './limits.ts'
import {
  answerMessage,
  decodeMessage,
  encodeMessage,
  type Message,
  responseCodes,
  udpLimitOf,
} from './message.ts'

export interface QueryContext {
  readonly transport: 'udp' | 'tcp'
  readonly clientAddress: string
  readonly clientPort: number
}

/**
 * Answers one query: a message (encoded and truncated here) or undefined, which drops it.
 * A rejection is answered with SERVFAIL.
 */
export type DnsHandler = (query: Message, context: QueryContext) => Promise<Message | undefined>

export class DnsServer {
  readonly #handler: DnsHandler
  readonly #logger: Logger
  readonly #connections = new Set<Socket>()
  #pending = 0

  constructor(handler: DnsHandler, logger: Logger) {
    this.#handler = handler
    this.#logger = logger
  }

  /** Serves a bound UDP socket; the caller keeps and closes it. */
  serveUdp(socket: UdpSocket): void {
    socket.on('message', (data: Buffer, peer: RemoteInfo) => {
      const context = {
        transport: 'udp',
        clientAddress: peer.address,
        clientPort: peer.port,
      } as const
      void this.#answer(data, context).then((answer) => {
        // The socket can be closed while the question was being answered.
        if (answer !== undefined) sendQuietly(socket, answer, peer)
      })
    })
  }

  /** Serves a listening TCP server; the caller keeps and closes it. */
  serveTcp(server: Server): void {
    server.on('connection', (socket: Socket) => {
      if (this.#connections.size >= limits.tcpConnections) {
        socket.destroy()
        return
      }
      this.#serveConnection(socket)
    })
  }

  /** Ends the TCP connections that are open. */
  close(): void {
    for (const socket of this.#connections) socket.destroy()
  }

  #serveConnection(socket: Socket): void {
    this.#connections.add(socket)
    const splitter = new FrameSplitter()
    const context = {
      transport: 'tcp',
      clientAddress: socket.remoteAddress ?? '',
      clientPort: socket.remotePort ?? 0,
    } as const
    socket.setTimeout(limits.tcpIdleMs, () => socket.destroy())
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      for (const data of splitter.push(chunk)) {
        void this.#answer(data, context).then((answer) => {
          if (answer !== undefined && socket.writable) socket.write(frame(answer))
        })
      }
    })
  }

  async #answer(data: Uint8Array, context: QueryContext): Promise<Uint8Array | undefined> {
    let query: Message
    try {
      query = decodeMessage(data)
    } catch {
      return formatErrorAnswer(data)
    }
    // An answer sent to a server is noise, or an attempt to make two servers talk forever.
    if (query.response || this.#pending >= limits.pendingQueries) return undefined
    const maxBytes = context.transport === 'udp' ? udpLimitOf(query) : limits.messageBytes
    this.#pending++
    try {
      if (query.opcode !== 0) return encodeMessage(failure(query, responseCodes.notImplemented))
      if (query.questions.length !== 1)
        return encodeMessage(failure(query, responseCodes.formatError))
      const answer = await this.#handler(query, context)
      return answer === undefined ? undefined : encodeMessage(answer, maxBytes)
    } catch (error) {
      this.#logger.debug('query failed', {
        name: query.questions[0]?.name,
        error: toError(error).message,
      })
      return encodeMessage(failure(query, responseCodes.serverFailure))
    } finally {
      this.#pending--
    }
  }
}

function failure(query: Message, responseCode: number): Message {
  return answerMessage(query, { responseCode })
}

/** FORMERR for what can't be read, when at least its id can. */
function formatErrorAnswer(data: Uint8Array): Uint8Array | undefined {
  if (data.length < 12 || ((data[2] ?? 0) & 0x80) !== 0) return undefined
  const answer = new Uint8Array(12)
  answer.set(data.subarray(0, 2))
  answer[2] = 0x80
  answer[3] = responseCodes.formatError
  return answer
}

function sendQuietly(socket: UdpSocket, answer: Uint8Array, peer: RemoteInfo): void {
  try {
    socket.send(answer, peer.port, peer.address, () => {})
  } catch {
    // Closed in between: nobody waits for the answer any more.
  }
}
