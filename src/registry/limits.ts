/** Bounds of the registry, each with its reason. */
export const limits = {
  /** The largest object; Kubernetes' own store has the same bound. */
  objectBytesMax: 1.5 * 1024 * 1024,
  /** A request body may carry an object with a little syntax around it (YAML, patches). */
  bodyBytesMax: 3 * 1024 * 1024,
  /** All objects live in memory, so the state is bounded: one machine, one mesh. */
  stateBytesMax: 512 * 1024 * 1024,
  objectsMax: 50_000,
  /** A page of the file belongs to one object only, so that small objects take more than their bytes. */
  fileBytesPerStateByte: 2,
  /** Changes kept for watches that resume, per resource: whichever bound is met first. */
  historyEventsMax: 100_000,
  historyBytesMax: 64 * 1024 * 1024,
  historyAgeMs: 300_000,
  /** Of all resources together; the largest history gives way. */
  historyTotalBytesMax: 128 * 1024 * 1024,
  /** How often histories lose what is too old, and the file what is free. */
  housekeepingPeriodMs: 30_000,
  /** Free pages that stay in the file: churn takes them again at once. */
  freePagesKept: 1_024,
  /** Free pages given back in one step; commits wait meanwhile. */
  freePagesPerStep: 2_048,
  /** Pages in the write-ahead log before they move to the file. */
  checkpointPages: 4_000,
  /** Versions that a power cut may skip, so that unsynced writes of events and leases never reuse one. */
  unsyncedRevisions: 10_000,
  /** Above any version that clients can remember from before a restore. */
  restoreRevisionGap: 1_000_000_000,
  /** Unsent bytes of one watch; beyond it the client is cut and resumes from its version. */
  watchBufferBytesMax: 8 * 1024 * 1024,
  /** Unsent bytes of all watches together: those that are behind by more than a part of it are cut. */
  watchBuffersTotalBytesMax: 128 * 1024 * 1024,
  watchBehindBytes: 1024 * 1024,
  /** Lists leave in pieces of this size, so that one large list doesn't hold the event loop. */
  listChunkBytes: 256 * 1024,
  listSliceMs: 5,
  /** How long a list or watch waits for a version from the future. */
  futureVersionWaitMs: 3_000,
  bookmarkPeriodMs: 60_000,
  /** Watches without a `timeoutSeconds` end after 30 to 60 minutes. */
  watchTimeoutSeconds: 1_800,
  watchTimeoutSecondsMax: 3_600,
  /** Changes in one transaction; more wait for the next one. */
  commitBatchMax: 512,
  commitBytesMax: 8 * 1024 * 1024,
  /** Rows a message while loading. */
  loadRowsMax: 500,
  /** Times a read-modify-write starts again after a concurrent change. */
  writeAttemptsMax: 6,
  generateNameAttemptsMax: 8,
  /** A pod may be created in the tick after its namespace: wait for the ServiceAccount. */
  serviceAccountWaitMs: 2_000,
  /** Names and values of a request's header; more is 431. */
  headerBytesMax: 64 * 1024,
  /** What is read of a header to answer 431; beyond it only the stream or connection is ended. */
  headerBytesRead: 256 * 1024,
  headerFieldsMax: 512,
  /** Header and TLS handshake of a new connection. */
  handshakeTimeoutMs: 10_000,
  headerTimeoutMs: 10_000,
  /** A body that trickles in holds memory and a stream. */
  bodyTimeoutMs: 60_000,
  /** In megabytes, of one connection: several watches that are behind must not keep new requests out. */
  connectionMemoryMb: 64,
  /** Connections without a request end after this time, as in Kubernetes. */
  idleConnectionMs: 90_000,
  /** One machine's clients; beyond it the longest idle one makes room. */
  connectionsMax: 4_096,
  requestsPerConnectionMax: 1_000,
  /** Roles that are parts of parts of parts; beyond it the next change goes on. */
  aggregationRoundsMax: 32,
  /** An AdmissionReview may carry two objects, an answer a patch of one. */
  webhookAnswerBytesMax: 3 * 1024 * 1024,
  /** What of a webhook's failure is shown to the user. */
  webhookFailureTextMax: 512,
  /** Idle connections to webhooks are kept this long. */
  webhookIdleMs: 60_000,
  /** Connections to one webhook: more calls wait for one of them. */
  webhookConnectionsMax: 64,
  matchConditionsMax: 64,
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
  /** How long a client may take to read why its upgrade was refused. */
  refusalLingerMs: 5_000,
} as const
