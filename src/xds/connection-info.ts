/** What the server tells about its connections, for `/debug/syncz` and the like. */
import type { ProxyNode } from './contract.ts'

export interface ConnectionInfo {
  readonly id: string
  readonly node: ProxyNode
  readonly address: string
  /** Milliseconds since the epoch. */
  readonly connectedAt: number
  /** Incremental, or state of the world. */
  readonly protocol: 'delta' | 'state'
  readonly types: readonly TypeInfo[]
}

export interface TypeInfo {
  readonly typeUrl: string
  readonly wildcard: boolean
  /** How many names are subscribed one by one. */
  readonly names: number
  readonly watch: { subscribed(): Iterable<string> }
  readonly nonceSent: string
  readonly nonceAcked: string
  readonly versionSent: string
  readonly versionAcked: string
  /** The last rejection, until the next acknowledgement. */
  readonly error: string | undefined
}
