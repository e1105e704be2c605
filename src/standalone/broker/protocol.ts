/**
 * What broker and init say to each other over Node's IPC channel, and broker and command line over
 * theirs. Handles (listening sockets inwards, dialled connections) travel beside the messages.
 */
import { MeshError } from '../../base/index.ts'
import type { ImageMapping } from '../images/index.ts'

/** One step of `up`, as it is shown to the user. */
export interface ProgressEvent {
  readonly step: string
  readonly status: 'started' | 'done' | 'failed' | 'note'
  /** Since `up` began. */
  readonly elapsedMs: number
  readonly detail?: string
}

/** Everything init needs to know; it reads neither arguments nor the environment. */
export interface InitConfig {
  readonly name: string
  readonly version: string
  readonly stateDirectory: string
  readonly mode: 'root' | 'rootless'
  /** Port on the host's 127.0.0.1 behind which the registry is. */
  readonly registryPort: number
  readonly samples: readonly string[]
  readonly hostPathPrefixes: readonly string[]
  readonly hostAccess: boolean
  /** The user's image catalogue, if any. */
  readonly catalogFile: string | undefined
  /** Images of `weft run`. */
  readonly images: readonly ImageMapping[]
  /** Folders with tools (`nft`) which the system lacks; they go before the PATH. */
  readonly toolFolders: readonly string[]
  /** Started again after a crash: no samples, and nobody waits for progress. */
  readonly restarted: boolean
}

export interface WireError {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
}

export type BrokerToInit =
  | { readonly type: 'start'; readonly config: InitConfig }
  /** With a listening server. Sent at start, and as the answer to `listen`. */
  | { readonly type: 'listener'; readonly id: number; readonly name: string; readonly port: number }
  | { readonly type: 'listen-failed'; readonly id: number; readonly error: WireError }
  /** With the connected socket. */
  | { readonly type: 'dialed'; readonly id: number }
  | { readonly type: 'dial-failed'; readonly id: number; readonly errno: string }
  | { readonly type: 'dns-answer'; readonly id: number; readonly answer: Uint8Array | undefined }
  | { readonly type: 'apply-samples'; readonly id: number; readonly samples: readonly string[] }
  /** All images of `weft run`; replaces those sent before. */
  | { readonly type: 'set-images'; readonly id: number; readonly images: readonly ImageMapping[] }
  | { readonly type: 'stop'; readonly deadlineMs: number }

export type InitToBroker =
  | {
      readonly type: 'progress'
      readonly step: string
      readonly status: ProgressEvent['status']
      readonly detail?: string
    }
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly error: WireError }
  /** The listener has arrived; the broker closes its own copy. */
  | { readonly type: 'listener-taken'; readonly id: number }
  | {
      readonly type: 'listen'
      readonly id: number
      readonly name: string
      readonly port: number | undefined
    }
  | { readonly type: 'listener-closed'; readonly port: number }
  | { readonly type: 'dial'; readonly id: number; readonly address: string; readonly port: number }
  | { readonly type: 'dns'; readonly id: number; readonly query: Uint8Array }
  /** `apply-samples` or `set-images` of this id is done. */
  | { readonly type: 'answer'; readonly id: number; readonly error: WireError | undefined }

/** The broker's arguments, given by whoever starts it as the first message. */
export interface BrokerConfig {
  readonly name: string
  readonly version: string
  readonly stateHome: string
  readonly mode: 'root' | 'rootless'
  readonly registryPort: number
  readonly ingressPort: number
  readonly hostAccess: boolean
  readonly hostPathPrefixes: readonly string[]
  readonly samples: readonly string[]
  readonly catalogFile: string | undefined
  readonly toolFolders: readonly string[]
  /** End when the starter goes, not only before the mesh is ready. */
  readonly foreground: boolean
}

export type BrokerToStarter =
  | { readonly type: 'progress'; readonly event: ProgressEvent }
  | { readonly type: 'ready'; readonly status: MeshStatus }
  | { readonly type: 'failed'; readonly error: WireError }

export interface StartedWith {
  readonly hostAccess: boolean
  readonly hostPathPrefixes: readonly string[]
  readonly catalogFile: string | undefined
}

export interface MeshStatus {
  readonly name: string
  readonly state: 'starting' | 'running' | 'recovering' | 'stopping' | 'stopped'
  readonly pid: number | undefined
  readonly mode: 'root' | 'rootless' | undefined
  readonly version: string | undefined
  readonly startedAt: string | undefined
  readonly stateDirectory: string
  readonly kubeconfig: string
  readonly registryUrl: string | undefined
  /** Of the ingress port, whether or not something is behind it. */
  readonly ingressUrl: string | undefined
  readonly listeners: readonly { readonly name: string; readonly port: number }[]
  /** What `up` was started with and can't change while the mesh runs; undefined when it is down. */
  readonly startedWith: StartedWith | undefined
  /** How often init had to be started again. */
  readonly restarts: number
}

export function toWireError(thrown: unknown): WireError {
  if (thrown instanceof MeshError) {
    return { code: thrown.code, message: thrown.message, hint: thrown.hint }
  }
  const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  return { code: 'STANDALONE_INTERNAL', message, hint: undefined }
}

export function fromWireError(error: WireError): MeshError {
  return new MeshError(
    error.code,
    error.message,
    error.hint === undefined ? {} : { hint: error.hint },
  )
}
