/**
 * The durable half of the registry: six methods over one table of keys, versions and bytes.
 * It knows nothing of Kubernetes. Another engine (a log, an external database) can take its place.
 */

/** `bytes` is undefined for a deletion. */
export interface Change {
  readonly key: string
  readonly revision: number
  readonly bytes: Uint8Array | undefined
}

export interface StoredObject {
  readonly key: string
  readonly revision: number
  readonly bytes: Uint8Array
}

export interface StoreStats {
  readonly bytes: number
  readonly pages: number
}

export interface Store {
  /** Takes the lock, checks format and integrity, hands over every object; returns the last revision. */
  open(onObjects: (objects: readonly StoredObject[]) => void): Promise<number>
  /** Resolves when all changes are on disk, as one transaction. */
  commit(changes: readonly Change[], revision: number): Promise<void>
  /** Writes a consistent copy to a new file. */
  backup(path: string): Promise<void>
  /** Gives freed space back to the file system. */
  compact(): Promise<void>
  stats(): Promise<StoreStats>
  close(): Promise<void>
}
