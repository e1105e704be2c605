/** Requests of istioctl: they come over ADS as types of their own and are answered once each. */
import type { ProxyNode } from './contract.ts'

export interface DebugRequest {
  /** `istio.io/debug`, `istio.io/debug/syncz` or `istio.io/debug/config_dump`. */
  readonly typeUrl: string
  readonly names: readonly string[]
  /** Who asks. */
  readonly proxy: ProxyNode
}

export interface DebugResource {
  readonly name: string
  /** Of the message in `bytes`. */
  readonly typeUrl: string
  readonly version: string
  readonly bytes: Uint8Array
}

/** Throws a GrpcError to end the asker's stream. */
export type DebugAnswer = (request: DebugRequest) => readonly DebugResource[]

export const debugType = 'istio.io/debug'

export function isDebugType(typeUrl: string): boolean {
  return typeUrl === debugType || typeUrl.startsWith(`${debugType}/`)
}
