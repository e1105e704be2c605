/** The control plane's settings, read once from the environment of its pod (Istio's names). */
import { MeshError, parseGoDuration } from '../base/index.ts'
import { defaultMeshSettings, type MeshSettings } from '../model/index.ts'
import { type CaConfig, readCaConfig } from './config-ca.ts'
import { readXdsConfig, type XdsConfig } from './config-xds.ts'

export interface ControlPlaneConfig {
  readonly podName: string
  /** The system namespace. */
  readonly namespace: string
  readonly revision: string
  readonly settings: MeshSettings
  readonly version: string
  readonly xds: XdsConfig
  readonly httpPort: number
  readonly readyPort: number
  /** HTTPS, for the API server. */
  readonly webhookPort: number
  readonly ca: CaConfig
  /** Accounts whose node proxies may ask for the identities of their node: `namespace/account`. */
  readonly trustedNodeAccounts: readonly string[]
  /** DEFAULT_WORKLOAD_CERT_TTL; undefined: Istio's 24 h. Our own serving certificate lives as long. */
  readonly certificateTtlMs: number | undefined
  readonly gateways: GatewayPodConfig
  readonly keySets: KeySetConfig
}

/** How key sets of RequestAuthentications are fetched. */
export interface KeySetConfig {
  readonly refreshMs: number
  /** Where operators mount authorities that vouch for servers of key sets. */
  readonly extraRootsPath: string
}

export interface GatewayPodConfig {
  readonly image: string
  /** The value of `istio.io/dataplane-mode` on gateway pods. */
  readonly dataplaneMode: string
}

type Environment = Readonly<Record<string, string | undefined>>

/** @param args what follows the program's name; see config-xds.ts */
export function readConfig(
  environment: Environment,
  args: readonly string[] = [],
): ControlPlaneConfig {
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
      systemNamespace: namespace,
      rootNamespace: namespace,
      revision: environment.REVISION ?? 'default',
      dryRunPolicies: environment.AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY === 'true',
      autoAllowWaypoints: environment.PILOT_AUTO_ALLOW_WAYPOINT_POLICY === 'true',
      ...(environment.SHARED_MESH_CONFIG === undefined
        ? {}
        : { sharedMeshConfig: environment.SHARED_MESH_CONFIG }),
    },
    version: environment.WEFT_VERSION ?? '0.1.0',
    xds: readXdsConfig(environment, args),
    httpPort: portOf(environment.HTTP_PORT, 15014),
    readyPort: portOf(environment.READY_PORT, 8080),
    webhookPort: portOf(environment.WEBHOOK_PORT, 15017),
    ca: readCaConfig(environment),
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
    keySets: {
      refreshMs: durationOf(environment, 'PILOT_JWT_PUB_KEY_REFRESH_INTERVAL') ?? 20 * 60_000,
      extraRootsPath: '/cacerts/extra.pem',
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
