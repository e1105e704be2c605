/** Gateway API kinds, with the field names users write and defaults filled in by `ingest`. */
import type { ConfigObject, GatewaySpec, HTTPRouteSpec } from './istio/index.ts'
import type { Labels } from './types.ts'

export interface GatewayClass {
  readonly name: string
  readonly controllerName: string
  readonly labels: Labels
  readonly annotations: Labels
}

export interface RouteNamespaces {
  readonly from: 'Same' | 'All' | 'Selector'
  readonly matchLabels: Labels
  readonly matchExpressions: readonly {
    readonly key?: string
    readonly operator?: string
    readonly values?: readonly string[]
  }[]
}

export interface Listener {
  readonly name: string
  readonly hostname: string
  readonly port: number
  readonly protocol: string
  readonly namespaces: RouteNamespaces
  /** Empty: every kind that fits the protocol. */
  readonly allowedKinds: readonly string[]
}

export interface StatusAddress {
  readonly type: string
  readonly value: string
}

export interface Gateway {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly generation: number
  readonly labels: Labels
  readonly className: string
  readonly listeners: readonly Listener[]
  readonly statusAddresses: readonly StatusAddress[]
  /** As the user wrote it: TLS, addresses, infrastructure, labels and annotations. */
  readonly config: ConfigObject<GatewaySpec>
}

export interface ParentRef {
  readonly group: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly sectionName: string
  readonly port: number | undefined
}

export interface HeaderMatch {
  readonly name: string
  readonly value: string
  readonly type: string
}

export interface HttpRouteMatch {
  readonly path: { readonly type: string; readonly value: string } | undefined
  readonly headers: readonly HeaderMatch[]
  readonly queryParams: readonly HeaderMatch[]
  readonly method: string
}

export interface BackendRef {
  readonly group: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly port: number | undefined
  readonly weight: number
}

export interface HttpRouteRule {
  readonly name: string
  readonly matches: readonly HttpRouteMatch[]
  /** The raw filters: what the translation does not know makes the rule answer 500, as the API says. */
  readonly filters: readonly { readonly type: string }[]
  readonly backendRefs: readonly BackendRef[]
  readonly timeouts: { readonly requestMs?: number; readonly backendRequestMs?: number }
}

export interface HttpRoute {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly generation: number
  readonly parentRefs: readonly ParentRef[]
  readonly hostnames: readonly string[]
  readonly rules: readonly HttpRouteRule[]
  /** As the user wrote it: filters, retries, header modifiers. */
  readonly config: ConfigObject<HTTPRouteSpec>
}

/** Allows references from another namespace into its own. */
export interface ReferenceGrant {
  readonly name: string
  readonly namespace: string
  readonly from: readonly {
    readonly group: string
    readonly kind: string
    readonly namespace: string
  }[]
  /** An empty name stands for every object of the kind. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name: string }[]
}
