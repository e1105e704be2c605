/** The control plane's settings, read once from the environment of its pod (Istio's names). */
import { MeshError, parseGoDuration } from '../base/index.ts'
import { defaultMeshSettings, type MeshSettings } from '../model/index.ts'

export interface ControlPlaneConfig {
  readonly podName: string
  /** The system namespace. */
  readonly namespace: string
  readonly revision: string
  readonly settings: MeshSettings
  readonly version: string
  readonly xdsPort: number
  readonly httpPort: number
  readonly readyPort: number
  /** Accounts whose node proxies may ask for the identities of their node: `namespace/account`. */
  readonly trustedNodeAccounts: readonly string[]
  /** DEFAULT_WORKLOAD_CERT_TTL; undefined: Istio's 24 h. Our own serving certificate lives as long. */
  readonly certificateTtlMs: number | undefined
  readonly gateways: GatewayPodConfig
}

export interface GatewayPodConfig {
  readonly image: string
  /** The value of `istio.io/dataplane-mode` on gateway pods. */
  readonly dataplaneMode: string
}

type Environment = Readonly<Record<string, string | undefined>>

export function readConfig(environment: Environment): ControlPlaneConfig {
  const namespace = environment.POD_NAMESPACE ?? defaultMeshSettings.rootNamespace
  const domain = environment.DOMAIN_SUFFIX ?? defaultMeshSettings.domain
  return {
    podName: environment.POD_NAME ?? 'istiod',
    namespace,
    revision: environment.REVISION ?? 'default',
    settings: {
      clusterId: environment.CLUSTER_ID ?? defaultMeshSettings.clusterId,
      trustDomain: environment.TRUST_DOMAIN ?? defaultMeshSettings.trustDomain,
      domain,
      rootNamespace: namespace,
    },
    version: environment.WEFT_VERSION ?? '0.1.0',
    xdsPort: portOf(environment.XDS_PORT, 15012),
    httpPort: portOf(environment.HTTP_PORT, 15014),
    readyPort: portOf(environment.READY_PORT, 8080),
    trustedNodeAccounts: (environment.CA_TRUSTED_NODE_ACCOUNTS ?? `${namespace}/ztunnel`).split(
      ',',
    ),
    certificateTtlMs: durationOf(environment, 'DEFAULT_WORKLOAD_CERT_TTL'),
    gateways: {
      image: environment.GATEWAY_IMAGE ?? 'docker.io/istio/proxyv2:weft',
      // Differs from Istio (`none`) until our L7 proxy speaks HBONE itself: until then the node
      // proxy is what encrypts the traffic from gateways to workloads.
      dataplaneMode: environment.GATEWAY_DATAPLANE_MODE ?? 'ambient',
    },
  }
}

function durationOf(environment: Environment, name: string): number | undefined {
  const text = environment[name] ?? ''
  if (text === '') return undefined
  const milliseconds = parseGoDuration(text)
  if (milliseconds !== undefined) return milliseconds
  throw new MeshError('CONTROLPLANE_CONFIG', `${name}="${text}" is no duration`, {
    hint: 'write it like 24h or 90m',
  })
}

function portOf(text: string | undefined, fallback: number): number {
  const port = Number(text)
  return text !== undefined && Number.isInteger(port) && port >= 0 && port < 65536 ? port : fallback
}
