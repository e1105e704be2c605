/** Bounds and times of the xDS server, each with its reason. */
export interface XdsLimits {
  /** A change waits for this much quiet, so that a rollout is one push ... */
  readonly debounceQuietMs: number
  /** ... but never longer than this. */
  readonly debounceMaxMs: number
  /** Streams end after this, so that proxies spread over replicas; ±10 %. */
  readonly connectionAgeMs: number
  /** New streams a second; a restarted control plane must not drown in its proxies. */
  readonly connectionsPerSecond: number
  readonly connectionsMax: number
  /** Types watched on one stream; there are about ten. */
  readonly typesPerConnectionMax: number
  /** Names subscribed one by one on one stream. */
  readonly namesPerConnectionMax: number
  /** Changes remembered one by one for connections that are behind; older ones are merged. */
  readonly roundsMax: number
  /** Characters kept of what a proxy says (errors, node fields). */
  readonly peerTextMax: number
}

export const defaultLimits: XdsLimits = {
  debounceQuietMs: 100,
  debounceMaxMs: 10_000,
  connectionAgeMs: 30 * 60_000,
  connectionsPerSecond: 100,
  connectionsMax: 10_000,
  typesPerConnectionMax: 64,
  namesPerConnectionMax: 200_000,
  roundsMax: 32,
  peerTextMax: 4_096,
}
