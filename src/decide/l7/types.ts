/** Question and answer of layer 7: the request, the connection it came on, and what is injected. */

/** Header names are lower case; several values of one name are joined with a comma. */
export interface HeaderReader {
  get(name: string): string | undefined
  /** The first of several values, where they came apart; command operators print no more. */
  first?(name: string): string | undefined
}

/** What the handshake told. */
export interface TlsFacts {
  readonly uriSans: readonly string[]
  readonly dnsSans: readonly string[]
  readonly subject: string
  readonly issuer?: string
  readonly serialNumber?: string
  /** SHA-256 of the certificate, hex. */
  readonly fingerprint?: string
  /** Whether the peer sent a certificate, and whether it was verified. */
  readonly presented: boolean
  readonly validated: boolean
  readonly localUriSans: readonly string[]
  readonly localSubject?: string
  readonly version?: string
  readonly cipher?: string
}

export interface ConnectionFacts {
  /** Who connected, not who a header says it was. */
  readonly sourceIp: string
  readonly sourcePort: number
  readonly destinationIp: string
  readonly destinationPort: number
  readonly tls?: TlsFacts | undefined
  /** Server name of the TLS hello. */
  readonly sni?: string | undefined
  /** Protocols offered in the TLS hello, or found by inspection. */
  readonly alpn?: readonly string[] | undefined
  /** `tls` or `raw_buffer`, as inspection found. */
  readonly transportProtocol?: string | undefined
  readonly filterState?: ReadonlyMap<string, string> | undefined
  /** Dynamic metadata that network filters wrote, by namespace. */
  readonly metadata?: MetadataStore | undefined
  /** Where the kernel says that the client wanted to go, `ip:port`. */
  readonly originalDestination?: string | undefined
}

export type MetadataStore = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface L7Request {
  readonly method: string
  /** Of the connection, or what a trusted proxy says (`x-forwarded-proto`). */
  readonly scheme: string
  readonly authority: string
  /** With the query; empty for a CONNECT without one. */
  readonly path: string
  /** Without pseudo headers. */
  readonly headers: HeaderReader
  readonly connection: ConnectionFacts
  /** The client's address by `x-forwarded-for` and trusted hops; absent: who connected. */
  readonly remoteIp?: string | undefined
  /** `HTTP/1.1`, `HTTP/2` ... */
  readonly protocol?: string | undefined
  /** Whether it comes from inside (`x-envoy-internal`). */
  readonly internal?: boolean | undefined
}

/** What a decision may depend on besides configuration and request. */
export interface DecideContext {
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Key sets by address, for providers that fetch them; undefined: not fetched yet. */
  readonly keySet?: ((uri: string) => string | undefined) | undefined
  /** Whether a cluster is there; without it, all are. */
  readonly hasCluster?: ((name: string) => boolean) | undefined
  /** Of the proxy, for `%HOSTNAME%` and faults for named nodes. */
  readonly node?: { readonly hostname: string; readonly id: string } | undefined
  /** A variable of the proxy's environment, for `%ENVIRONMENT(X)%`. */
  readonly environment?: ((name: string) => string | undefined) | undefined
}

/** `add` keeps what is there; `set` replaces it. A value of its own never has line breaks. */
export type HeaderOperation =
  | { readonly kind: 'add' | 'set'; readonly name: string; readonly value: string }
  | { readonly kind: 'remove'; readonly name: string }

/** Which object of the user made a part of the configuration. */
export interface Origin {
  /** `/apis/<group>/<version>/namespaces/<namespace>/<kind>/<name>` */
  readonly config: string
  /** `/spec/http/2` */
  readonly path?: string | undefined
}

/** What is known of a response when its headers are decided. */
export interface ResponseFacts {
  readonly status: number
  readonly headers: HeaderReader
  /** `ip:port` of the endpoint; absent for an answer of our own. */
  readonly upstreamHost?: string | undefined
  readonly upstreamCluster?: string | undefined
  readonly flags?: string | undefined
  readonly details?: string | undefined
}
