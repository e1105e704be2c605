/** What a user of the client provides. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Clock, Logger } from '../base/index.ts'
import type { TextSource } from '../grpc/index.ts'

export interface XdsNode {
  /** `ztunnel~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local` */
  readonly id: string
  /** Text, or for Envoy-type proxies nested values such as LABELS. */
  readonly metadata: Readonly<JsonObject>
}

export interface DeltaType {
  readonly typeUrl: string
  /** True: everything of the type. False: only names asked for by `demand`. */
  readonly wildcard: boolean
  /**
   * Takes over one resource. Throwing rejects this resource alone, and the control plane learns the
   * reason. The bytes are a view into the whole response: copy what is kept.
   */
  onResource(name: string, bytes: Uint8Array, version: string): void
  onRemoved(name: string): void
  /** After all resources of one response: the moment to swap indexes. */
  onBatchEnd?(): void
}

export interface DeltaClientOptions {
  /** `host:port` of the control plane. */
  readonly address: string
  /** The name that the server's certificate must have; default the host of the address. */
  readonly serverName?: string
  /** Root certificate: a path, or a function that gives PEM. Read at each connection. */
  readonly rootCa: TextSource
  /** Service account token: a path, or a function. Read at each connection. */
  readonly token: TextSource
  readonly node: XdsNode
  readonly clusterId: string
  readonly headers?: Readonly<Record<string, string>>
  readonly types: readonly DeltaType[]
  readonly logger: Logger
  readonly clock: Clock
  /** Called with the first response of every connection. */
  readonly onConnected?: () => void
  readonly onDisconnected?: (reason: string) => void
  readonly random?: () => number
}
