/** How proxies are served: ports, rates and times, from flags and variables with Istio's names. */
import { parseArgs } from 'node:util'
import { MeshError, parseGoDuration, toError } from '../base/index.ts'

export interface XdsConfig {
  /** Plaintext and without authentication, for trials; undefined: not served. */
  readonly plaintextPort: number | undefined
  readonly securePort: number
  readonly debounceQuietMs: number
  readonly debounceMaxMs: number
  /** New streams a second; undefined: the default. */
  readonly connectionsPerSecond: number | undefined
  /** Connections that are sent to at once; undefined: the default. */
  readonly pushesMax: number | undefined
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  readonly connectionAgeMs: number
  /** Debug pages that do something to proxies. */
  readonly unsafeAdmin: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

const flags = {
  /** `:15010`; empty or absent: off. */
  grpcAddr: { type: 'string' },
  secureGRPCAddr: { type: 'string' },
  keepaliveInterval: { type: 'string' },
  keepaliveTimeout: { type: 'string' },
  keepaliveMaxServerConnectionAge: { type: 'string' },
} as const

/** @param args what follows the program's name: `discovery --grpcAddr=:15010` */
export function readXdsConfig(environment: Environment, args: readonly string[]): XdsConfig {
  const values = readFlags(args)
  const duration = (name: string, text: string | undefined, fallbackMs: number): number => {
    if (text === undefined || text === '') return fallbackMs
    return parseGoDuration(text) ?? refuse(name, text, 'a duration like 100ms, 10s or 30m')
  }
  const count = (name: string): number | undefined => {
    const text = environment[name] ?? ''
    if (text === '' || text === '0') return undefined
    const value = Number(text)
    return value > 0 ? value : refuse(name, text, 'a number above zero, or 0 for the default')
  }
  const variable = (name: string, fallbackMs: number): number =>
    duration(name, environment[name], fallbackMs)
  return {
    plaintextPort:
      portOf('grpcAddr', values.grpcAddr) ?? portOf('GRPC_PORT', environment.GRPC_PORT),
    securePort:
      portOf('secureGRPCAddr', values.secureGRPCAddr) ??
      portOf('XDS_PORT', environment.XDS_PORT) ??
      15012,
    debounceQuietMs: variable('PILOT_DEBOUNCE_AFTER', 100),
    debounceMaxMs: variable('PILOT_DEBOUNCE_MAX', 10_000),
    connectionsPerSecond: count('PILOT_MAX_REQUESTS_PER_SECOND'),
    pushesMax: count('PILOT_PUSH_THROTTLE'),
    keepaliveIntervalMs: duration('keepaliveInterval', values.keepaliveInterval, 30_000),
    keepaliveTimeoutMs: duration('keepaliveTimeout', values.keepaliveTimeout, 10_000),
    connectionAgeMs: duration(
      'keepaliveMaxServerConnectionAge',
      values.keepaliveMaxServerConnectionAge,
      30 * 60_000,
    ),
    unsafeAdmin: environment.UNSAFE_ENABLE_ADMIN_ENDPOINTS === 'true',
  }
}

function readFlags(args: readonly string[]) {
  try {
    const { values } = parseArgs({ args: [...args], options: flags, allowPositionals: true })
    return values
  } catch (error) {
    throw new MeshError('CONTROLPLANE_CONFIG', toError(error).message, {
      hint: `istiod knows these flags: ${Object.keys(flags).join(', ')}; all else comes from its environment`,
      cause: error,
    })
  }
}

/** `:15010`, `0.0.0.0:15010` or `15010`; undefined when empty. */
function portOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const port = Number(text.slice(text.lastIndexOf(':') + 1))
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  return refuse(name, text, 'a port like :15010')
}

function refuse(name: string, text: string, wanted: string): never {
  throw new MeshError('CONTROLPLANE_CONFIG', `${name}="${text}" is not ${wanted}`)
}
