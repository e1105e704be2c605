/**
 * Random inputs that can be made again: each run prints its seed, WEFT_FUZZ_SEED=<seed> repeats it, and
 * the seeds that once found something are kept beside the test and run always.
 */

/** Seeds to run: the kept ones, then one that is new each time (or the one that was asked for). */
export function fuzzSeeds(name: string, kept: readonly number[]): readonly number[] {
  const asked = process.env.WEFT_FUZZ_SEED
  if (asked !== undefined) return [Number(asked)]
  const fresh = Math.floor(Math.random() * 2 ** 31)
  process.stdout.write(`${name}: WEFT_FUZZ_SEED=${fresh} repeats this run\n`)
  return [...kept, fresh]
}

/** More runs in the long version. */
export const fuzzScale = process.env.WEFT_SOAK === '1' ? 50 : 1

/** Runs the action; a failure tells the seed. */
export async function withSeed(
  seed: number,
  action: (random: FuzzRandom) => void | Promise<void>,
): Promise<void> {
  try {
    await action(new FuzzRandom(seed))
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/** Numbers from a seed (xorshift). */
export class FuzzRandom {
  #state: number

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) | 0 || 1
  }

  /** From 0 to below `bound`. */
  below(bound: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % bound
  }

  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0]
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }

  /** Some bytes changed, cut off, doubled or put in: what a broken or an evil peer would send. */
  damage(original: Uint8Array): Buffer {
    let bytes = Buffer.from(original)
    for (let times = 1 + this.below(4); times > 0; times--) {
      const at = this.below(bytes.length + 1)
      const kind = this.below(5)
      if (kind === 0 && at < bytes.length) bytes[at] = this.below(256)
      else if (kind === 1 && at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8))
      else if (kind === 2) bytes = bytes.subarray(0, at)
      else if (kind === 3) {
        const put = this.bytes(1 + this.below(8))
        bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at)])
      } else {
        const end = Math.min(bytes.length, at + this.below(32))
        bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
      }
    }
    return bytes
  }
}
