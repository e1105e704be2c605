/** Bounds of the broker, each with its reason. */
export const limits = {
  /** Connections being made at once: a scanner in a pod must not use up the host's descriptors. */
  pendingDials: 512,
  /** Half of what Linux waits by itself: a pod's own time-outs are shorter than that anyway. */
  dialTimeoutMs: 60_000,
  /** One try with one name server of the host. */
  nameServerTimeoutMs: 2_000,
  /** Name servers of resolv.conf that are used, as in the C library. */
  nameServers: 3,
  /** Questions forwarded at once. */
  pendingQueries: 1_000,
  /** Extra loopback listeners of LoadBalancer Services. */
  listeners: 256,
  /** Programs of `weft run` that are remembered. */
  definedImages: 256,
  /** Clients of the control socket at once. */
  controlClients: 64,
  /** One line of the control protocol. */
  controlLineBytes: 64 * 1024,
  /** How long init may take to end everything before it is killed. */
  stopDeadlineMs: 10_000,
  /** Restarts of a dying init: first delay and longest. */
  restartInitialMs: 200,
  restartMaxMs: 30_000,
  /** An init that lived this long had started well: its next death begins with a short delay. */
  restartStableMs: 60_000,
  /** A log file is kept up to this size once it is opened again. */
  logBytes: 10 * 1024 * 1024,
} as const
