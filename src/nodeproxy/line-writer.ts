/**
 * Standard output for logs: lines are gathered for a moment and written at once, because a write
 * per connection would be a system call per connection. When the reader is slow, lines are dropped
 * and counted instead of filling the memory.
 */
import type { Writable } from 'node:stream'
import type { Clock } from '../base/index.ts'

export interface LineWriter {
  readonly write: (line: string) => void
  /** Hands over what is gathered. */
  readonly flush: () => void
}

const gatherMs = 50
const gatheredBytes = 64 * 1024
const queuedBytes = 4 * 1024 * 1024

/** A writer to `out`; call `flush` before the process ends. */
export function createLineWriter(out: Writable, clock: Clock): LineWriter {
  let gathered = ''
  let scheduled = false
  let dropped = 0
  const flush = (): void => {
    if (gathered === '') return
    const text = gathered
    gathered = ''
    if (out.writableLength > queuedBytes) {
      dropped++
      return
    }
    const note = dropped === 0 ? '' : `${dropped} blocks of log lines were dropped: slow reader\n`
    dropped = 0
    out.write(note + text)
  }
  return {
    flush,
    write(line) {
      gathered += line
      if (gathered.length > gatheredBytes) return flush()
      if (scheduled) return
      scheduled = true
      clock.after(gatherMs, () => {
        scheduled = false
        flush()
      })
    },
  }
}
