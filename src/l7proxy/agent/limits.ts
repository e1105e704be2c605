/** Bounds and times of the agent beside a stock Envoy, each with its reason. */
export const limits = {
  /** Envoy's admin port is on the loopback; whoever waits longer waits for a process that hangs. */
  adminTimeoutMs: 5_000,
  /** An answer of the admin port that is held in memory: readiness asks for four lines. */
  adminBytesMax: 1024 * 1024,
  /** One line of a scrape; label values are bounded by Envoy far below. */
  metricsLineMax: 1024 * 1024,
  /** How often the file with the control plane's roots is read: kubelets replace it within a minute. */
  rootsPeriodMs: 10_000,
  /** Names that one stream of secrets may ask for; a proxy has two. */
  secretNamesMax: 100,
  /** Of clients, at once; long before, the files of the process are used up on most machines. */
  connectionsMax: 1_000_000,
  /** Requests in progress get this long after SIGTERM; Istio's default. */
  drainMs: 5_000,
  /** Envoy closes what is left within this after its SIGTERM, or is killed. */
  exitGraceMs: 5_000,
  /** How often it is looked whether Envoy became ready or stopped being it, for the log. */
  readinessPeriodMs: 1_000,
  /** Kubelets cut the message of a container that ended at this length. */
  terminationMessageBytes: 4096,
} as const
