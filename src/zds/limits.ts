/** Sizes and times of the ZDS protocol (reference: ambient ZDS). */
export const limits = {
  /** Both sides read into a buffer of this size; a longer packet is an error. */
  packetBytes: 1024,
  /** The hello and every ack must come within this time. */
  ackTimeoutMs: 5_000,
  /** Pods that the proxy refused, or that had no proxy, are offered again. */
  retryMs: 5_000,
  /** At most five connections a second are accepted: a proxy in a crash loop must not starve the rest. */
  acceptIntervalMs: 200,
  /** Proxies at once: one, two in a rolling restart, and some that are about to end. */
  connections: 8,
  /** The proxy's reconnect delays. */
  reconnectInitialMs: 100,
  reconnectMaxMs: 15_000,
} as const
