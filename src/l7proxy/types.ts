/** The configuration of the proxy in the form that requests are served from. */

export interface RouteMatch {
  readonly path: (path: string) => boolean
  readonly headers: readonly ((headers: RequestHeaders) => boolean)[]
  readonly query: readonly ((query: URLSearchParams) => boolean)[]
}

/** What matching needs of a request; header names are lower case. */
export interface RequestHeaders {
  readonly method: string
  get(name: string): string | undefined
}

export interface WeightedTarget {
  readonly cluster: string
  readonly weight: number
}

export type RouteAction =
  | { readonly kind: 'direct'; readonly status: number; readonly body: string }
  | {
      readonly kind: 'forward'
      readonly targets: readonly WeightedTarget[]
      readonly totalWeight: number
      /** Status when the cluster is not known. */
      readonly notFoundStatus: number
      /** Zero: no limit. */
      readonly timeoutMs: number
      readonly retries: number
      readonly retriesConnectFailures: boolean
    }

export interface Route {
  readonly name: string
  readonly match: RouteMatch
  readonly action: RouteAction
}

export interface VirtualHost {
  readonly name: string
  readonly routes: readonly Route[]
  readonly includeAttemptCount: boolean
}

export interface RouteTable {
  readonly name: string
  readonly ignorePort: boolean
  /** Exact names, lower case. */
  readonly exact: ReadonlyMap<string, VirtualHost>
  /** `.example.com` for `*.example.com`, longest first. */
  readonly suffixes: readonly { readonly text: string; readonly host: VirtualHost }[]
  /** `example.` for `example.*`, longest first. */
  readonly prefixes: readonly { readonly text: string; readonly host: VirtualHost }[]
  readonly any: VirtualHost | undefined
}

export interface ListenerConfig {
  readonly name: string
  readonly address: string
  readonly port: number
  readonly routeName: string
  readonly serverName: string
  readonly normalizePath: boolean
  readonly useRemoteAddress: boolean
  readonly websocket: boolean
  readonly accessLog: boolean
  /** Zero: no limit. */
  readonly streamIdleMs: number
}

export interface ClusterConfig {
  readonly name: string
  /** Empty: it has no endpoints. */
  readonly endpointsName: string
  readonly connectTimeoutMs: number
  readonly policy: 'round-robin' | 'random' | 'least-request'
}

export interface Endpoint {
  readonly address: string
  readonly port: number
  readonly weight: number
}
