/** Everything in the runtime that could grow, and how far. */
export const limits = {
  /** A log file is turned over at this size, and so many old ones are kept (as a kubelet does). */
  logFileBytesMax: 10 * 1024 * 1024,
  logFilesMax: 5,
  /** Longer lines are split into parts (`P` instead of `F`). */
  logLineBytesMax: 16 * 1024,
  /** Bytes waiting for the disk before a container's output is no longer read. */
  logBufferBytesMax: 1024 * 1024,
  /** Delays between restarts of a container that keeps failing. */
  restartBackoffMs: 10_000,
  restartBackoffMaxMs: 300_000,
  /** A container that ran this long starts again without delay. */
  restartBackoffResetMs: 600_000,
  /** What an image of an unknown name, or a missing ConfigMap, is tried again with. */
  retryInitialMs: 1_000,
  retryMaxMs: 300_000,
  /** Status writes of a pod are at least this far apart, so that a burst becomes one. */
  statusDelayMs: 10,
  /** Messages in statuses (reference: Kubernetes keeps 4096 bytes of a termination message). */
  terminationMessageBytesMax: 4096,
  /** Writable memory of a container's own file system: `/tmp`, `/run` and `/var` together. */
  scratchBytes: 256 * 1024 * 1024,
  /** Memory of a pod's API volumes, start files and termination messages; of a memory emptyDir without a limit. */
  podRunBytes: 64 * 1024 * 1024,
  memoryVolumeBytes: 256 * 1024 * 1024,
  /** How many containers start at the same time; more would only make all of them slower. */
  containersStarting: 8,
  /** Pods that the node takes. */
  podsMax: 250,
  /** A launch that takes longer has failed. */
  launchTimeoutMs: 20_000,
  /** How often renewal of tokens and content of volumes are looked at, by the wall clock. */
  volumeSyncMs: 30_000,
  /** How soon it is noticed that this time has passed: timers stand still in a sleeping machine. */
  volumeSyncCheckMs: 2_000,
  volumeChangeDelayMs: 300,
  /** Node lease and status (reference: kubelet defaults 10 s and 5 min). */
  leaseRenewMs: 10_000,
  nodeStatusMs: 300_000,
  /** A pod without a registry object any more gets this long between TERM and KILL. */
  orphanGraceSeconds: 2,
  /** Bytes of probe answers and hook outputs that are kept for messages. */
  probeOutputBytesMax: 1024,
  /** Commands running in one container by exec, attach excluded. */
  execSessionsMax: 64,
  /** Windows of `top`: processor time is counted in 10 ms, so less than a second says nothing. */
  usageWindowMinMs: 1_000,
  usageWindowMs: 10_000,
  usageWindowMaxMs: 60_000,
  /** Processes looked at before others get a turn. */
  usageReadsAtOnce: 32,
} as const
