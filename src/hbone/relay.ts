/**
 * Moves bytes between two streams, both ways, until both are closed. Half-closes pass through, a
 * reset of one end becomes a reset of the other, and a slow reader stops the writer.
 */
import { constants } from 'node:http2'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { resetStream } from './reset.ts'

/** A TCP socket or an HTTP/2 stream. */
export type RelayEnd = Duplex & { readonly rstCode?: number }

export interface RelayOptions {
  readonly client: RelayEnd
  readonly server: RelayEnd
  /** Bytes on their way from client to server. */
  readonly onForward: (bytes: number) => void
  readonly onBackward: (bytes: number) => void
}

/** Resolves when both ends are closed; rejects with the first trouble, then too with both closed. */
export function relay({ client, server, onForward, onBackward }: RelayOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: Error | undefined
    let open = 2
    let isOver = false
    const join = (from: RelayEnd, to: RelayEnd, name: string, count: Count): void => {
      let ended = false
      const onClose = (): void => {
        if (isClosedByEnvoy(from)) {
          isOver = true
          finish(from, to, count)
        } else if (isOver) {
          // Nobody is there who could miss what it did not send any more.
        } else if (!ended || !from.writableFinished || from.errored !== null || isReset(from)) {
          failure ??= new Error(`the ${name} reset the connection`)
          reset(to)
        }
        if (--open > 0) return
        if (failure === undefined) resolve()
        else reject(failure)
      }
      from.on('error', (error) => {
        if (!isOver && !isClosedByEnvoy(from)) failure ??= error
      })
      // One that closed before we came emits nothing any more.
      if (from.destroyed && from.closed) setImmediate(onClose)
      else from.once('close', onClose)
      from.on('end', () => {
        // Node says "end" also of an HTTP/2 stream that was cut off; that one is destroyed by then.
        if (from.destroyed || isReset(from)) return
        ended = true
        to.end()
      })
      pump(from, to, count)
    }
    join(client, server, 'client', onForward)
    join(server, client, 'server', onBackward)
  })
}

type Count = (bytes: number) => void

function pump(from: RelayEnd, to: RelayEnd, count: Count): void {
  from.on('data', (chunk: Buffer) => {
    count(chunk.length)
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
}

function isReset(end: RelayEnd): boolean {
  return (end.rstCode ?? 0) !== 0
}

/**
 * What Envoy sends when the connection behind a tunnel was closed in both directions, after its bytes: as much of an
 * end as TCP gives to who might have sent more.
 */
function isClosedByEnvoy(end: RelayEnd): boolean {
  return end.rstCode === constants.NGHTTP2_CONNECT_ERROR
}

/** Passes on what a slow reader had not taken yet, and closes once all has left. */
function finish(from: RelayEnd, to: RelayEnd, count: Count): void {
  // Node keeps what it had received of a stream that is gone, but tells nobody of it any more.
  for (let chunk: unknown = from.read(); chunk instanceof Buffer; chunk = from.read()) {
    count(chunk.length)
    to.write(chunk)
  }
  if (to instanceof Socket) to.destroySoon()
  else to.end()
}

/** Ends a stream so that its peer sees a failure, not a normal end. */
export function reset(end: RelayEnd): void {
  if (end instanceof Socket) end.resetAndDestroy()
  else resetStream(end)
}
