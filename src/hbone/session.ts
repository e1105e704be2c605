/** What both ends of an HTTP/2 connection need beyond what Node does by itself. */
import type { Http2Session } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Clock } from '../base/index.ts'
import { MeshError } from '../base/index.ts'
import { peerClosed } from './errors.ts'
import { pingPeriodMs, pingTimeoutMs } from './limits.ts'

/** PINGs, so that a peer which is gone is noticed within half a minute. */
export function keepAlive(session: Http2Session, clock: Clock): void {
  let sentAt: number | undefined
  const timer = clock.every(
    pingPeriodMs,
    () => {
      if (session.destroyed) return
      if (sentAt !== undefined) {
        if (clock.monotonic() - sentAt < pingTimeoutMs) return
        session.destroy(new MeshError('HBONE_PING_TIMEOUT', 'the peer answers no PING'))
        return
      }
      sentAt = clock.monotonic()
      try {
        session.ping(() => (sentAt = undefined))
      } catch {
        // The session ended between the check and the call; its own events say so.
      }
    },
    { background: true },
  )
  session.once('close', () => timer.cancel())
}

/**
 * Ends the session with its socket and the socket with its session. Node misses three cases: a socket
 * that allows half-open connections and is ended by the peer, a TLS alert after the handshake (the
 * session's streams fail, the socket stays open for ever), and a socket that closed before.
 */
export function endWithSocket(session: Http2Session, socket: Duplex, onClosed: () => void): void {
  socket.once('end', () => session.destroy(peerClosed()))
  socket.once('error', (error) => {
    session.destroy(error)
    socket.destroy()
  })
  socket.once('close', () => {
    session.destroy(peerClosed())
    onClosed()
  })
}
