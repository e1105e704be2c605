/** Bounds of the stream dialects, each with its reason. */
export const streamLimits = {
  /** A frame's length field allows 16 MiB; clients send 32 KiB at most. */
  spdyFrameBytesMax: 1024 * 1024,
  /** Header blocks carry a handful of short names; more is an attempt to exhaust memory. */
  spdyHeaderBytesMax: 64 * 1024,
  /** Two streams a forwarded connection; browsers open a handful of connections. */
  spdyStreamsMax: 1_024,
  /** Largest data frame we write. */
  spdyWriteBytes: 32 * 1024,
  /** Unsent bytes towards a slow peer before its source is paused. */
  unsentBytesMax: 1024 * 1024,
  /** One message of a WebSocket; kubectl sends at most 32 KiB. */
  webSocketMessageBytesMax: 4 * 1024 * 1024,
  /** How often a paused source looks whether the peer has caught up. */
  drainPollMs: 5,
} as const
