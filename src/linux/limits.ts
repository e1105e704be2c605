/** What may grow in this room, and why it stops there. */
export const limits = {
  /** sun_path of 108 bytes, less the terminating zero. */
  unixPathBytes: 107,
  /** Descriptors in one packet; more is a protocol error of every user of this room. */
  fdsPerPacket: 16,
  /** Received packets that wait for `receive`; then the socket is no longer read. */
  queuedPackets: 16,
  /** Packets that wait for room in the peer's buffer; `send` rejects beyond. */
  queuedSends: 1024,
  /** Default size of a packet. */
  packetBytes: 64 * 1024,
  /** Output kept of a tool (nft, ip): enough for every message, not for a flood. */
  toolOutputBytes: 4 * 1024 * 1024,
  /** A rule tool that takes longer hangs on a lock. */
  toolTimeoutMs: 20_000,
} as const
