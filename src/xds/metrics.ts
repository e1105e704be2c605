/** What the server tells about itself; the composition root maps it to metrics with Istio's names. */
import type { ProxyNode } from './contract.ts'

export interface PushReport {
  readonly typeUrl: string
  readonly proxyType: string
  readonly bytes: number
  readonly resources: number
  readonly removed: number
  /** From handing over to the transport until the message left; a slow proxy makes it long. */
  readonly sendMs: number
}

export interface XdsMetrics {
  /** A proxy said who it is; later it is gone. */
  connected(proxy: ProxyNode): void
  disconnected(proxy: ProxyNode): void
  pushed(push: PushReport): void
  nacked(typeUrl: string, proxyId: string): void
  /** A request had the nonce of a response that was not the last. */
  staleNonce(typeUrl: string): void
  /** A proxy asked for a type for the first time on its stream. */
  requested(typeUrl: string): void
  /** A round of changes began to go out, this long after the first of them. */
  debounced(round: {
    readonly changes: number
    readonly waitedMs: number
    readonly typeUrls: Iterable<string>
  }): void
  /** A connection waited this long for its turn to be sent to. */
  queued(waitedMs: number): void
  /** A proxy acknowledged the last of what a change meant for it, this long after the change. */
  converged(afterMs: number): void
  refused(status: number): void
}

const nothing = (): void => {}

export const noMetrics: XdsMetrics = {
  connected: nothing,
  disconnected: nothing,
  pushed: nothing,
  nacked: nothing,
  staleNonce: nothing,
  requested: nothing,
  debounced: nothing,
  queued: nothing,
  converged: nothing,
  refused: nothing,
}
