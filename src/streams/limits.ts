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
  /** How long a client may take to open the streams that its request names (reference: a kubelet's 30 s). */
  streamsWaitMs: 30_000,
  /** A connection that is paused does not see its peer leave; a ping that can't be delivered shows it. */
  pingMs: 10_000,
  /** How long the last bytes may take to leave before the connection is cut. */
  lingerMs: 5_000,
  /** Ports of one port-forward request in the channel dialect: two channels each, 255 is taken. */
  channelPortsMax: 64,
} as const
