/** The agent's settings: the environment that pods of gateways and waypoints have, and Istio's arguments. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { parseGoDuration } from '../../base/index.ts'
import { badSetting } from './errors.ts'
import { limits } from './limits.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface AgentConfig {
  readonly node: {
    /** `waypoint~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>` */
    readonly id: string
    /** What Envoy calls its cluster: `<account>.<namespace>`. */
    readonly cluster: string
    readonly metadata: JsonObject
  }
  /** The workload's SPIFFE id. */
  readonly identity: string
  readonly clusterId: string
  /** `host:port` of the control plane's ADS and of its authority. */
  readonly xdsAddress: string
  readonly caAddress: string
  readonly rootCaPath: string
  readonly tokenPath: string
  readonly certificateTtlMs: number | undefined
  /** Where Envoy asks for secrets: a socket in a volume of the pod. */
  readonly secretSocket: string
  /** Where the bootstrap is written. */
  readonly folder: string
  readonly adminPort: number
  readonly prometheusPort: number
  readonly readyPort: number
  readonly metricsPort: number
  readonly concurrency: number
  readonly drainMs: number
  readonly logLevel: string
  readonly componentLogLevel: string
}

const flags = {
  domain: { type: 'string' },
  serviceCluster: { type: 'string' },
  proxyLogLevel: { type: 'string' },
  proxyComponentLogLevel: { type: 'string' },
  log_output_level: { type: 'string' },
} as const

/** @param args what follows the program: `proxy waypoint --domain …` */
export function readAgentConfig(environment: Environment, args: readonly string[]): AgentConfig {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: flags,
    allowPositionals: true,
    strict: false,
  })
  const text = (name: keyof typeof flags, fallback: string): string => {
    const value = values[name]
    return typeof value === 'string' && value !== '' ? value : fallback
  }
  const type = positionals[1] ?? 'router'
  const name = environment.POD_NAME ?? 'proxy'
  const namespace = environment.POD_NAMESPACE ?? 'default'
  const account = environment.SERVICE_ACCOUNT ?? 'default'
  const ip = environment.INSTANCE_IP ?? '127.0.0.1'
  const domain = text('domain', `${namespace}.svc.cluster.local`)
  const clusterId = environment.ISTIO_META_CLUSTER_ID ?? 'Kubernetes'
  const xdsAddress = address(environment.XDS_ADDRESS ?? 'istiod.istio-system.svc:15012')
  return {
    node: {
      id: `${type}~${ip}~${name}.${namespace}~${domain}`,
      cluster: text('serviceCluster', `${account}.${namespace}`),
      metadata: {
        ...metadataFrom(environment),
        NAME: name,
        NAMESPACE: namespace,
        INSTANCE_IPS: ip,
        NODE_NAME: environment.NODE_NAME ?? '',
        CLUSTER_ID: clusterId,
        SERVICE_ACCOUNT: account,
        LABELS: labelsFrom(environment),
      },
    },
    identity: `spiffe://${environment.TRUST_DOMAIN ?? 'cluster.local'}/ns/${namespace}/sa/${account}`,
    clusterId,
    xdsAddress,
    caAddress: address(environment.CA_ADDR ?? xdsAddress),
    rootCaPath: environment.XDS_ROOT_CA ?? '/var/run/secrets/istio/root-cert.pem',
    tokenPath: environment.AUTH_TOKEN ?? '/var/run/secrets/tokens/istio-token',
    certificateTtlMs: secondsOf(environment, 'SECRET_TTL'),
    secretSocket:
      environment.WORKLOAD_IDENTITY_SOCKET_FILE ?? '/var/run/secrets/workload-spiffe-uds/socket',
    folder: environment.CONFIG_PATH ?? '/etc/istio/proxy',
    adminPort: portOf(environment, 'PROXY_ADMIN_PORT', 15_000),
    prometheusPort: portOf(environment, 'ENVOY_PROMETHEUS_PORT', 15_090),
    readyPort: portOf(environment, 'ENVOY_STATUS_PORT', 15_021),
    metricsPort: portOf(environment, 'METRICS_PORT', 15_020),
    concurrency: concurrencyOf(environment),
    drainMs: secondsOf(environment, 'TERMINATION_DRAIN_DURATION_SECONDS') ?? drainOf(environment),
    logLevel: text('proxyLogLevel', 'warning'),
    componentLogLevel: text('proxyComponentLogLevel', 'misc:error'),
  }
}

function address(text: string): string {
  return text.replace(/^https:\/\//, '')
}

/** As many threads as ProxyConfig asks for, else as the pod has processors. */
function concurrencyOf(environment: Environment): number {
  const { concurrency } = jsonObject(environment.PROXY_CONFIG)
  if (typeof concurrency === 'number' && concurrency > 0) return Math.ceil(concurrency)
  const processors = Math.ceil(Number(environment.ISTIO_CPU_LIMIT ?? 0))
  return processors > 0 ? processors : 2
}

function drainOf(environment: Environment): number {
  const { terminationDrainDuration: text } = jsonObject(environment.PROXY_CONFIG)
  return (typeof text === 'string' ? parseGoDuration(text) : undefined) ?? limits.drainMs
}

const jsonPrefix = 'ISTIO_METAJSON_'
const textPrefix = 'ISTIO_META_'

/** `ISTIO_META_MESH_ID=a` becomes MESH_ID, `ISTIO_METAJSON_LABELS={…}` becomes LABELS, as with Istio's agent. */
function metadataFrom(environment: Environment): JsonObject {
  const metadata: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) continue
    if (name.startsWith(jsonPrefix)) metadata[name.slice(jsonPrefix.length)] = jsonObject(value)
    else if (name.startsWith(textPrefix)) metadata[name.slice(textPrefix.length)] = value
  }
  return metadata
}

/** Of the pod, as the downward API writes them: one `key="value"` a line. */
function labelsFrom(environment: Environment): JsonObject {
  const labels: Record<string, JsonValue> = {}
  const path = environment.POD_LABELS_PATH ?? '/etc/istio/pod/labels'
  try {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const [, key = '', value = '""'] = /^([^=]+)=(".*")$/.exec(line) ?? []
      if (key !== '') labels[key] = JSON.parse(value) as JsonValue
    }
  } catch {
    // Without the volume the pod's own word for its labels has to do.
  }
  return { ...labels, ...jsonObject(environment[`${jsonPrefix}LABELS`]) }
}

function jsonObject(text: string | undefined): JsonObject {
  if (text === undefined || text === '') return {}
  try {
    const value = JSON.parse(text) as JsonValue
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  } catch {
    return {}
  }
}

function portOf(environment: Environment, name: string, fallback: number): number {
  const text = environment[name] ?? ''
  if (text === '') return fallback
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  throw badSetting(name, text, 'a port')
}

/** `30` or `30s`, in milliseconds. */
function secondsOf(environment: Environment, name: string): number | undefined {
  const text = environment[name] ?? ''
  if (text === '') return undefined
  const seconds = Number(text.replace(/s$/, ''))
  if (Number.isFinite(seconds) && seconds >= 0) return seconds * 1000
  throw badSetting(name, text, 'a number of seconds')
}
