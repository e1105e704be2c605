/** Bounds and times of certificate handling, each with its reason. */
export const limits = {
  /** SECRET_TTL of Istio's node proxy. */
  ttlMs: 24 * 3_600_000,
  /** Requests under way at once; more would make the authority slow for the urgent ones. */
  concurrencyMax: 8,
  backoffInitialMs: 500,
  backoffMaxMs: 150_000,
  /** How often ages are looked at, on the wall clock: timers stand still while a machine is suspended. */
  checkPeriodMs: 2_000,
  /** The wall clock went this much further than the monotonic one: it was set, or we slept. */
  clockJumpMs: 5_000,
  requestTimeoutMs: 10_000,
  /** Identities held at once; a node has some hundreds of pods. */
  identitiesMax: 10_000,
} as const
