/**
 * The body of an HTTP/2 answer, piece by piece. Not the stream's own iterator: that one takes a stream
 * whose last frame has arrived for cut off, even when all of its body still waits to be read, and a
 * short answer often has arrived as a whole before anybody reads.
 */
import type { ClientHttp2Stream } from 'node:http2'

/** Yields the body to its end; throws when it breaks off. Leaving the loop early cancels the request. */
export async function* chunksOf(
  stream: ClientHttp2Stream,
): AsyncGenerator<Buffer, void, undefined> {
  let wake: (() => void) | undefined
  let failure: Error | undefined
  const onEvent = (): void => wake?.()
  const onError = (error: Error): void => {
    failure = error
    wake?.()
  }
  stream.on('readable', onEvent).on('end', onEvent).on('close', onEvent).on('error', onError)
  try {
    for (;;) {
      // Without an encoding a stream of bytes gives Buffers.
      const chunk = stream.read() as Buffer | null
      if (chunk !== null) {
        yield chunk
        continue
      }
      if (failure !== undefined) throw failure
      const broken = (stream.rstCode ?? 0) !== 0 || stream.aborted
      if (broken || (stream.destroyed && !stream.readableEnded)) {
        throw new Error(`the answer broke off (HTTP/2 code ${stream.rstCode})`)
      }
      if (stream.readableEnded) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = undefined
    }
  } finally {
    stream.off('readable', onEvent).off('end', onEvent).off('close', onEvent)
    if (!stream.readableEnded) stream.destroy()
  }
}
