/** Sidecar and ProxyConfig (networking.istio.io), raw. */
import type {
  Destination,
  IstioPort,
  LabelSelector,
  ServerTlsSettings,
  WorkloadSelector,
} from './common.ts'
import type { ConnectionPoolSettings } from './destination-rule.ts'

export type CaptureMode = 'DEFAULT' | 'IPTABLES' | 'NONE'

export interface SidecarSpec {
  readonly workloadSelector?: WorkloadSelector
  readonly ingress?: readonly SidecarIngress[]
  readonly egress?: readonly SidecarEgress[]
  readonly inboundConnectionPool?: ConnectionPoolSettings
  readonly outboundTrafficPolicy?: {
    readonly mode?: 'REGISTRY_ONLY' | 'ALLOW_ANY'
    readonly egressProxy?: Destination
  }
}

export interface SidecarIngress {
  readonly port?: IstioPort
  readonly bind?: string
  readonly captureMode?: CaptureMode
  readonly defaultEndpoint?: string
  readonly tls?: ServerTlsSettings
  readonly connectionPool?: ConnectionPoolSettings
}

export interface SidecarEgress {
  readonly port?: IstioPort
  readonly bind?: string
  readonly captureMode?: CaptureMode
  readonly hosts?: readonly string[]
}

/** The kind ProxyConfig; the block of the same name in MeshConfig is `ProxyConfig`. */
export interface ProxyConfigSpec {
  readonly selector?: LabelSelector
  readonly concurrency?: number
  readonly environmentVariables?: Readonly<Record<string, string>>
  readonly image?: { readonly imageType?: string }
}
