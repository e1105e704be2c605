/**
 * One question to one name server: UDP first, TCP when the answer was truncated. Bytes go in and
 * out unchanged but for the id, which is random per try so that answers can't be guessed.
 */
import { randomInt } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, isIPv6, type Socket } from 'node:net'
import { MeshError } from '../base/index.ts'
import { FrameSplitter, frame } from './framing.ts'

export interface NameServer {
  readonly address: string
  readonly port: number
}

/** Makes the sockets of an exchange: for callers that ask from another place than their own. */
export interface ExchangeSockets {
  /** A new socket, bound or not. */
  udp(family: 4 | 6): UdpSocket
  /** A socket that is connecting to the server. */
  tcp(server: NameServer): Socket
}

const ownSockets: ExchangeSockets = {
  udp: (family) => createSocket(family === 6 ? 'udp6' : 'udp4'),
  tcp: ({ address, port }) => connect(port, address),
}

/**
 * Sends the encoded query and returns the encoded answer, with the query's id restored.
 * Rejects after `timeoutMs` for each of the two transports.
 */
export async function exchange(
  server: NameServer,
  query: Uint8Array,
  timeoutMs: number,
  sockets: ExchangeSockets = ownSockets,
): Promise<Uint8Array> {
  const sent = Buffer.from(query)
  sent.writeUInt16BE(randomInt(0x10000), 0)
  let answer = await exchangeUdp(server, sent, timeoutMs, sockets)
  if (((answer[2] ?? 0) & 0x02) !== 0) {
    answer = await exchangeTcp(server, sent, timeoutMs, sockets)
  }
  const restored = Buffer.from(answer)
  restored.set(query.subarray(0, 2))
  return restored
}

/** Whether `answer` belongs to `query`: same id, a response, and the same question bytes. */
function answers(query: Buffer, answer: Buffer): boolean {
  if (answer.length < 12 || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return false
  if (((answer[2] ?? 0) & 0x80) === 0) return false
  // Servers that fail may leave the question out.
  if (answer.readUInt16BE(4) === 0) return ((answer[3] ?? 0) & 0x0f) !== 0
  const end = questionEnd(query)
  return (
    answer.length >= end &&
    answer.subarray(12, end).toString('latin1').toLowerCase() ===
      query.subarray(12, end).toString('latin1').toLowerCase()
  )
}

function questionEnd(query: Buffer): number {
  let at = 12
  while (at < query.length && query[at] !== 0) at += (query[at] ?? 0) + 1
  return Math.min(at + 5, query.length)
}

function timedOut(server: NameServer): MeshError {
  return new MeshError(
    'DNS_TIMEOUT',
    `name server ${server.address}:${server.port} did not answer`,
    {
      retryable: true,
    },
  )
}

function exchangeUdp(
  server: NameServer,
  query: Buffer,
  timeoutMs: number,
  sockets: ExchangeSockets,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = sockets.udp(isIPv6(server.address) ? 6 : 4)
    const timer = setTimeout(() => finish(timedOut(server)), timeoutMs)
    let done = false
    function finish(result: Error | Buffer): void {
      if (done) return
      done = true
      clearTimeout(timer)
      socket.close()
      if (result instanceof Error) reject(result)
      else resolve(result)
    }
    socket.on('error', finish)
    socket.on('message', (data) => {
      if (answers(query, data)) finish(data)
    })
    // Connected, so that the kernel drops what others send and reports a closed port.
    socket.connect(server.port, server.address, () => {
      socket.send(query, (error) => {
        if (error !== null) finish(error)
      })
    })
  })
}

function exchangeTcp(
  server: NameServer,
  query: Buffer,
  timeoutMs: number,
  sockets: ExchangeSockets,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const splitter = new FrameSplitter()
    const socket = sockets.tcp(server)
    socket.once('connect', () => socket.write(frame(query)))
    const timer = setTimeout(() => finish(timedOut(server)), timeoutMs)
    function finish(result: Error | Buffer): void {
      clearTimeout(timer)
      socket.destroy()
      if (result instanceof Error) reject(result)
      else resolve(result)
    }
    socket.on('error', finish)
    socket.on('end', () => finish(timedOut(server)))
    socket.on('data', (chunk) => {
      const answer = splitter.push(chunk).find((data) => answers(query, data))
      if (answer !== undefined) finish(answer)
    })
  })
}
