/** How much the registry holds, counted before the disk is asked, so that one large object fails alone. */
import { MeshError } from '../../base/index.ts'
import { limits } from '../limits.ts'
import type { Bucket } from './bucket.ts'
import type { Entry } from './entry.ts'

export class Capacity {
  readonly #bytesMax: number
  #bytes = 0
  #objects = 0

  /** @param bytesMax of all objects together, as they are stored */
  constructor(bytesMax: number = limits.stateBytesMax) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Counts what is stored, at the start and after changes that could not be written. */
  count(buckets: Iterable<Bucket>): void {
    this.#bytes = 0
    this.#objects = 0
    for (const bucket of buckets) {
      this.#objects += bucket.size
      for (const entry of bucket.entries()) this.#bytes += entry.bytes.length
    }
  }

  /**
   * Takes note of a replacement (a creation without `before`, a deletion without `after`). Throws when it would
   * grow the state beyond its bounds; what shrinks it is always let through.
   */
  replace(before: Entry | undefined, after: { readonly length: number } | undefined): void {
    const bytes = (after?.length ?? 0) - (before?.bytes.length ?? 0)
    const objects = (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1)
    if (bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      throw full(`all objects together may have ${this.#bytesMax} bytes`)
    }
    if (objects > 0 && this.#objects + objects > limits.objectsMax) {
      throw full(`it holds up to ${limits.objectsMax} objects`)
    }
    this.#bytes += bytes
    this.#objects += objects
  }
}

function full(why: string): MeshError {
  return new MeshError('REGISTRY_STORAGE_FULL', `the registry is full: ${why}`, {
    hint: 'Delete objects that nobody needs; reads and deletions go on.',
  })
}
