/** Bounds and times of the xDS client, each with its reason. */
export const limits = {
  /** A control plane that is not up this soon after us is worth a warning. */
  startQuietMs: 10_000,
  /** Istio's node proxy: the first retry is almost at once, a dead control plane is asked every 15 s. */
  backoffInitialMs: 10,
  backoffMaxMs: 15_000,
  /** Reasons in one NACK; a response may have thousands of resources. */
  nackReasonsMax: 20,
  nackCharactersMax: 4_000,
  /** Names asked for on demand and remembered; the oldest that do not exist are given up first. */
  demandedMax: 100_000,
} as const
