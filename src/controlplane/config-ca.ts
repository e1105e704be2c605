/** The certificate authority's settings, from variables with Istio's names. */
import { MeshError, parseGoDuration } from '../base/index.ts'

export interface CaConfig {
  /** All of these: undefined is the authority's own default. */
  readonly maxTtlMs: number | undefined
  readonly rootTtlMs: number | undefined
  readonly rotationCheckMs: number | undefined
  /** Of a root's life, as a part of one. */
  readonly rotationGracePart: number | undefined
  readonly rsaBits: number | undefined
  /** The Secret of a self-signed root. */
  readonly selfSignedName: string | undefined
  readonly audiences: readonly string[]
  /** PILOT_CA_CERT_CONFIGMAP */
  readonly rootConfigMap: string
  /** PILOT_ENABLE_CA_CRL: whether revocation lists are distributed. */
  readonly revocations: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

export function readCaConfig(environment: Environment): CaConfig {
  const duration = (name: string): number | undefined => {
    const text = environment[name] ?? ''
    return text === ''
      ? undefined
      : (parseGoDuration(text) ?? refuse(name, text, 'like 24h or 90m'))
  }
  const whole = (name: string, least: number, most: number): number | undefined => {
    const text = environment[name] ?? ''
    if (text === '') return undefined
    const value = Number(text)
    if (Number.isInteger(value) && value >= least && value <= most) return value
    return refuse(name, text, `a number from ${least} to ${most}`)
  }
  const percent = whole('CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE', 0, 100)
  return {
    maxTtlMs: duration('MAX_WORKLOAD_CERT_TTL'),
    rootTtlMs: duration('CITADEL_SELF_SIGNED_CA_CERT_TTL'),
    rotationCheckMs: duration('CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL'),
    rotationGracePart: percent === undefined ? undefined : percent / 100,
    rsaBits: whole('CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE', 2048, 8192),
    selfSignedName: environment.USE_CACERTS_FOR_SELF_SIGNED_CA === 'true' ? 'cacerts' : undefined,
    audiences: (environment.TOKEN_AUDIENCES ?? 'istio-ca').split(',').filter((one) => one !== ''),
    rootConfigMap: environment.PILOT_CA_CERT_CONFIGMAP ?? 'istio-ca-root-cert',
    revocations: environment.PILOT_ENABLE_CA_CRL !== 'false',
  }
}

function refuse(name: string, text: string, wanted: string): never {
  throw new MeshError('CONTROLPLANE_CONFIG', `${name}="${text}" can't be used`, {
    hint: `write it ${wanted}`,
  })
}
