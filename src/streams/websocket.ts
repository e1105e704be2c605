/** Accepting WebSockets on sockets that an HTTP server hands over, with a choice of subprotocols. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import { streamLimits } from './limits.ts'

/** The first protocol that the client offers and we speak. */
export function chooseProtocol(
  request: IncomingMessage,
  supported: readonly string[],
): string | undefined {
  const offered = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((text) => text.trim())
  return offered.find((protocol) => supported.includes(protocol))
}

/** Completes the handshake with this subprotocol. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: streamLimits.webSocketMessageBytesMax,
    perMessageDeflate: false,
  })
  // The name of the port-forward protocol has a slash, which ws refuses as no token: so it never sees
  // the offer, and the answer is added here.
  delete request.headers['sec-websocket-protocol']
  server.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`))
  return new Promise((resolve, reject) => {
    const failed = (): void => reject(new Error('the connection closed during the handshake'))
    socket.once('close', failed)
    server.handleUpgrade(request, socket, head, (webSocket) => {
      socket.off('close', failed)
      webSocket.on('error', () => webSocket.terminate())
      resolve(webSocket)
    })
  })
}

/** The bytes of a WebSocket's binary messages as one Duplex. */
export function webSocketStream(webSocket: WebSocket): Duplex {
  return createWebSocketStream(webSocket)
}
