/** Two sockets as one connection, half-close included: the end of one direction is not the other's. */
import type { Socket } from 'node:net'

export function splice(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.allowHalfOpen = true
    from.on('error', () => reset(to))
    // An end came first in an orderly close; without it the peer must not take it for one.
    from.on('close', () => {
      if (!from.readableEnded) reset(to)
    })
    from.pipe(to)
  }
}

function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy()
}
