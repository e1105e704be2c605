/**
 * Consistent hashing: rings (ketama) and Maglev tables, entry for entry as Envoy builds them, so that a fleet
 * of both engines sends a client to one endpoint.
 */
import type { Host } from './endpoints.ts'
import { xxHash64 } from './xxhash64.ts'

export interface Weighted {
  readonly host: Host
  /** Share of one; all together are one. */
  readonly share: number
}

export interface HashTable {
  /** @param attempt above zero when a retry looks for another host */
  choose(hash: bigint, attempt: number): Host | undefined
}

const empty: HashTable = { choose: () => undefined }

/** What is hashed for a host: its address, its name, or what its metadata says. */
export function hashKey(host: Host, useHostname: boolean): string {
  const own = host.metadata['envoy.lb']?.hash_key
  if (typeof own === 'string' && own !== '') return own
  return useHostname && host.hostname !== '' ? host.hostname : host.key
}

export interface RingOptions {
  readonly minimum: number
  readonly maximum: number
  readonly useHostname: boolean
}

export function buildRing(hosts: readonly Weighted[], options: RingOptions): HashTable {
  const { minimum, maximum, useHostname } = options
  if (hosts.length === 0) return empty
  const least = Math.min(...hosts.map(({ share }) => share))
  const scale = Math.min(Math.ceil(least * minimum) / least, maximum)
  const entries: { hash: bigint; host: Host }[] = []
  let current = 0
  let target = 0
  for (const { host, share } of hosts) {
    const key = hashKey(host, useHostname)
    target += scale * share
    for (let index = 0; current < target; index++, current++) {
      entries.push({ hash: xxHash64(`${key}_${index}`), host })
    }
  }
  entries.sort((left, right) => (left.hash < right.hash ? -1 : left.hash > right.hash ? 1 : 0))
  const hashes = BigUint64Array.from(entries, ({ hash }) => hash)
  const chosen = entries.map(({ host }) => host)
  return {
    choose: (hash, attempt) => {
      let low = 0
      let high = hashes.length
      while (low < high) {
        const middle = (low + high) >> 1
        if ((hashes[middle] ?? 0n) < hash) low = middle + 1
        else high = middle
      }
      const at = low === hashes.length ? 0 : low
      return chosen[(at + attempt) % chosen.length]
    },
  }
}

interface Build {
  readonly index: number
  readonly offset: number
  readonly skip: number
  readonly share: number
  target: number
  next: number
}

const allBits = (1n << 64n) - 1n

export function buildMaglev(
  hosts: readonly Weighted[],
  { size, useHostname }: { readonly size: number; readonly useHostname: boolean },
): HashTable {
  if (hosts.length === 0) return empty
  const sorted = hosts
    .map(({ host, share }) => ({ key: hashKey(host, useHostname), host, share }))
    .toSorted((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))
  const builds = sorted.map(({ key, share }, index): Build => {
    const offset = Number(xxHash64(key) % BigInt(size))
    const skip = Number(xxHash64(key, 1n) % BigInt(size - 1)) + 1
    return { index, offset, skip, share, target: 0, next: 0 }
  })
  const table = fill(builds, size)
  const modulus = BigInt(size)
  return {
    choose: (hash, attempt) => {
      const mixed = attempt > 0 ? hash ^ (allBits - BigInt(attempt) + 1n) : hash
      return sorted[table[Number(mixed % modulus)] ?? 0]?.host
    },
  }
}

/** Hosts take turns, those with smaller shares less often; each takes its next free place. */
function fill(builds: readonly Build[], size: number): Int32Array {
  const table = new Int32Array(size).fill(-1)
  const most = Math.max(...builds.map(({ share }) => share))
  let filled = 0
  for (let iteration = 1; filled < size; iteration++) {
    for (const build of builds) {
      if (filled >= size) break
      if (iteration * build.share < build.target) continue
      build.target += most
      let place = (build.offset + build.skip * build.next) % size
      while (table[place] !== -1) {
        build.next++
        place = (build.offset + build.skip * build.next) % size
      }
      table[place] = build.index
      build.next++
      filled++
    }
  }
  return table
}
