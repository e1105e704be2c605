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
  /** A stream above that rate waits this long for its turn before it is refused. */
  readonly admissionWaitMs: number
  readonly connectionsMax: number
  /** Connections that are being sent to at once; each may hold a whole message in its socket. */
  readonly pushesMax: number
  /** A connection that takes longer than this to take a message no longer counts: it is slow, not busy. */
  readonly pushSlotMs: number
  /** Pushing to many connections gives the event loop back after this. */
  readonly pushSliceMs: number
  /** A proxy which has not acknowledged a response after this gets the next one all the same. */
  readonly acknowledgeMs: number
  /** A proxy that got a new cluster names its endpoints within this; routes to it wait so long. */
  readonly subscribeMs: number
  /** When the control plane stops, streams end one by one over this time; proxies dial at once. */
  readonly drainMs: number
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
  admissionWaitMs: 1_000,
  connectionsMax: 10_000,
  pushesMax: 100,
  pushSlotMs: 500,
  pushSliceMs: 10,
  acknowledgeMs: 15_000,
  subscribeMs: 2_000,
  drainMs: 2_000,
  typesPerConnectionMax: 64,
  namesPerConnectionMax: 200_000,
  roundsMax: 32,
  peerTextMax: 4_096,
}
