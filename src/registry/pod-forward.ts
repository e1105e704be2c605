/**
 * Port-forward in its three dialects: SPDY over the upgraded connection, SPDY inside a WebSocket (both of Go
 * clients), and channels over a WebSocket (of the others).
 */
import type { Duplex } from 'node:stream'
import { badRequest } from '../kube/index.ts'
import {
  acceptSpdy,
  acceptWebSocket,
  channelProtocols,
  portForwardProtocol,
  portForwardTunnelProtocol,
  serveChannelPortForward,
  servePortForward,
  streamLimits,
  webSocketStream,
} from '../streams/index.ts'
import { negotiateDialect, type StreamContext, type UpgradeRequest } from './pod-upgrade.ts'

const supported = {
  webSocket: [portForwardTunnelProtocol, ...channelProtocols],
  spdy: [portForwardProtocol],
}

/** Serves until the client leaves. Rejects only while it can still be answered over HTTP. */
export async function serveForward(
  request: UpgradeRequest,
  connect: (port: number) => Promise<Duplex>,
  context: StreamContext,
): Promise<void> {
  const { message, socket, head, query } = request
  const { transport, protocol } = negotiateDialect(request, supported, context)
  const { clock } = context
  if (transport === 'spdy') {
    servePortForward(acceptSpdy(socket, head, protocol), connect, clock)
    return
  }
  if (protocol === portForwardTunnelProtocol) {
    const webSocket = await acceptWebSocket(message, socket, head, protocol)
    servePortForward(webSocketStream(webSocket), connect, clock)
    return
  }
  const ports = portsOf(query)
  const webSocket = await acceptWebSocket(message, socket, head, protocol)
  await serveChannelPortForward({ webSocket, ports, connect, clock })
}

/** `ports=80&ports=81`, or `ports=80,81`. */
function portsOf(query: URLSearchParams): number[] {
  const texts = query.getAll('ports').flatMap((text) => text.split(','))
  if (texts.length === 0) throw badRequest('query parameter "ports" is required')
  if (texts.length > streamLimits.channelPortsMax)
    throw badRequest(`at most ${streamLimits.channelPortsMax} ports can be forwarded at once`)
  return texts.map((text) => {
    const port = Number(text)
    if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port
    throw badRequest(`unable to parse "${text}" as a port: it must be a number from 1 to 65535`)
  })
}
