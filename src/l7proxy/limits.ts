/** Bounds of the L7 proxy, each with its reason. */
export const limits = {
  /** Envoy's default for all request headers together. */
  headerBytesMax: 60 * 1024,
  /** Envoy's default: a connection without requests for this long is closed. */
  downstreamIdleMs: 3_600_000,
  /** A client that sends its headers slower than this holds a connection for nothing. */
  headersTimeoutMs: 60_000,
  /** Shorter than the 5 s after which many servers close: we close first, so no request races with it. */
  upstreamIdleMs: 4_000,
  /** Idle connections kept for each upstream address. */
  upstreamIdleMax: 256,
  /** Envoy's default when the cluster says nothing. */
  connectTimeoutMs: 5_000,
  /** Time that requests in progress get after SIGTERM, as Istio's proxies. */
  drainMs: 5_000,
} as const
