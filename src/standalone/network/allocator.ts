/**
 * Pod addresses. A pod keeps its address over a restart of the tree (endpoints and open clients'
 * caches stay true), and a freed address is used again as late as possible.
 */
import { MeshError } from '../../base/index.ts'
import { firstPodAddress, podCidr } from './addresses.ts'
import { limits } from './limits.ts'

export class AddressAllocator {
  readonly #byUid = new Map<string, number>()
  readonly #used = new Set<number>()
  readonly #live = new Set<string>()
  readonly #first = toNumber(firstPodAddress)
  readonly #last: number
  #next: number

  /** @param remembered addresses of earlier runs by pod uid */
  constructor(remembered: Readonly<Record<string, string>> = {}) {
    const [base = '', length = ''] = podCidr.split('/')
    this.#last = toNumber(base) + 2 ** (32 - Number(length)) - 2
    this.#next = this.#first
    for (const [uid, address] of Object.entries(remembered).slice(-limits.rememberedAddresses)) {
      const value = toNumber(address)
      if (!(value >= this.#first && value <= this.#last) || this.#used.has(value)) continue
      this.#byUid.set(uid, value)
      this.#used.add(value)
      this.#next = Math.max(this.#next, value + 1)
    }
  }

  /** The pod's address, the same each time it is asked for. */
  allocate(uid: string): string {
    const known = this.#byUid.get(uid)
    const value = known ?? this.#free()
    this.#byUid.set(uid, value)
    this.#used.add(value)
    this.#live.add(uid)
    return toText(value)
  }

  release(uid: string): void {
    const value = this.#byUid.get(uid)
    if (value === undefined) return
    this.#byUid.delete(uid)
    this.#live.delete(uid)
    this.#used.delete(value)
  }

  /** What to remember for the next run. */
  snapshot(): Record<string, string> {
    return Object.fromEntries([...this.#byUid].map(([uid, value]) => [uid, toText(value)]))
  }

  #free(): number {
    for (let round = 0; round < 2; round++) {
      const size = this.#last - this.#first + 1
      for (let step = 0; step < size; step++) {
        const value = this.#next > this.#last ? this.#first : this.#next
        this.#next = value + 1
        if (!this.#used.has(value)) return value
      }
      // Only remembered ones are left: their pods are gone more likely than this one is too many.
      for (const uid of [...this.#byUid.keys()].filter((one) => !this.#live.has(one))) {
        this.release(uid)
      }
    }
    throw new MeshError('NETWORK_ADDRESSES', `all addresses of ${podCidr} are in use by pods`, {
      hint: 'Delete some pods.',
    })
  }
}

function toNumber(address: string): number {
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0)
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.')
}
