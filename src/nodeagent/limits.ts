/** Bounds and delays of the node agent. */
export const limits = {
  /** Pods whose rules are written at the same time: each is a child process or two. */
  concurrency: 6,
  /**
   * A pod that leaves the mesh keeps its proxy for this long after its rules and its annotation went,
   * so that requests under way and idle keep-alive connections end by themselves.
   */
  drainMs: 6_000,
  /** IFNAMSIZ less the terminating zero. */
  interfaceNameLength: 15,
  /** Interfaces in one annotation. */
  virtualInterfaces: 16,
} as const
