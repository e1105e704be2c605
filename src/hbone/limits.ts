/** The HTTP/2 settings of HBONE and the bounds of this room (reference: ambient, HBONE). */

const KiB = 1024
const MiB = 1024 * KiB

export interface Http2Limits {
  readonly streamWindowBytes: number
  readonly connectionWindowBytes: number
  readonly frameBytes: number
  /** Client end. */
  readonly clientHeaderListBytes: number
  /** Server end. */
  readonly serverHeaderListBytes: number
  readonly serverMaxStreams: number
}

export const http2Limits: Http2Limits = {
  streamWindowBytes: 4 * MiB,
  connectionWindowBytes: 16 * MiB,
  frameBytes: 1 * MiB,
  clientHeaderListBytes: 16 * KiB,
  serverHeaderListBytes: 64 * KiB,
  serverMaxStreams: 200,
}

/** Streams on one connection of the pool; the peer's SETTINGS may lower it. */
export const maxStreamsPerConnection = 100
/** A connection without streams goes after this. */
export const idleReleaseMs = 5 * 60_000
export const pingPeriodMs = 10_000
export const pingTimeoutMs = 20_000
/** How often the kernel is asked whether it has given up a connection: one call that copies 8 bytes. */
export const disconnectCheckMs = 1_000
/**
 * Megabytes that Node lets one session hold. Its default of 10 is below our connection window, and
 * a session above it refuses new streams.
 */
export const sessionMemoryMegabytes = 64
/** How often a CONNECT is tried again on a new connection after a pooled one turned out dead. */
export const maxReconnects = 2
/** Longest baggage we read; the rest is ignored. */
export const maxBaggageBytes = 8 * KiB
