/** The xDS server of the control plane, and the contract with whoever makes the resources. */
export type { ConnectionInfo, TypeInfo } from './connection-info.ts'
export type * from './contract.ts'
export type { DebugAnswer, DebugRequest, DebugResource } from './debug-type.ts'
export { defaultLimits, type XdsLimits } from './limits.ts'
export type { PushReport, XdsMetrics } from './metrics.ts'
export type { AuthenticatedPeer } from './node.ts'
export {
  type AuthenticatePeer,
  createXdsServer,
  type XdsServer,
  type XdsServerOptions,
} from './server.ts'
