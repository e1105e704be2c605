/** Bounds of the registry, each with its reason. */
export const limits = {
  /** The largest object; Kubernetes' own store has the same bound. */
  objectBytesMax: 1.5 * 1024 * 1024,
  /** A request body may carry an object with a little syntax around it (YAML, patches). */
  bodyBytesMax: 3 * 1024 * 1024,
  /** All objects live in memory, so the state is bounded: one machine, one mesh. */
  stateBytesMax: 512 * 1024 * 1024,
  /** Changes kept for watches that resume, per resource: whichever bound is met first. */
  historyEventsMax: 100_000,
  historyBytesMax: 64 * 1024 * 1024,
  /** Unsent bytes of one watch; beyond it the client is cut and resumes from its version. */
  watchBufferBytesMax: 8 * 1024 * 1024,
  /** Lists leave in pieces of this size, so that one large list doesn't hold the event loop. */
  listChunkBytes: 256 * 1024,
  listSliceMs: 5,
  /** First pages whose remaining pages are still promised. */
  continuationsMax: 64,
  continuationAgeMs: 300_000,
  /** How long a list or watch waits for a version from the future. */
  futureVersionWaitMs: 3_000,
  bookmarkPeriodMs: 60_000,
  /** Watches without a `timeoutSeconds` end after 30 to 60 minutes. */
  watchTimeoutSeconds: 1_800,
  watchTimeoutSecondsMax: 3_600,
  /** Changes in one transaction; more wait for the next one. */
  commitBatchMax: 512,
  /** Rows a message while loading. */
  loadRowsMax: 500,
  /** Times a read-modify-write starts again after a concurrent change. */
  writeAttemptsMax: 6,
  generateNameAttemptsMax: 8,
  /** A pod may be created in the tick after its namespace: wait for the ServiceAccount. */
  serviceAccountWaitMs: 2_000,
  headerBytesMax: 64 * 1024,
  /** Header and TLS handshake of a new connection. */
  handshakeTimeoutMs: 10_000,
  requestsPerConnectionMax: 1_000,
  tokenSecondsMin: 600,
  tokenSecondsMax: 48 * 3_600,
  tokenSecondsDefault: 3_600,
  tokenCacheMax: 1_024,
  certificateLifeMs: 365 * 86_400_000,
  authorityLifeMs: 3_650 * 86_400_000,
  /** Certificates are replaced when less than this part of their life is left. */
  renewPart: 1 / 6,
  /** How often their age is looked at, on the wall clock: timers stand still in a sleeping machine. */
  certificateCheckMs: 5_000,
  /** Unsent bytes towards a slow exec, attach or port-forward client before the pod is paused. */
  streamBufferBytesMax: 1024 * 1024,
} as const
