/** Bounds of the DNS codec and server, each with its reason. */
export const limits = {
  /** RFC 1035: a name on the wire, its lengths and the root included. */
  nameBytes: 255,
  /** RFC 1035: one label. */
  labelBytes: 63,
  /** Each compression pointer must go backwards; more hops than this is an attack, not a name. */
  pointerHops: 32,
  /** UDP answer for a client without EDNS. */
  udpBytes: 512,
  /** UDP answer for a client with EDNS, whatever it asks for: stays under the usual path MTU. */
  ednsUdpBytes: 1232,
  /** A TCP message has a 16-bit length. */
  messageBytes: 65_535,
  /** Names that a message's compression table remembers (a pointer reaches 14 bits anyway). */
  compressionOffset: 0x3fff,
  /** Idle TCP clients are let go. */
  tcpIdleMs: 10_000,
  /** TCP clients at once; each can hold a 64 KiB message. */
  tcpConnections: 256,
  /** Questions being answered at once; above it new ones are dropped, as a resolver repeats them. */
  pendingQueries: 2_000,
} as const
