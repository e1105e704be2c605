/** The proxy's settings, read once from the environment of its pod. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { XdsNode } from '../xdsclient/index.ts'

export interface L7ProxyConfig {
  /** `host:port` */
  readonly xdsAddress: string
  readonly rootCaPath: string
  readonly tokenPath: string
  readonly clusterId: string
  readonly node: XdsNode
  readonly workload: string
  readonly namespace: string
  readonly readyPort: number
  readonly metricsPort: number
  readonly drainMs: number
}

type Environment = Readonly<Record<string, string | undefined>>

export function readConfig(environment: Environment, drainMs: number): L7ProxyConfig {
  const name = environment.POD_NAME ?? 'l7proxy'
  const namespace = environment.POD_NAMESPACE ?? 'default'
  const ip = environment.INSTANCE_IP ?? '127.0.0.1'
  const clusterId = environment.ISTIO_META_CLUSTER_ID ?? environment.CLUSTER_ID ?? 'Kubernetes'
  const extra = metadataFrom(environment)
  const account = environment.SERVICE_ACCOUNT ?? 'default'
  return {
    xdsAddress: (environment.XDS_ADDRESS ?? 'istiod.istio-system.svc:15012').replace(
      /^https:\/\//,
      '',
    ),
    rootCaPath: environment.XDS_ROOT_CA ?? '/var/run/secrets/istio/root-cert.pem',
    tokenPath: environment.AUTH_TOKEN ?? '/var/run/secrets/tokens/istio-token',
    clusterId,
    node: {
      id: `router~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`,
      metadata: {
        NAME: name,
        NAMESPACE: namespace,
        INSTANCE_IPS: ip,
        NODE_NAME: environment.NODE_NAME ?? '',
        CLUSTER_ID: clusterId,
        SERVICE_ACCOUNT: account,
        ...extra,
      },
    },
    workload: account,
    namespace,
    readyPort: Number(environment.STATUS_PORT ?? 15021),
    metricsPort: Number(environment.METRICS_PORT ?? 15020),
    drainMs,
  }
}

const jsonPrefix = 'ISTIO_METAJSON_'

/** `ISTIO_METAJSON_LABELS={...}` becomes node metadata LABELS, as in Istio's agent. */
function metadataFrom(environment: Environment): JsonObject {
  const metadata: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(jsonPrefix) || value === undefined) continue
    try {
      metadata[name.slice(jsonPrefix.length)] = JSON.parse(value) as JsonValue
    } catch {
      metadata[name.slice(jsonPrefix.length)] = value
    }
  }
  return metadata
}
