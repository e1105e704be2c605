/** What both ends of an HTTP/2 connection need beyond what Node does by itself. */
import type { Http2Session } from 'node:http2'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../base/index.ts'
import { MeshError } from '../base/index.ts'
import { fdOf, isDisconnected } from '../linux/index.ts'
import { peerClosed } from './errors.ts'
import { disconnectCheckMs, pingPeriodMs, pingTimeoutMs } from './limits.ts'

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

/**
 * Ends a session whose connection the kernel has given up. Node does not notice a reset which a write of
 * TLS meets before a read does (nodejs/node issue 61304): to it that write never ends, reading waits for
 * the write, and a PING would only show it after half a minute in which new streams go nowhere.
 */
export function endWhenLost(session: Http2Session, socket: Duplex, clock: Clock): void {
  const timer = clock.every(
    disconnectCheckMs,
    () => {
      if (session.destroyed || !isLost(socket)) return
      session.destroy(peerClosed())
      socket.destroy()
    },
    { background: true },
  )
  session.once('close', () => timer.cancel())
}

/** Whether there is no connection any more, as the kernel sees it. */
export function isLost(socket: Duplex): boolean {
  if (socket.destroyed) return true
  // A tunnel inside a tunnel has no descriptor; the outer one is watched.
  if (!(socket instanceof Socket)) return false
  try {
    return isDisconnected(fdOf(socket))
  } catch {
    return false
  }
}
