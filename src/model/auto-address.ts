/**
 * Virtual IPs for hosts of ServiceEntries that bring none. An address once chosen (it is in the
 * entry's status) stays, as long as no older entry has the same. A new one is searched from a slot
 * that the host's name gives, so that a mesh whose statuses were lost gets nearly the same again.
 */
import assert from 'node:assert/strict'
import {
  type Cidr,
  canonicalIp,
  cidrContains,
  formatIp,
  parseCidr,
  parseIp,
} from '../base/index.ts'
import { hashKey } from './persistent-map.ts'
import type { ServiceEntry } from './types.ts'

export interface AddressPools {
  /** CIDR. */
  readonly ipv4: string
  readonly ipv6: string
}

export const defaultAddressPools: AddressPools = { ipv4: '240.240.0.0/16', ipv6: '2001:2::/48' }

/** One ServiceEntry, as far as addresses go. */
export interface AddressClaim {
  readonly key: string
  readonly createdAt: number
  /** Those to give addresses to. */
  readonly hosts: readonly string[]
  /** Addresses the user has given: nobody else gets them. */
  readonly taken: readonly string[]
  readonly allocated: readonly AllocatedAddress[]
}

export interface AllocatedAddress {
  readonly host: string
  readonly value: string
}

/**
 * What a ServiceEntry claims. Wildcards need an address only where a proxy finds out what they stand
 * for: the name itself is never looked up then.
 */
export function addressClaim(entry: ServiceEntry): AddressClaim {
  const { name, namespace, createdAt, services, allocated, wantsAddresses } = entry
  const claimed = services.filter(
    ({ hostname, resolution }) => !hostname.includes('*') || resolution === 'dynamic-dns',
  )
  return {
    key: `${namespace}/${name}`,
    createdAt,
    hosts: wantsAddresses ? claimed.map(({ hostname }) => hostname) : [],
    taken: wantsAddresses ? [] : services.flatMap(({ addresses }) => addresses),
    allocated,
  }
}

/** Slots tried in one pool before a host goes without: a full pool must not stop everything. */
const maxProbes = 65_536

/**
 * The addresses of every claim, one of each family for each host, in order of hosts.
 * Claims whose addresses stay as they are come back equal.
 */
export function allocateAddresses(
  claims: readonly AddressClaim[],
  pools: AddressPools = defaultAddressPools,
): Map<string, readonly AllocatedAddress[]> {
  const families = [new Pool(pools.ipv4), new Pool(pools.ipv6)]
  const used = new Set<string>()
  for (const claim of claims) for (const address of claim.taken) used.add(canonicalIp(address))
  const byAge = claims.toSorted((left, right) =>
    left.createdAt === right.createdAt
      ? compare(left.key, right.key)
      : left.createdAt - right.createdAt,
  )
  const kept = byAge.map((claim) => keep(claim, families, used))
  const result = new Map<string, readonly AllocatedAddress[]>()
  for (const [index, claim] of byAge.entries()) {
    result.set(claim.key, complete(claim, kept[index] ?? new Map(), families, used))
  }
  return result
}

/** What a claim may keep of its status, by pool and host; younger claims find it used. */
function keep(
  claim: AddressClaim,
  pools: readonly Pool[],
  used: Set<string>,
): Map<string, AllocatedAddress> {
  const kept = new Map<string, AllocatedAddress>()
  for (const entry of claim.allocated) {
    const address = canonicalIp(entry.value)
    const family = pools.findIndex((pool) => pool.has(address))
    const slot = `${family} ${entry.host}`
    if (family < 0 || used.has(address) || kept.has(slot) || !claim.hosts.includes(entry.host)) {
      continue
    }
    used.add(address)
    kept.set(slot, entry)
  }
  return kept
}

function complete(
  claim: AddressClaim,
  kept: ReadonlyMap<string, AllocatedAddress>,
  pools: readonly Pool[],
  used: Set<string>,
): AllocatedAddress[] {
  return claim.hosts.flatMap((host) =>
    pools.flatMap((pool, family) => {
      const old = kept.get(`${family} ${host}`)
      if (old !== undefined) return [old]
      const value = pool.free(`${claim.key}/${host}`, used)
      if (value === undefined) return []
      used.add(value)
      return [{ host, value }]
    }),
  )
}

/** Addresses of one range by their number; only its last 32 bits vary. */
class Pool {
  readonly #range: Cidr
  readonly #size: number

  constructor(cidr: string) {
    const range = parseCidr(cidr)
    assert.ok(range, `no range: ${cidr}`)
    this.#range = range
    const bits = range.address.length * 8 - range.length
    this.#size = bits === 0 ? 0 : 2 ** Math.min(bits, 31)
  }

  has(text: string): boolean {
    const address = parseIp(text)
    return address !== undefined && cidrContains(this.#range, address)
  }

  /** The first and the last address of a range are left out: nets and broadcasts. */
  free(name: string, used: ReadonlySet<string>): string | undefined {
    const usable = this.#size - 2
    const start = usable > 0 ? hashKey(name) % usable : 0
    for (let step = 0; step < Math.min(usable, maxProbes); step++) {
      const text = this.#at(((start + step) % usable) + 1)
      if (!used.has(text)) return text
    }
    return undefined
  }

  #at(number: number): string {
    const bytes = Uint8Array.from(this.#range.address)
    for (let at = bytes.length - 1, rest = number; rest > 0; at--) {
      bytes[at] = (bytes[at] ?? 0) | (rest & 0xff)
      rest = Math.floor(rest / 256)
    }
    return formatIp(bytes)
  }
}

function compare(left: string, right: string): number {
  return left < right ? -1 : 1
}
