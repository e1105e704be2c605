/** Bounds of the gRPC layer, each with its reason. */
export const limits = {
  /** Requests: certificate requests are small, a reconnecting proxy lists the versions of all it holds. */
  serverMessageBytesMax: 64 * 1024 * 1024,
  /** Responses: the whole state of a large mesh may come as one message. */
  clientMessageBytesMax: 200 * 1024 * 1024,
  /** A client opens one stream and a few certificate calls. */
  streamsPerConnectionMax: 256,
  connectionsMax: 10_000,
  /** Who connects must finish its handshake; others would hold sockets for nothing. */
  handshakeTimeoutMs: 10_000,
  /** A connection without a call is given back. */
  connectionIdleMs: 5 * 60_000,
  keepaliveTimeMs: 30_000,
  keepaliveTimeoutMs: 10_000,
  /** Certificates and tokens are small; larger files are something else. */
  credentialFileBytesMax: 1024 * 1024,
  /** Large pushes should not wait for window updates. */
  flowWindowBytes: 4 * 1024 * 1024,
  /** Requests are small but for those of reconnecting proxies. */
  receiveWindowBytes: 256 * 1024,
  /** A token and a few names. */
  headerBytesMax: 32 * 1024,
  /** Up to here one write with a copy is cheaper than several without. */
  joinedBytesMax: 16 * 1024,
  /** Of a large message so much waits in the transport for one peer. */
  sliceBytes: 64 * 1024,
  unaryTimeoutMs: 10_000,
  connectTimeoutMs: 5_000,
  /** A client that was told the end closes its side within this. */
  halfClosedMs: 5_000,
  /** How long `stop` lets calls end by themselves. */
  stopGraceMs: 2_000,
} as const
