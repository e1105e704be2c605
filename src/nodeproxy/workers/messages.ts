/** What the main thread and its workers tell each other; everything survives a structured clone. */
import type { LogLevel } from '../../base/index.ts'
import type { FetchPriority, WorkloadCertificate } from '../../identity/index.ts'
import type { PodInfo, ProxyParts } from '../pod.ts'
import type { FamilySnapshot } from './metrics.ts'

/** One resource of the control plane as it came; without bytes it was removed. */
export interface ResourceUpdate {
  readonly typeUrl: string
  readonly name: string
  readonly bytes: Uint8Array | undefined
}

/** What a worker needs to know from the start. */
export interface WorkerSettings {
  readonly index: number
  readonly logFormat: 'text' | 'json'
  readonly logLevel: LogLevel
  readonly logLevels: ReadonlyMap<string, LogLevel>
  readonly originalSource: boolean
  readonly localhostTunnel: boolean
  /** Cluster of the local pods, when the state is fetched on demand. */
  readonly onDemand: string | undefined
  readonly http2: ProxyParts['http2']
  readonly dns: {
    readonly capture: boolean
    readonly domain: string
    readonly preferredNamespace: string | undefined
    readonly ipv6: boolean
  }
}

/** Questions that are answered with `answer` and the same id. */
export type WorkerRequest =
  | {
      readonly kind: 'add'
      readonly uid: string
      readonly info: PodInfo
      /** Stays the main thread's, in a table of descriptors that all threads share. */
      readonly netnsFd: number
    }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'metrics' }
  | { readonly kind: 'connections' }

export type ToWorker =
  | { readonly kind: 'resources'; readonly updates: readonly ResourceUpdate[] }
  | { readonly kind: 'renewed'; readonly certificate: WorkloadCertificate }
  | {
      readonly kind: 'certificate'
      readonly id: number
      readonly certificate?: WorkloadCertificate
      readonly error?: string
    }
  | { readonly kind: 'revocations'; readonly pem: string }
  | { readonly kind: 'level'; readonly level: LogLevel; readonly scope: string | undefined }
  /** The control plane has answered a `demand`. */
  | { readonly kind: 'demanded'; readonly id: number }
  | { readonly kind: 'drain' }
  | { readonly kind: 'close'; readonly reason: string }
  | { readonly kind: 'request'; readonly id: number; readonly request: WorkerRequest }

/** The connections of one pod, for /config_dump. */
export interface PodConnections {
  readonly uid: string
  readonly inbound: readonly unknown[]
  readonly outbound: readonly unknown[]
}

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'lines'; readonly text: string }
  | {
      readonly kind: 'fetch'
      readonly id: number
      readonly identity: string
      readonly priority: FetchPriority
    }
  | { readonly kind: 'forget'; readonly identity: string }
  | { readonly kind: 'demand'; readonly id: number; readonly name: string }
  | {
      readonly kind: 'answer'
      readonly id: number
      readonly error?: string
      readonly metrics?: readonly FamilySnapshot[]
      readonly open?: number
      readonly connections?: readonly PodConnections[]
    }
