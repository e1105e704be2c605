/**
 * The environment of the node proxy, with Istio's variable names. Everything has the value that
 * Istio's charts rely on when it is not set.
 */
import { type LogLevel, logLevels, MeshError, parseGoDuration } from '../base/index.ts'
import type { TextSource } from '../grpc/index.ts'
import { http2Limits } from '../hbone/index.ts'
import { workerLimits } from './limits.ts'
import type { ProxyParts } from './pod.ts'

export interface ProxyConfig {
  /** `host:port`; undefined: no control plane. */
  readonly xdsAddress: string | undefined
  /** Name that the control plane's certificate must have; undefined: the host of the address. */
  readonly xdsServerName: string | undefined
  /** A path, or what gives the PEM. */
  readonly xdsRoot: TextSource
  readonly caAddress: string | undefined
  readonly caServerName: string | undefined
  readonly caRoot: TextSource
  readonly token: TextSource
  readonly clusterId: string
  readonly headers: { readonly xds: Record<string, string>; readonly ca: Record<string, string> }
  readonly node: {
    readonly id: string
    readonly metadata: Readonly<Record<string, string>>
  }
  readonly zdsPath: string
  readonly secretTtlMs: number | undefined
  readonly originalSource: boolean
  readonly localhostTunnel: boolean
  /** Whether pods' questions come to us, and how they are answered. */
  readonly dns: {
    readonly capture: boolean
    readonly domain: string
    readonly preferredNamespace: string | undefined
    readonly ipv6: boolean
  }
  /** Where they are not the usual ones. */
  readonly http2: ProxyParts['http2']
  /** Threads that carry connections; 1: the main thread does it. */
  readonly workers: number
  /** Ask the control plane only for what connections need. */
  readonly onDemand: boolean
  /** File of revoked certificates. */
  readonly crlPath: string | undefined
  readonly terminationGraceMs: number
  readonly logLevel: LogLevel
  readonly logLevels: ReadonlyMap<string, LogLevel>
  readonly logFormat: 'text' | 'json'
  readonly adminAddress: ListenAddress
  readonly metricsAddress: ListenAddress
  readonly readinessAddress: ListenAddress
}

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

type Env = Readonly<Record<string, string | undefined>>

const defaultRoot = '/var/run/secrets/istio/root-cert.pem'

export function readConfig(env: Env): ProxyConfig {
  const inKubernetes = (env['KUBERNETES_SERVICE_HOST'] ?? '') !== ''
  const fallback = inKubernetes ? 'istiod.istio-system.svc:15012' : 'localhost:15012'
  const xdsAddress = addressOf('XDS_ADDRESS', env['XDS_ADDRESS'] ?? fallback)
  const level = levelsOf(env['LOG_LEVEL'] ?? env['RUST_LOG'] ?? 'info')
  return {
    xdsAddress,
    xdsServerName: textOf(env['ALT_XDS_HOSTNAME']),
    xdsRoot: fileOrText(env['XDS_ROOT_CA'] ?? defaultRoot),
    caAddress: addressOf('CA_ADDRESS', env['CA_ADDRESS'] ?? xdsAddress ?? ''),
    caServerName: textOf(env['ALT_CA_HOSTNAME']),
    caRoot: fileOrText(env['CA_ROOT_CA'] ?? env['XDS_ROOT_CA'] ?? defaultRoot),
    token: fileOrText(env['AUTH_TOKEN'] ?? '/var/run/secrets/tokens/istio-token'),
    clusterId: env['ISTIO_META_CLUSTER_ID'] ?? env['CLUSTER_ID'] ?? 'Kubernetes',
    headers: { xds: prefixed(env, 'XDS_HEADER_'), ca: prefixed(env, 'CA_HEADER_') },
    node: nodeOf(env),
    zdsPath: env['INPOD_UDS'] ?? '/var/run/ztunnel/ztunnel.sock',
    secretTtlMs: durationOf('SECRET_TTL', env['SECRET_TTL']),
    originalSource: env['ENABLE_ORIG_SRC'] !== 'false',
    localhostTunnel: env['LOCALHOST_APP_TUNNEL'] !== 'false',
    dns: {
      capture: env['ISTIO_META_DNS_CAPTURE'] !== 'false' && env['DNS_PROXY'] !== 'false',
      domain: textOf(env['CLUSTER_DOMAIN']) ?? 'cluster.local',
      // Istio's own spelling comes with its charts.
      preferredNamespace:
        textOf(env['PREFERED_SERVICE_NAMESPACE']) ?? textOf(env['PREFERRED_SERVICE_NAMESPACE']),
      ipv6: env['IPV6_ENABLED'] !== 'false',
    },
    http2: http2Of(env),
    workers: numberOf(env, 'ZTUNNEL_WORKER_THREADS', 1, workerLimits.countMax) ?? 1,
    onDemand: onDemandOf(env),
    crlPath: textOf(env['CRL_PATH']),
    terminationGraceMs: graceOf(env['TERMINATION_GRACE_PERIOD_SECONDS']),
    logLevel: level.everywhere,
    logLevels: level.byScope,
    logFormat: env['LOG_FORMAT'] === 'json' ? 'json' : 'text',
    adminAddress: { host: '127.0.0.1', port: portOf(env, 'ADMIN_PORT', 15_000) },
    metricsAddress: { host: '::', port: portOf(env, 'STATS_PORT', 15_020) },
    readinessAddress: { host: '::', port: portOf(env, 'READINESS_PORT', 15_021) },
  }
}

function textOf(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

/** Inline PEM and literal tokens are told from paths by what paths always have or never have. */
function fileOrText(value: string): TextSource {
  const isText = value.startsWith('-----BEGIN') || !value.includes('/')
  return isText ? () => value : value
}

/** `https://host:port`, `host:port` or `host`; empty switches it off. */
function addressOf(name: string, value: string): string | undefined {
  if (value === '') return undefined
  const text = value.replace(/^(https?|grpc):\/\//, '').replace(/\/$/, '')
  if (text === '' || /[\s/]/.test(text)) {
    throw new MeshError('NODEPROXY_CONFIG', `${name}="${value}" is no address`, {
      hint: 'write it as host:port',
    })
  }
  return /:\d+$/.test(text) ? text : `${text}:15012`
}

function prefixed(env: Env, prefix: string): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(prefix) || value === undefined) continue
    headers[name.slice(prefix.length).toLowerCase()] = value
  }
  return headers
}

function nodeOf(env: Env): ProxyConfig['node'] {
  const ip = textOf(env['INSTANCE_IP']) ?? '1.1.1.1'
  const name = env['POD_NAME'] ?? ''
  const namespace = env['POD_NAMESPACE'] ?? ''
  const metadata: Record<string, string> = {
    NAME: name,
    NAMESPACE: namespace,
    INSTANCE_IPS: ip,
    NODE_NAME: env['NODE_NAME'] ?? '',
    CLUSTER_ID: env['ISTIO_META_CLUSTER_ID'] ?? env['CLUSTER_ID'] ?? 'Kubernetes',
  }
  const account = textOf(env['SERVICE_ACCOUNT'])
  if (account !== undefined) metadata['SERVICE_ACCOUNT'] = account
  for (const [key, value] of Object.entries(env)) {
    if (value === undefined) continue
    if (key.startsWith('ISTIO_META_')) metadata[key.slice('ISTIO_META_'.length)] = value
    else if (key.startsWith('ISTIO_METAJSON_')) {
      metadata[key.slice('ISTIO_METAJSON_'.length)] = jsonOf(key, value)
    }
  }
  return { id: `ztunnel~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`, metadata }
}

/** The text of a JSON string; other values stay JSON. */
function jsonOf(name: string, value: string): string {
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'string' ? parsed : value
  } catch (cause) {
    throw new MeshError('NODEPROXY_CONFIG', `${name} is not JSON`, { cause })
  }
}

function durationOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined
  const milliseconds = parseGoDuration(value)
  if (milliseconds !== undefined) return milliseconds
  throw new MeshError('NODEPROXY_CONFIG', `${name}="${value}" is no duration`, {
    hint: 'write it like 24h or 90m',
  })
}

/** What is left of the pod's grace period for connections, after a reserve for the exit itself. */
function graceOf(value: string | undefined): number {
  const seconds = value === undefined || value === '' ? 5 : Number(value)
  if (!Number.isFinite(seconds)) {
    throw new MeshError(
      'NODEPROXY_CONFIG',
      `TERMINATION_GRACE_PERIOD_SECONDS="${value}" is no number`,
    )
  }
  if (value === undefined || value === '') return 5000
  return Math.max(seconds > 10 ? seconds - 5 : seconds - 1, 1) * 1000
}

/** A whole number from 1 to `most`; undefined when it is not set. */
function numberOf(env: Env, name: string, least: number, most: number): number | undefined {
  const value = textOf(env[name])
  if (value === undefined) return undefined
  const number = Number(value)
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw new MeshError(
    'NODEPROXY_CONFIG',
    `${name}="${value}" is no whole number from ${least} to ${most}`,
  )
}

const maxWindow = 2 ** 31 - 1

function http2Of(env: Env): ProxyParts['http2'] {
  const streamWindowBytes = numberOf(env, 'HTTP2_STREAM_WINDOW_SIZE', 65_535, maxWindow)
  const connectionWindowBytes = numberOf(env, 'HTTP2_CONNECTION_WINDOW_SIZE', 65_535, maxWindow)
  // The bounds of HTTP/2 itself.
  const frameBytes = numberOf(env, 'HTTP2_FRAME_SIZE', 16_384, 2 ** 24 - 1)
  const streams = numberOf(env, 'POOL_MAX_STREAMS_PER_CONNECTION', 1, 2 ** 16)
  const idleReleaseMs = durationOf(
    'POOL_UNUSED_RELEASE_TIMEOUT',
    env['POOL_UNUSED_RELEASE_TIMEOUT'],
  )
  return {
    limits: {
      ...http2Limits,
      ...(streamWindowBytes === undefined ? {} : { streamWindowBytes }),
      ...(connectionWindowBytes === undefined ? {} : { connectionWindowBytes }),
      ...(frameBytes === undefined ? {} : { frameBytes }),
    },
    ...(streams === undefined ? {} : { maxStreamsPerConnection: streams }),
    ...(idleReleaseMs === undefined ? {} : { idleReleaseMs }),
  }
}

/** Names can't be answered from a state that has only what was asked for by address. */
function onDemandOf(env: Env): boolean {
  if (env['XDS_ON_DEMAND'] !== 'true') return false
  if (env['ISTIO_META_DNS_CAPTURE'] === 'false' || env['DNS_PROXY'] === 'false') return true
  throw new MeshError('NODEPROXY_CONFIG', 'XDS_ON_DEMAND does not go together with the DNS proxy', {
    hint: 'set ISTIO_META_DNS_CAPTURE=false, or leave XDS_ON_DEMAND out',
  })
}

function portOf(env: Env, name: string, fallback: number): number {
  const value = textOf(env[name])
  if (value === undefined) return fallback
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  throw new MeshError('NODEPROXY_CONFIG', `${name}="${value}" is no port`)
}

/** `info`, or `warn,access=debug,pods=trace`; parts that are no level of ours count as `info`. */
function levelsOf(text: string): { everywhere: LogLevel; byScope: Map<string, LogLevel> } {
  let everywhere: LogLevel = 'info'
  const byScope = new Map<string, LogLevel>()
  for (const part of text.split(',')) {
    const [scope = '', name] = part.trim().toLowerCase().split('=')
    const level = logLevels.find((known) => known === (name ?? scope)) ?? 'info'
    if (name === undefined) everywhere = level
    else byScope.set(scope, level)
  }
  return { everywhere, byScope }
}
