/** The `baggage` header: who the other end is, for telemetry (never for authorization). */
import { maxBaggageBytes } from './limits.ts'

export type BaggageWorkloadType = 'deployment' | 'cronjob' | 'pod' | 'job'

export interface Baggage {
  readonly clusterId?: string
  readonly namespace?: string
  readonly workloadType?: BaggageWorkloadType
  readonly workloadName?: string
  readonly serviceName?: string
  readonly revision?: string
  readonly region?: string
  readonly zone?: string
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const workloadKeys: Readonly<Record<string, BaggageWorkloadType>> = {
  'k8s.deployment.name': 'deployment',
  'k8s.cronjob.name': 'cronjob',
  'k8s.pod.name': 'pod',
  'k8s.job.name': 'job',
}

/** The header's value; empty fields are left out. */
export function encodeBaggage(baggage: Baggage): string {
  const parts: string[] = []
  const add = (key: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') parts.push(`${key}=${escapeValue(value)}`)
  }
  add('k8s.cluster.name', baggage.clusterId)
  add('k8s.namespace.name', baggage.namespace)
  add(`k8s.${baggage.workloadType ?? 'deployment'}.name`, baggage.workloadName)
  add('service.name', baggage.serviceName)
  add('service.version', baggage.revision)
  add('cloud.region', baggage.region)
  add('cloud.availability_zone', baggage.zone)
  return parts.join(',')
}

/** Reads one or several header lines; unknown keys and broken members are skipped. */
export function parseBaggage(header: string | readonly string[] | undefined): Baggage {
  const result: Mutable<Baggage> = {}
  if (header === undefined) return result
  const text = (typeof header === 'string' ? header : header.join(',')).slice(0, maxBaggageBytes)
  for (const member of text.split(',')) {
    const equals = member.indexOf('=')
    if (equals < 0) continue
    const key = member.slice(0, equals).trim()
    const semicolon = member.indexOf(';', equals)
    const value = unescapeValue(
      member.slice(equals + 1, semicolon < 0 ? undefined : semicolon).trim(),
    )
    if (value !== '') assign(result, key, value)
  }
  return result
}

function assign(result: Mutable<Baggage>, key: string, value: string): void {
  if (key === 'k8s.cluster.name') result.clusterId = value
  else if (key === 'k8s.namespace.name') result.namespace = value
  else if (key === 'service.name') result.serviceName = value
  else if (key === 'service.version') result.revision = value
  else if (key === 'cloud.region') result.region = value
  else if (key === 'cloud.availability_zone') result.zone = value
  else if (Object.hasOwn(workloadKeys, key)) {
    result.workloadType = workloadKeys[key]
    result.workloadName = value
  }
}

/** Kubernetes names pass unchanged; anything that would break the list is percent-encoded. */
function escapeValue(value: string): string {
  return /^[\w.~:/@+-]*$/.test(value) ? value : encodeURIComponent(value.toWellFormed())
}

function unescapeValue(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
