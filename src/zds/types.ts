/** The messages of ZDS in the form that programs use. */

export interface ZdsWorkloadInfo {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** What the agent asks of the proxy. `uid` is the pod's. */
export type ZdsRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info: ZdsWorkloadInfo }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'snapshotSent' }

/**
 * The proxy's side. Calls come one at a time, in the order of the wire; each is acknowledged when its
 * promise settles: with the error's text when it rejects. The agent waits 5 s for that.
 */
export interface ZdsHandler {
  /** A connection was made: until `snapshotSent` every known pod is mentioned by `add` or `keep`. */
  connected?(): void
  /** Opens the pod's listeners. The handler owns `netnsFd` from here on, also when it rejects. */
  add(uid: string, info: ZdsWorkloadInfo, netnsFd: number): Promise<void>
  /** The pod exists but the agent has no descriptor: whatever runs for it goes on. */
  keep(uid: string): Promise<void>
  del(uid: string): Promise<void>
  /** Pods that were not mentioned since `connected` are gone. */
  snapshotSent(): Promise<void>
}

/** A pod as the agent's server holds it. */
export interface ZdsPod {
  readonly uid: string
  readonly info: ZdsWorkloadInfo
  /** Stays owned by the caller, open until `delete`. Absent: not known (any more); the proxy keeps what it has. */
  readonly netnsFd?: number
}

/**
 * `enabled`: a proxy has acknowledged the pod. `pending`: none has; it is offered again. `noProxy`
 * when the reason is that none is connected, so none has refused it.
 */
export type ZdsPodState =
  | { readonly state: 'enabled' }
  | { readonly state: 'pending'; readonly reason: string; readonly noProxy?: true }
