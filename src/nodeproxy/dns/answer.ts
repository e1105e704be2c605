/** What the mesh knows about a name: pure, from the store (reference: ambient, DNS proxy). */
import { addressRecord, canonicalName, type DnsRecord, recordTypes } from '../../dns/index.ts'
import type { Store } from '../state/store.ts'
import type { Service, Workload } from '../state/types.ts'
import { candidateNames, matchingHosts } from './candidates.ts'

const ttlSeconds = 30

export interface NameQuestion {
  readonly store: Store
  /** Who asks: its network and namespace decide what it sees. */
  readonly client: Workload
  /** As it was asked. */
  readonly name: string
  /** A or AAAA; other types are not the mesh's to answer. */
  readonly type: number
  readonly domain: string
  /** Wins among services of one name in several namespaces, after the client's own. */
  readonly preferredNamespace: string | undefined
  /** Answers to AAAA are empty without it. */
  readonly ipv6: boolean
  readonly random: () => number
}

/**
 * Records for a name of the mesh: none when it has no address of that family. Undefined for a name
 * that the mesh leaves to the name servers.
 */
export function answerName(question: NameQuestion): DnsRecord[] | undefined {
  const { store, client, name, domain, preferredNamespace } = question
  const asked = canonicalName(name)
  for (const candidate of candidateNames(asked, client.namespace, domain)) {
    for (const { host, wildcard } of matchingHosts(candidate.name)) {
      const service = store.services.byHost(host, client.namespace, preferredNamespace)
      if (service === undefined) continue
      const addresses = addressesOf(question, service)
      if (addresses === undefined) return undefined
      const alias = candidate.stripped && !wildcard
      const owner = alias ? candidate.name : name
      const records = shuffle(
        addresses.filter((address) => isFamily(address, question)),
        question.random,
      ).map((address) => addressRecord(owner, address, ttlSeconds))
      if (!alias || records.length === 0) return records
      return [cname(name, candidate.name), ...records]
    }
  }
  return undefined
}

/** Virtual addresses; those of the endpoints when it is headless; undefined: not ours to say. */
function addressesOf(
  { store, client, domain }: NameQuestion,
  service: Service,
): string[] | undefined {
  const virtual = service.vips
    .filter(({ network, length }) => network === client.network && length === undefined)
    .map(({ address }) => address)
  if (virtual.length > 0) return virtual
  if (!service.hostname.endsWith(`.svc.${domain}`)) return undefined
  const addresses = new Set<string>()
  for (const workload of store.workloads.endpointsOf(service.key)) {
    if (workload.network !== client.network) continue
    if (!workload.healthy && service.loadBalancing?.unhealthyToo !== true) continue
    for (const address of workload.addresses) addresses.add(address)
  }
  return [...addresses]
}

function isFamily(address: string, { type, ipv6 }: NameQuestion): boolean {
  if (address.includes(':')) return type === recordTypes.AAAA && ipv6
  return type === recordTypes.A
}

function cname(name: string, target: string): DnsRecord {
  return {
    name,
    type: recordTypes.CNAME,
    class: 1,
    ttlSeconds,
    data: { kind: 'name', name: target },
  }
}

/** Clients take the first: a random order spreads them. */
function shuffle<T>(items: T[], random: () => number): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const swapped = items[last] as T
    items[last] = items[other] as T
    items[other] = swapped
  }
  return items
}
