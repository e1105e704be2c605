/** Unique numbers (addresses, ports) given out to owners. */

export class Allocator {
  readonly #first: number
  readonly #size: number
  readonly #random: () => number
  readonly #owners = new Map<number, string>()

  /** @param first the smallest value to choose by itself, and how many there are from it on */
  constructor(first: number, size: number, random: () => number) {
    this.#first = first
    this.#size = size
    this.#random = random
  }

  /** Takes this very value; false when another owner has it. */
  take(value: number, owner: string): boolean {
    const holder = this.#owners.get(value)
    if (holder !== undefined && holder !== owner) return false
    this.#owners.set(value, owner)
    return true
  }

  /** Takes a free value; undefined when all are taken. */
  next(owner: string): number | undefined {
    // A random start keeps the values of deleted owners out of use for long.
    const start = Math.floor(this.#random() * this.#size)
    for (let offset = 0; offset < this.#size; offset++) {
      const value = this.#first + ((start + offset) % this.#size)
      if (!this.#owners.has(value)) {
        this.#owners.set(value, owner)
        return value
      }
    }
    return undefined
  }

  release(value: number, owner: string): void {
    if (this.#owners.get(value) === owner) this.#owners.delete(value)
  }
}
