/**
 * What exec and attach need of a connection, whichever dialect the client speaks: standard streams, sizes of
 * its terminal, and a last word about how the command ended.
 */
import type { Readable } from 'node:stream'

/** The streams that the request asks for. With a tty there is no `stderr`. */
export interface CommandStreams {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

/** How a command ended, as a Status object of the API. */
export interface CommandOutcome {
  readonly status?: string
  readonly message?: string
}

export interface CommandHandlers {
  onResize(columns: number, rows: number): void
  /** The client has left, or the connection broke. */
  onClose(): void
}

export interface CommandConnection {
  /** What the client types; ends when it says so, or leaves. */
  readonly stdin: Readable
  /** Sends everything that `source` gives; resolves at its end, or when the client is gone. */
  copy(source: Readable, to: 'stdout' | 'stderr'): Promise<void>
  /** Sends how it ended, and closes. */
  finish(outcome: CommandOutcome): void
}

/** Reads `{"Width":80,"Height":24}`. */
export function readSize(data: Buffer, handlers: CommandHandlers): void {
  const { Width: columns, Height: rows } = parse(data)
  if (typeof columns === 'number' && typeof rows === 'number') handlers.onResize(columns, rows)
}

/** A size that can't be read changes nothing. */
function parse(data: Buffer): Record<string, unknown> {
  try {
    return (JSON.parse(data.toString()) as Record<string, unknown> | null) ?? {}
  } catch {
    return {}
  }
}
