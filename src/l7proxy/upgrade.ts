/** WebSocket upgrades: after the 101 both connections are joined, byte for byte. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Exchange } from './exchange.ts'
import { headerPairs, upstreamHeaders } from './headers.ts'
import type { Endpoint } from './types.ts'

export interface UpgradeOptions {
  readonly exchange: Exchange
  readonly endpoint: Endpoint
  readonly socket: Duplex
  readonly head: Buffer
  /** Called once, when the tunnel or the refusal is over. */
  readonly onEnd: () => void
}

export function forwardUpgrade(options: UpgradeOptions): void {
  const { exchange, endpoint, socket, head, onEnd } = options
  const { request, listener, record } = exchange
  socket.once('close', onEnd)
  const upstream = httpRequest({
    host: endpoint.address,
    port: endpoint.port,
    method: request.method,
    path: record.path,
    setHost: false,
    headers: upstreamHeaders(request.rawHeaders, record.requestId, {
      clientAddress: exchange.clientAddress,
      useRemoteAddress: listener.useRemoteAddress,
      scheme: 'http',
      attempt: undefined,
      upgrade: 'websocket',
      chunked: false,
    }),
  })
  upstream.on('upgrade', (response, other, otherHead) => {
    record.status = 101
    socket.write(head101(response))
    join(socket, other, head, otherHead)
  })
  upstream.on('response', (response) => {
    record.status = response.statusCode ?? 502
    socket.write(statusLine(response))
    response.pipe(socket)
  })
  upstream.on('error', () => {
    record.status = 503
    record.flag = 'UF'
    socket.end('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  })
  upstream.end()
}

function join(client: Duplex, upstream: Duplex, head: Buffer, upstreamHead: Buffer): void {
  if (head.length > 0) upstream.write(head)
  if (upstreamHead.length > 0) client.write(upstreamHead)
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }
}

function head101(response: IncomingMessage): string {
  const lines = [...headerPairs(response.rawHeaders)].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`
}

/** A refusal: the connection ends with it, so that its length needs no framing. */
function statusLine(response: IncomingMessage): string {
  const kept = [...headerPairs(response.rawHeaders)].filter(
    ([name]) => !/^(connection|transfer-encoding|content-length|keep-alive)$/i.test(name),
  )
  const lines = kept.map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\n${lines.join('')}connection: close\r\n\r\n`
}
