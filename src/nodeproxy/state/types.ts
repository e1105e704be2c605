/** Workloads and services as the node proxy holds them: the messages with addresses as text. */
import type { BaggageWorkloadType } from '../../hbone/index.ts'
import type { SpiffeId } from '../../x509/index.ts'

export type LocalityScope = 'network' | 'region' | 'zone' | 'subzone' | 'node' | 'cluster'

export interface Locality {
  readonly region: string
  readonly zone: string
  readonly subzone: string
}

/** Where a gateway is: a service, or an address. */
export interface GatewayReference {
  readonly target:
    | { readonly kind: 'service'; readonly key: string }
    | { readonly kind: 'address'; readonly network: string; readonly address: string }
  readonly port: number
}

export interface Workload {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly addresses: readonly string[]
  /** Resolved when needed, for workloads without address. */
  readonly hostname: string
  readonly network: string
  readonly tunnel: 'none' | 'hbone'
  /** The application itself speaks HBONE. */
  readonly nativeTunnel: boolean
  readonly identity: SpiffeId
  /** `identity` in its text form. */
  readonly spiffe: string
  readonly waypoint: GatewayReference | undefined
  readonly networkGateway: GatewayReference | undefined
  readonly node: string
  readonly canonicalName: string
  readonly canonicalRevision: string
  readonly workloadType: BaggageWorkloadType
  readonly workloadName: string
  /** Keys of selector policies. */
  readonly policies: readonly string[]
  readonly healthy: boolean
  readonly clusterId: string
  /** Service key to (service port to target port). */
  readonly services: ReadonlyMap<string, ReadonlyMap<number, number>>
  readonly applicationTunnel:
    | { readonly protocol: 'none' | 'proxy'; readonly port: number }
    | undefined
  readonly locality: Locality
  readonly hostNetwork: boolean
  /** Weight in load balancing; 0 gets nothing. */
  readonly capacity: number
}

export interface Vip {
  readonly network: string
  readonly address: string
  /** Prefix length, for a service that owns a range. */
  readonly length: number | undefined
}

export interface Service {
  /** `<namespace>/<hostname>` */
  readonly key: string
  readonly name: string
  readonly namespace: string
  readonly hostname: string
  readonly vips: readonly Vip[]
  /** Service port to target port; 0 means that every workload has its own. */
  readonly ports: ReadonlyMap<number, number>
  readonly subjectAltNames: readonly string[]
  readonly waypoint: GatewayReference | undefined
  readonly weightedWaypoints: readonly {
    readonly gateway: GatewayReference
    readonly weight: number
  }[]
  readonly loadBalancing:
    | {
        readonly mode: 'any' | 'strict' | 'failover' | 'passthrough'
        readonly preferences: readonly LocalityScope[]
        readonly unhealthyToo: boolean
      }
    | undefined
  readonly ipFamilies: 'any' | '4' | '6'
  readonly canonical: boolean
  /** Only clients of its own namespace see it. */
  readonly namespaceOnly: boolean
}
