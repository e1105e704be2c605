/**
 * The live connections of all pods. Inbound ones are registered before they are judged, and judged
 * again when a policy or their workload changes, so that no change falls between check and use.
 */
import { sabotaged } from '../base/index.ts'
import type { L4Decision } from '../decide/index.ts'
import type { StoreChange } from './state/store.ts'

export interface ConnectionInfo {
  readonly direction: 'inbound' | 'outbound'
  readonly protocol: 'HBONE' | 'TCP'
  readonly source: string
  readonly destination: string
}

export interface Connection {
  readonly podUid: string
  readonly info: ConnectionInfo
  /** Inbound only: the decision as of now. */
  readonly judge?: () => L4Decision
  /** Ends it at once; called at most once by the manager. */
  readonly close: (reason: string) => void
}

export const policyChangeReason = 'connection closed due to policy change'

export class ConnectionManager {
  readonly #byPod = new Map<string, Set<Connection>>()
  #rejudging = false

  /** Returns the way to forget it, to be called when it ends. */
  add(connection: Connection): () => void {
    const { podUid } = connection
    let set = this.#byPod.get(podUid)
    if (set === undefined) this.#byPod.set(podUid, (set = new Set()))
    const own = set
    own.add(connection)
    return () => {
      own.delete(connection)
      if (own.size === 0 && this.#byPod.get(podUid) === own) this.#byPod.delete(podUid)
    }
  }

  get size(): number {
    let size = 0
    for (const set of this.#byPod.values()) size += set.size
    return size
  }

  countByDirection(): { inbound: number; outbound: number } {
    const count = { inbound: 0, outbound: 0 }
    for (const set of this.#byPod.values()) for (const { info } of set) count[info.direction]++
    return count
  }

  of(podUid: string): Iterable<Connection> {
    return this.#byPod.get(podUid) ?? []
  }

  /** Judges all again, once for all the changes of this turn. */
  onStoreChange(change: StoreChange): void {
    if (change.kind === 'service' || this.#rejudging) return
    this.#rejudging = true
    setImmediate(() => {
      this.#rejudging = false
      this.rejudge()
    })
  }

  rejudge(): void {
    if (sabotaged('rejudge')) return
    for (const set of this.#byPod.values()) {
      for (const connection of set) {
        if (connection.judge?.().allowed !== false) continue
        set.delete(connection)
        connection.close(policyChangeReason)
      }
    }
  }

  closePod(podUid: string, reason: string): void {
    const set = this.#byPod.get(podUid)
    this.#byPod.delete(podUid)
    for (const connection of set ?? []) connection.close(reason)
  }

  closeAll(reason: string): void {
    for (const podUid of this.#byPod.keys()) this.closePod(podUid, reason)
  }
}
