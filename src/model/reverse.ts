/**
 * Who depends on what: from the thing that changes to the things whose translation it enters.
 * Only updates read these, so they are plain mutable sets owned by the model, not part of snapshots.
 */

export class ReverseIndex {
  readonly #sets = new Map<string, Set<string>>()

  add(value: string, key: string): void {
    const set = this.#sets.get(value)
    if (set === undefined) this.#sets.set(value, new Set([key]))
    else set.add(key)
  }

  remove(value: string, key: string): void {
    const set = this.#sets.get(value)
    if (set === undefined) return
    set.delete(key)
    if (set.size === 0) this.#sets.delete(value)
  }

  get(value: string): ReadonlySet<string> {
    return this.#sets.get(value) ?? nothing
  }

  /** The values that have any key. */
  values(): IterableIterator<string> {
    return this.#sets.keys()
  }

  /** Moves `key` from the old values to the new ones. */
  move(key: string, previous: readonly string[], next: readonly string[]): void {
    for (const value of previous) if (!next.includes(value)) this.remove(value, key)
    for (const value of next) if (!previous.includes(value)) this.add(value, key)
  }
}

const nothing: ReadonlySet<string> = new Set()

export class ReverseIndexes {
  readonly workloadsByNamespace = new ReverseIndex()
  /** By `labelKey`. */
  readonly workloadsByLabel = new ReverseIndex()
  readonly workloadsByNode = new ReverseIndex()
  readonly slicesByNode = new ReverseIndex()
  readonly servicesByNamespace = new ReverseIndex()
  /** Routes, `<Kind>/<namespace>/<name>`, by backend, `<namespace>/<service name>`. */
  readonly routesByBackend = new ReverseIndex()
  /** Routes, `<Kind>/<namespace>/<name>`, by their namespace. */
  readonly routesByNamespace = new ReverseIndex()
  readonly gatewaysByClass = new ReverseIndex()
  /** By waypoint key: what asks for it, as `w|<uid>`, `s|<service key>` or `n|<namespace>`. */
  readonly waypointUsers = new ReverseIndex()
  /** PeerAuthentications with port levels, which inherit from their namespace and the mesh. */
  readonly portPeerAuthentications = new ReverseIndex()
  /** Gateways that admit routes by namespace labels. */
  readonly gatewaysBySelector = new Set<string>()
}
