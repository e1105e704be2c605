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
export { translateWaypointAllow, waypointAllowName } from './ambient/waypoint-allow.ts'
export { translateWorkload } from './ambient/workload.ts'
export { translateCluster } from './envoy/clusters/cluster.ts'
export { type ClusterRef, outboundRef, waypointRef } from './envoy/clusters/names.ts'
export { translateEndpoints } from './envoy/endpoints/assignment.ts'
export { type GatewayTranslation, translateGateway } from './envoy/gateway.ts'
export { keySetDependency } from './envoy/listeners/key-sets.ts'
export { NamespaceScope, type Scope } from './envoy/lookup/scope.ts'
export type { Problem } from './envoy/policies/problem.ts'
export { type KeySets, keySetSources } from './envoy/policies/request-authentication.ts'
export { gatewayView, type IpFamily, type ProxyView, proxyView, viewKey } from './envoy/proxy.ts'
export {
  type AttachedRoute,
  attachRoutes,
  type GatewayAttachment,
  isServed,
  type ListenerAttachment,
  type ParentOutcome,
  type RefusalReason,
  type RouteObject,
  routeNamed,
} from './envoy/routes/attach.ts'
export { type BackendProblem, resolveBackend } from './envoy/routes/backends.ts'
export {
  gatewayController,
  meshController,
  remoteController,
} from './envoy/routes/gateway-listeners.ts'
export { SharedUnits } from './envoy/shared-units.ts'
export {
  type ResourceUpdate,
  translateView,
  type ViewInput,
  type ViewResources,
  ViewTranslation,
} from './envoy/view.ts'
export { contentVersion } from './hash.ts'
export { configPath, provenanceExtension } from './provenance.ts'
export { DependencyIndex, Memo, Reader, touchedKeys } from './reader.ts'
export {
  deployedName,
  type FrontService,
  isManaged,
  type OutsideFacts,
} from './status/addresses.ts'
export { backendTlsStatus, type WantedAncestorStatus } from './status/backend-tls.ts'
export type { WantedCondition } from './status/condition.ts'
export {
  gatewayConditionTypes,
  gatewayStatus,
  listenerSetStatus,
  type WantedGatewayStatus,
  type WantedListenerSetStatus,
} from './status/gateway.ts'
export { routeStatus, type WantedParentStatus } from './status/routes.ts'
export {
  waypointAccepted,
  waypointAcceptedType,
  waypointBound,
  waypointBoundType,
} from './status/waypoints.ts'
export type { TranslatedResource } from './types.ts'
