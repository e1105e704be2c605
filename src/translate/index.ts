/** Snapshots → xDS resources, for node proxies (`ambient`) and L7 proxies (`envoy`); pure. */
export {
  convertedPolicyName,
  type PolicyCondition,
  policyCondition,
  staticStrictKey,
  translatePeerAuthentication,
  translatePolicy,
  translateStaticStrict,
} from './ambient/policy.ts'
export { translateService } from './ambient/service.ts'
export { waypointKey } from './ambient/waypoint.ts'
export { translateWorkload } from './ambient/workload.ts'
export {
  type AttachedRoute,
  attachRoutes,
  type GatewayAttachment,
  gatewayController,
  isServed,
  type ListenerAttachment,
  type RefusalReason,
} from './envoy/attach.ts'
export { type BackendProblem, type ClusterRef, resolveBackend } from './envoy/backends.ts'
export { translateCluster, translateEndpoints } from './envoy/cluster.ts'
export { type GatewayTranslation, translateGateway } from './envoy/gateway.ts'
export { contentVersion } from './hash.ts'
export { configPath, provenanceExtension } from './provenance.ts'
export type { TranslatedResource } from './types.ts'
