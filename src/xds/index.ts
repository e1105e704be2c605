/** The xDS server of the control plane, and the contract with whoever makes the resources. */
export type { ConnectionInfo, TypeInfo } from './connection.ts'
export type * from './contract.ts'
export type { XdsLimits } from './limits.ts'
export type { XdsMetrics } from './metrics.ts'
export type { AuthenticatedPeer } from './node.ts'
export {
  type AuthenticatePeer,
  createXdsServer,
  type XdsServer,
  type XdsServerOptions,
} from './server.ts'
