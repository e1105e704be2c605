/** Bounds of the node's network, each with its reason. */
export const limits = {
  /** Addresses remembered for pods that are not running, so that they come back with the same one. */
  rememberedAddresses: 4_096,
  /** Endpoints of one Service port that the node's rules choose among; a rule's map grows with it. */
  endpointsPerPort: 1_000,
  /** Changes of Services and endpoints are collected this long; one `nft` run costs about 10 ms. */
  rulesDelayMs: 5,
  /** After a failed change of the rules. */
  rulesRetryMs: 1_000,
  /** Relayed connections at once: each holds two descriptors. */
  relayedConnections: 4_096,
  /** A connection through a loopback port to a Service. */
  backendConnectMs: 10_000,
  /** Of answers from the cluster's own zone: as in CoreDNS. */
  dnsTtlSeconds: 5,
  /** How long others may keep it that a name is not there. */
  negativeTtlSeconds: 5,
  /** An answer of the host's resolver. */
  forwardTimeoutMs: 8_000,
  /** The address table is written at most this often. */
  persistDelayMs: 200,
} as const
