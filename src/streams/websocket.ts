/** Accepting WebSockets on sockets that an HTTP server hands over, with a choice of subprotocols. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import type { Clock } from '../base/index.ts'
import { streamLimits } from './limits.ts'

/** The first protocol that the client offers and we speak. */
export function chooseProtocol(
  request: IncomingMessage,
  supported: readonly string[],
): string | undefined {
  return firstOf(request.headers['sec-websocket-protocol'], supported)
}

/** The first name of a comma-separated header that is supported. */
export function firstOf(
  header: string | string[] | undefined,
  supported: readonly string[],
): string | undefined {
  const offered = String(header ?? '').split(',')
  return offered.map((text) => text.trim()).find((protocol) => supported.includes(protocol))
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

/** Resolves when the message has left for the kernel, or never will. */
export function sendMessage(webSocket: WebSocket, data: Buffer): Promise<void> {
  return new Promise((resolve) => {
    if (webSocket.readyState === webSocket.OPEN) webSocket.send(data, () => resolve())
    else resolve()
  })
}

/** Closes in good order; a peer that does not answer is cut off after a while. */
export function closeSoon(webSocket: WebSocket, clock: Clock): void {
  // A paused socket would never see the answer.
  webSocket.resume()
  webSocket.close(1000)
  const timer = clock.after(streamLimits.lingerMs, () => webSocket.terminate(), {
    background: true,
  })
  webSocket.once('close', () => timer.cancel())
}

/** A socket that is paused does not see its peer leave; a ping that can't be delivered shows it. */
export function pingRegularly(webSocket: WebSocket, clock: Clock): void {
  const ping = (): void => {
    if (webSocket.readyState === webSocket.OPEN) webSocket.ping()
  }
  const timer = clock.every(streamLimits.pingMs, ping, { background: true })
  webSocket.once('close', () => timer.cancel())
}
