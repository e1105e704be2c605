/**
 * The cluster's DNS zone: what Kubernetes' DNS specification says about Services, answered straight
 * from the caches. Pure: it gets lookups, and knows nothing of sockets.
 */
import { cidrContains, parseCidr, parseIp } from '../../base/index.ts'
import { addressRecord, canonicalName, type DnsRecord, recordTypes } from '../../dns/index.ts'
import { clusterDomain, hostAlias, hostAliasName, podCidr, serviceCidr } from './addresses.ts'
import { limits } from './limits.ts'
import type { EndpointSlice, Service } from './service-table.ts'

export interface ZoneLookups {
  readonly service: (key: string) => Service | undefined
  readonly slices: (serviceKey: string) => readonly EndpointSlice[]
  /** Whether there is a namespace of that name (that has Services). */
  readonly namespaceExists: (name: string) => boolean
  readonly serviceByAddress: (address: string) => Service | undefined
  readonly slicesByAddress: (address: string) => readonly EndpointSlice[]
  readonly hostAccess: boolean
}

export type ZoneAnswer =
  /** Not a name of ours: ask the host. */
  | { readonly kind: 'foreign' }
  /** No such name. */
  | { readonly kind: 'missing' }
  /** The name exists; perhaps without records of this type. */
  | {
      readonly kind: 'found'
      readonly records: readonly DnsRecord[]
      readonly extra: readonly DnsRecord[]
    }
  | { readonly kind: 'alias'; readonly target: string }

const missing: ZoneAnswer = { kind: 'missing' }
const ttl = limits.dnsTtlSeconds

function found(records: readonly DnsRecord[] = [], extra: readonly DnsRecord[] = []): ZoneAnswer {
  return { kind: 'found', records, extra }
}

/** Answers one question. Records carry the name as it was asked. */
export function answerFromZone(name: string, type: number, lookups: ZoneLookups): ZoneAnswer {
  const canonical = canonicalName(name)
  if (canonical === hostAliasName) {
    if (!lookups.hostAccess) return missing
    return found(wants(type, recordTypes.A) ? [addressRecord(name, hostAlias, ttl)] : [])
  }
  if (canonical.endsWith('.in-addr.arpa')) return reverse(name, canonical, type, lookups)
  if (canonical === clusterDomain) return found()
  if (!canonical.endsWith(`.${clusterDomain}`)) return { kind: 'foreign' }
  const labels = canonical.slice(0, -clusterDomain.length - 1).split('.')
  const kind = labels.pop()
  const namespace = labels.pop()
  if (kind === 'pod') return podAnswer(name, labels, namespace, type, lookups)
  if (kind !== 'svc') return missing
  if (namespace === undefined) return found()
  const serviceName = labels.pop()
  if (serviceName === undefined) return lookups.namespaceExists(namespace) ? found() : missing
  const service = lookups.service(`${namespace}/${serviceName}`)
  if (service === undefined) return missing
  const asked: Asked = {
    name,
    type,
    service,
    slices: lookups.slices(`${namespace}/${serviceName}`),
  }
  if (service.spec?.type === 'ExternalName') {
    const target = service.spec.externalName
    return labels.length > 0 || target === undefined ? missing : { kind: 'alias', target }
  }
  if (labels.length === 0) return serviceAnswer(asked)
  if (labels.length === 1) return endpointAnswer(asked, labels[0] ?? '')
  const [port = '', protocol = ''] = labels
  if (labels.length === 2 && port.startsWith('_') && protocol.startsWith('_')) {
    return portAnswer(asked, port.slice(1), protocol.slice(1))
  }
  return missing
}

interface Asked {
  readonly name: string
  readonly type: number
  readonly service: Service
  readonly slices: readonly EndpointSlice[]
}

interface NamedEndpoint {
  readonly address: string
  /** The label of its own below the Service. */
  readonly label: string
  readonly ports: readonly { name: string; port: number; protocol: string }[]
}

function wants(asked: number, type: number): boolean {
  return asked === type || asked === recordTypes.ANY
}

function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None' || service.spec?.clusterIP === undefined
}

function endpointsOf(slices: readonly EndpointSlice[]): NamedEndpoint[] {
  const endpoints: NamedEndpoint[] = []
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue
    const ports = (slice.ports ?? []).flatMap(({ name = '', port, protocol = 'TCP' }) =>
      port === undefined ? [] : [{ name, port, protocol: protocol.toLowerCase() }],
    )
    for (const { addresses, conditions, hostname } of slice.endpoints ?? []) {
      const [address] = addresses
      if (address === undefined || conditions?.ready === false) continue
      endpoints.push({ address, ports, label: hostname ?? address.replaceAll('.', '-') })
    }
  }
  return endpoints
}

function fullName(service: Service): string {
  return `${service.metadata.name}.${service.metadata.namespace ?? 'default'}.svc.${clusterDomain}`
}

function serviceAnswer(asked: Asked): ZoneAnswer {
  const { name, type, service, slices } = asked
  const endpoints = isHeadless(service) ? endpointsOf(slices) : []
  // A headless Service without endpoints has no name, as in CoreDNS.
  if (isHeadless(service) && endpoints.length === 0) return missing
  const addresses = isHeadless(service)
    ? [...new Set(endpoints.map(({ address }) => address))]
    : [service.spec?.clusterIP ?? ''].filter((address) => address.includes('.'))
  if (type === recordTypes.SRV) return portAnswer(asked, undefined, undefined)
  if (!wants(type, recordTypes.A)) return found()
  return found(addresses.map((address) => addressRecord(name, address, ttl)))
}

function endpointAnswer({ name, type, service, slices }: Asked, label: string): ZoneAnswer {
  const matches = endpointsOf(slices).filter((endpoint) => endpoint.label.toLowerCase() === label)
  if (matches.length === 0 || !isHeadless(service)) return missing
  if (!wants(type, recordTypes.A)) return found()
  return found(matches.map(({ address }) => addressRecord(name, address, ttl)))
}

/** SRV of a named port; of all named ports when none is given. */
function portAnswer(
  asked: Asked,
  port: string | undefined,
  protocol: string | undefined,
): ZoneAnswer {
  const { name, type, service, slices } = asked
  const matches = (one: { name?: string; protocol?: string }): boolean =>
    (port === undefined ? (one.name ?? '') !== '' : one.name?.toLowerCase() === port) &&
    (protocol === undefined || (one.protocol ?? 'TCP').toLowerCase() === protocol)
  const records: DnsRecord[] = []
  const extra: DnsRecord[] = []
  const add = (target: string, address: string, number: number): void => {
    records.push({
      name,
      type: recordTypes.SRV,
      class: 1,
      ttlSeconds: ttl,
      data: { kind: 'service', priority: 0, weight: 100, port: number, target },
    })
    extra.push(addressRecord(target, address, ttl))
  }
  const suffix = fullName(service)
  if (isHeadless(service)) {
    for (const endpoint of endpointsOf(slices)) {
      for (const one of endpoint.ports) {
        if (matches(one)) add(`${endpoint.label}.${suffix}`, endpoint.address, one.port)
      }
    }
  } else {
    for (const one of service.spec?.ports ?? []) {
      if (matches(one)) add(suffix, service.spec?.clusterIP ?? '', one.port)
    }
  }
  if (records.length === 0) return port === undefined ? found() : missing
  return wants(type, recordTypes.SRV) ? found(records, extra) : found()
}

/** `10-244-0-12.ns.pod.cluster.local` */
function podAnswer(
  name: string,
  labels: readonly string[],
  namespace: string | undefined,
  type: number,
  lookups: ZoneLookups,
): ZoneAnswer {
  if (namespace === undefined) return found()
  if (!lookups.namespaceExists(namespace)) return missing
  if (labels.length === 0) return found()
  const address = labels[0]?.replaceAll('-', '.') ?? ''
  const bytes = labels.length === 1 ? parseIp(address) : undefined
  const pods = parseCidr(podCidr)
  if (bytes === undefined || pods === undefined || !cidrContains(pods, bytes)) return missing
  return found(wants(type, recordTypes.A) ? [addressRecord(name, address, ttl)] : [])
}

function reverse(name: string, canonical: string, type: number, lookups: ZoneLookups): ZoneAnswer {
  const address = canonical.slice(0, -'.in-addr.arpa'.length).split('.').toReversed().join('.')
  const bytes = parseIp(address)
  if (bytes === undefined) return { kind: 'foreign' }
  const ours = [podCidr, serviceCidr].some((text) => {
    const cidr = parseCidr(text)
    return cidr !== undefined && cidrContains(cidr, bytes)
  })
  if (!ours) return { kind: 'foreign' }
  const service = lookups.serviceByAddress(address)
  const targets = service === undefined ? endpointNames(address, lookups) : [fullName(service)]
  if (targets.length === 0) return missing
  if (!wants(type, recordTypes.PTR)) return found()
  return found(
    targets.map((target) => ({
      name,
      type: recordTypes.PTR,
      class: 1,
      ttlSeconds: ttl,
      data: { kind: 'name', name: target },
    })),
  )
}

function endpointNames(address: string, lookups: ZoneLookups): string[] {
  const names = lookups.slicesByAddress(address).flatMap((slice) => {
    const service = slice.metadata.labels?.['kubernetes.io/service-name']
    const endpoint = endpointsOf([slice]).find((one) => one.address === address)
    if (service === undefined || endpoint === undefined) return []
    const namespace = slice.metadata.namespace ?? 'default'
    return [`${endpoint.label}.${service}.${namespace}.svc.${clusterDomain}`]
  })
  return [...new Set(names)]
}
