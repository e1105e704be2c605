/** The upgrade from HTTP/1.1 to raw SPDY/3.1, with the choice of what is spoken inside. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { firstOf } from './websocket.ts'

/** Whether the client asks for SPDY. */
export function wantsSpdy(request: IncomingMessage): boolean {
  return /^spdy\/3\.1$/i.test((request.headers.upgrade ?? '').trim())
}

/** The first protocol that the client offers and we speak; `offered` is undefined when it names none. */
export function chooseStreamProtocol(
  request: IncomingMessage,
  supported: readonly string[],
): { readonly offered: string | undefined; readonly protocol: string | undefined } {
  // Several headers of a name arrive joined by commas.
  const header = request.headers['x-stream-protocol-version']
  const offered = header === undefined ? undefined : String(header)
  return { offered, protocol: firstOf(offered, supported) }
}

/** Completes the upgrade; what comes from now on is SPDY. */
export function acceptSpdy(socket: Duplex, head: Buffer, protocol: string): Duplex {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
      `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  )
  if (head.length > 0) socket.unshift(head)
  return socket
}
