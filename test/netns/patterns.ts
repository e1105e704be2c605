/**
 * Bytes that say where they belong, so that a receiver notices at once when one is lost, doubled or out
 * of place: a random block of prime length, repeated.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'

const period = 65_521
const block = randomBytes(period)
/** The block twice, so that every window up to its length is one slice. */
const doubled = Buffer.concat([block, block])
const chunkBytes = 65_000

function slice(offset: number, length: number): Buffer {
  const start = offset % period
  return doubled.subarray(start, start + length)
}

/** Writes `bytes` of the pattern, waiting for a slow reader; resolves with how many were taken. */
export async function sendPattern(to: Duplex, bytes: number): Promise<number> {
  let sent = 0
  while (sent < bytes && to.writable) {
    const chunk = slice(sent, Math.min(chunkBytes, bytes - sent))
    sent += chunk.length
    if (!to.write(chunk) && to.writable) {
      const gone = new AbortController()
      const closed = once(to, 'close', { signal: gone.signal }).catch(() => {})
      await Promise.race([once(to, 'drain', { signal: gone.signal }).catch(() => {}), closed])
      gone.abort()
    }
  }
  return sent
}

export interface Received {
  /** Bytes that came, all of them in their place unless `wrongAt` says otherwise. */
  bytes: number
  /** Where the first byte stood that is not the sender's: something was lost or doubled before it. */
  wrongAt: number | undefined
  /** The sender's end was seen. */
  ended: boolean
}

/** Compares what comes with the pattern; `done` settles when the stream ends or closes. */
export function checkPattern(from: Duplex): { received: Received; done: Promise<Received> } {
  const received: Received = { bytes: 0, wrongAt: undefined, ended: false }
  from.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length && received.wrongAt === undefined; at += period) {
      const part = chunk.subarray(at, at + period)
      if (!part.equals(slice(received.bytes + at, part.length))) {
        received.wrongAt = received.bytes + at
      }
    }
    received.bytes += chunk.length
  })
  const done = new Promise<Received>((resolve) => {
    from.on('end', () => {
      received.ended = true
      resolve(received)
    })
    from.on('error', () => {})
    from.on('close', () => resolve(received))
  })
  return { received, done }
}
