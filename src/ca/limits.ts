/** Bounds and times of the authority, each with its reason. */
const hourMs = 3_600_000
const dayMs = 24 * hourMs

export const limits = {
  /** DEFAULT_WORKLOAD_CERT_TTL of Istio. */
  defaultTtlMs: dayMs,
  /** MAX_WORKLOAD_CERT_TTL of Istio; asking for more is an error. */
  maxTtlMs: 90 * dayMs,
  /** Certificates begin earlier, for peers whose clocks are behind. */
  clockSkewMs: 2 * 60_000,
  rootTtlMs: 3650 * dayMs,
  /** Of a self-signed root's key. */
  rsaBits: 2048,
  /** The self-signed root gets a successor when less than this part of its life is left. */
  rotationGracePart: 0.2,
  rotationCheckMs: hourMs,
  /** The control plane's own certificate. */
  servingTtlMs: dayMs,
  /** How often its age is looked at, on the wall clock (suspended machines). */
  servingCheckMs: 5_000,
  /** Requests that one caller may make: a node proxy asks for every account of its node at once. */
  requestsPerSecond: 500,
  requestBurst: 2_000,
  /** Callers whose rate is remembered; the longest silent ones are forgotten. */
  ratedCallersMax: 10_000,
  /** A pod may be known to its node before it is known here. */
  podWaitMs: 1_000,
  podPollMs: 50,
} as const
