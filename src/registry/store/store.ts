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

/**
 * `synced` changes survive a power cut once they are acknowledged. `relaxed` ones don't wait for the disk:
 * they survive the death of the process, and a power cut may lose the last of them, never a part of one.
 */
export type Durability = 'synced' | 'relaxed'

export interface StoredObject {
  readonly key: string
  readonly revision: number
  readonly bytes: Uint8Array
}

export interface StoreStats {
  /** Size of the database. */
  readonly bytes: number
  readonly pages: number
  /** Pages of it that hold nothing. */
  readonly freePages: number
  /** Size of the write-ahead log beside it. */
  readonly logBytes: number
}

export interface Store {
  /**
   * Takes the lock, checks format and integrity, hands over every object. Returns the last revision: never
   * below one that was acknowledged, and after a crash possibly above.
   */
  open(onObjects: (objects: readonly StoredObject[]) => void): Promise<number>
  /** Resolves when all changes are as durable as asked for, as one transaction. */
  commit(changes: readonly Change[], revision: number, durability: Durability): Promise<void>
  /** Writes a consistent copy to a new file. */
  backup(path: string): Promise<void>
  /** Gives some of the freed space back to the file system; to be called now and then. */
  compact(): Promise<void>
  stats(): Promise<StoreStats>
  close(): Promise<void>
}
