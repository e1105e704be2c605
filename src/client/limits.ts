/** Bounds of the Kubernetes client, each with its reason. */
export const limits = {
  /** A local server answers in milliseconds, a remote one in seconds. */
  connectTimeoutMs: 10_000,
  /** Lists of thousands of objects arrive in one go; small windows would stall them. */
  streamWindowBytes: 4 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  /** A peer that is gone without FIN is noticed within two periods. */
  pingPeriodMs: 30_000,
  /** Objects a page; the size kubectl uses. */
  pageSize: 500,
  /** One object with its envelope; Kubernetes refuses larger ones at 1.5 MiB. */
  answerBytesMax: 256 * 1024 * 1024,
  watchLineBytesMax: 16 * 1024 * 1024,
  /** The server ends watches after this time; reflectors start again from the last version. */
  watchTimeoutSeconds: 540,
  backoffInitialMs: 50,
  backoffMaxMs: 10_000,
} as const
