/** Bounds and times of the node proxy (reference: ambient, HBONE and node-proxy forwarding). */

export const ports = {
  outbound: 15_001,
  inboundPlaintext: 15_006,
  inboundHbone: 15_008,
  dns: 15_053,
  admin: 15_000,
  metrics: 15_020,
  readiness: 15_021,
} as const

/** Ports that no connection may be led to: it would end in the proxy itself. */
export const illegalPorts: ReadonlySet<number> = new Set([
  ports.outbound,
  ports.inboundPlaintext,
  ports.inboundHbone,
  ports.dns,
])

/** Mark of every socket of the proxy; the rules in the pod let it pass by this. */
export const socketMark = 0x539
export const listenBacklog = 128
export const keepalive = { idle: 180, interval: 180, count: 9 } as const
export const connectTimeoutMs = 10_000
export const handshakeTimeoutMs = 10_000
/** How long a connection waits for its own workload to arrive by xDS. */
export const ownWorkloadWaitMs = 5_000
/**
 * How long a proxy that drains stays at least: for connections that it had accepted but that were not
 * yet under way, and for questions to name servers.
 */
export const drainLingerMs = 1_000
/** How long a connection waits for the control plane to say who an address is. */
export const demandWaitMs = 5_000
/** How often a pod whose proxy could not be started is tried again. */
export const startRetryMs = 5_000
/** Idle series of departed workloads go after one to two of these. */
export const seriesExpiryMs = 30 * 60_000
/** How often the file of revoked certificates is looked at. */
export const crlPeriodMs = 5_000
/** Threads that carry connections. */
export const workerLimits = {
  countMax: 64,
  /** A thread above this is ended and started anew, instead of the whole process by the kernel. */
  heapMegabytes: 1024,
  restartInitialMs: 100,
  restartMaxMs: 15_000,
} as const
/** Connections that /config_dump lists for a pod. */
export const dumpedConnections = 1_000
