/** Services by key, hostname and virtual address. */
import { type Cidr, cidrContains, parseIp } from '../../base/index.ts'
import type { Service } from './types.ts'

interface Range {
  readonly network: string
  readonly cidr: Cidr
  readonly service: Service
}

export class ServiceIndex {
  readonly #byKey = new Map<string, Service>()
  /** `<network>/<ip>` */
  readonly #byVip = new Map<string, Service[]>()
  /** Hostname, or wildcard, to the services of that name in all namespaces. */
  readonly #byHost = new Map<string, Service[]>()
  #ranges: Range[] = []

  values(): IterableIterator<Service> {
    return this.#byKey.values()
  }

  get(key: string): Service | undefined {
    return this.#byKey.get(key)
  }

  put(service: Service): void {
    this.remove(service.key)
    this.#byKey.set(service.key, service)
    const namesakes = this.#byHost.get(service.hostname) ?? []
    this.#byHost.set(service.hostname, [...namesakes, service])
    for (const { network, address, length } of service.vips) {
      if (length === undefined) {
        const key = `${network}/${address}`
        this.#byVip.set(key, [...(this.#byVip.get(key) ?? []), service])
        continue
      }
      const bytes = parseIp(address)
      if (bytes !== undefined) {
        this.#ranges.push({ network, cidr: { address: bytes, length }, service })
      }
    }
  }

  remove(key: string): Service | undefined {
    const service = this.#byKey.get(key)
    if (service === undefined) return undefined
    this.#byKey.delete(key)
    const namesakes = this.#byHost.get(service.hostname)?.filter((other) => other !== service) ?? []
    if (namesakes.length === 0) this.#byHost.delete(service.hostname)
    else this.#byHost.set(service.hostname, namesakes)
    for (const { network, address } of service.vips) {
      const vip = `${network}/${address}`
      const rest = this.#byVip.get(vip)?.filter((other) => other !== service) ?? []
      if (rest.length === 0) this.#byVip.delete(vip)
      else this.#byVip.set(vip, rest)
    }
    if (service.vips.some((vip) => vip.length !== undefined)) {
      this.#ranges = this.#ranges.filter((range) => range.service !== service)
    }
    return service
  }

  /**
   * The service that owns the address for clients of a namespace: their own namespace first, then
   * canonical ones; ranges only when no service has exactly this address.
   */
  byVip(network: string, address: string, clientNamespace: string): Service | undefined {
    const exact = this.#byVip.get(`${network}/${address}`)
    if (exact !== undefined) {
      const chosen = preferred(exact, clientNamespace)
      if (chosen !== undefined) return chosen
    }
    return this.#ranges.length === 0 ? undefined : this.#byRange(network, address, clientNamespace)
  }

  /**
   * The service of that name which clients of a namespace see: their own, a canonical one, that of
   * the preferred namespace, the first.
   * @param host lower case; for a wildcard service its own form (`*.example.com`)
   */
  byHost(host: string, clientNamespace: string, preferredNamespace?: string): Service | undefined {
    const namesakes = this.#byHost.get(host)
    return namesakes === undefined
      ? undefined
      : preferred(namesakes, clientNamespace, preferredNamespace)
  }

  #byRange(network: string, address: string, clientNamespace: string): Service | undefined {
    const bytes = parseIp(address)
    if (bytes === undefined) return undefined
    let best: { range: Range; rank: readonly number[] } | undefined
    for (const range of this.#ranges) {
      if (range.network !== network || !isVisible(range.service, clientNamespace)) continue
      if (!cidrContains(range.cidr, bytes)) continue
      const { namespace, canonical } = range.service
      const rank = [Number(namespace === clientNamespace), range.cidr.length, Number(canonical)]
      if (best === undefined || isHigher(rank, best.rank)) best = { range, rank }
    }
    return best?.range.service
  }
}

function isHigher(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0
    if (value !== other) return value > other
  }
  return false
}

function preferred(
  services: readonly Service[],
  clientNamespace: string,
  preferredNamespace?: string,
): Service | undefined {
  let first: Service | undefined
  let canonical: Service | undefined
  let favourite: Service | undefined
  for (const service of services) {
    if (service.namespace === clientNamespace) return service
    if (!isVisible(service, clientNamespace)) continue
    first ??= service
    if (service.canonical) canonical ??= service
    if (service.namespace === preferredNamespace) favourite ??= service
  }
  return canonical ?? favourite ?? first
}

function isVisible(service: Service, clientNamespace: string): boolean {
  return !service.namespaceOnly || service.namespace === clientNamespace
}
