/**
 * What the xDS server needs from whoever makes resources (`translate`, composed in `controlplane`).
 * A resource is encoded once per change; the push path concatenates these bytes into envelopes.
 */

export interface EncodedResource {
  readonly name: string
  readonly typeUrl: string
  /** Hash of the content: the same content has the same version after a restart. */
  readonly version: string
  /** The serialized message itself (the `value` of the Any). */
  readonly bytes: Uint8Array
  /** Other names this resource answers to, for on-demand subscriptions. */
  readonly aliases?: readonly string[]
  /**
   * Names of resources of the same type which this one comes along with: who subscribes to a service
   * by name or address gets its workloads too, also those that appear later.
   */
  readonly belongsTo?: readonly string[]
}

/** Who is asking, from the node in its first request and from its authenticated identity. */
export interface ProxyNode {
  readonly id: string
  /** `ztunnel`, `sidecar`, `router` or `waypoint`: the first part of the id. */
  readonly type: string
  readonly ip: string
  readonly name: string
  readonly namespace: string
  readonly cluster: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** Absent: the node does not say. */
  readonly locality?: { readonly region: string; readonly zone: string; readonly subzone: string }
  /** The authenticated SPIFFE identity; undefined only on the plaintext port. */
  readonly identity: string | undefined
}

export interface ResourceChange {
  /** Grows by one with every change of the source. */
  readonly revision: number
  /** Names that were added, changed or removed, by type. A type mapped to '*' changed entirely. */
  readonly names: ReadonlyMap<string, ReadonlySet<string> | '*'>
}

export interface ResourceSource {
  readonly revision: number
  /** True when the first snapshot is complete; before, connections are answered UNAVAILABLE. */
  readonly ready: boolean
  typeUrls(): readonly string[]
  /** Everything of one type that this proxy sees. The same for all proxies of one `viewKey`. */
  list(typeUrl: string, proxy: ProxyNode): Iterable<EncodedResource>
  /** One resource by name or alias, or undefined. */
  get(typeUrl: string, name: string, proxy: ProxyNode): EncodedResource | undefined
  /** The resources that belong to this one (see `belongsTo`). Absent: none of any do. */
  related?(typeUrl: string, name: string, proxy: ProxyNode): Iterable<EncodedResource>
  /** Proxies with the same key see the same resources of the type; lets the server share work. */
  viewKey(typeUrl: string, proxy: ProxyNode): string
  /**
   * A proxy came, and went: once each, with the same object as in all questions in between. What a
   * proxy sees that nobody shares any more need not be kept.
   */
  joined?(proxy: ProxyNode): void
  left?(proxy: ProxyNode): void
  /** Calls back after each change, synchronously; returns the remover. */
  onChange(listener: (change: ResourceChange) => void): () => void
}
