/** What the server tells about itself; the composition root maps it to metrics with Istio's names. */
export interface XdsMetrics {
  connections(count: number): void
  pushed(push: {
    readonly typeUrl: string
    readonly proxyType: string
    readonly bytes: number
    readonly resources: number
    readonly removed: number
    /** From handing over to the transport until the message left; a slow proxy makes it long. */
    readonly sendMs: number
  }): void
  nacked(typeUrl: string, proxyId: string): void
  /** A round of changes began to go out, this long after the first of them. */
  debounced(changes: number, waitedMs: number): void
  refused(status: number): void
}

export const noMetrics: XdsMetrics = {
  connections: () => {},
  pushed: () => {},
  nacked: () => {},
  debounced: () => {},
  refused: () => {},
}
