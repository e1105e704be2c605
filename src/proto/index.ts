/**
 * Generated message types that every xDS party needs: Istio's ambient messages and the discovery
 * protocol. The Envoy configuration types are behind a second door, `envoy.ts`, because loading
 * them costs a node proxy memory that it has no use for.
 */
export { create, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf'
export type { Any } from '@bufbuild/protobuf/wkt'
export { AnySchema, StructSchema } from '@bufbuild/protobuf/wkt'
export * from './gen/envoy/service/discovery/v3/ads_pb.js'
export * from './gen/envoy/service/discovery/v3/discovery_pb.js'
export * as security from './gen/istio/authorization_pb.js'
export * as ca from './gen/istio/ca_pb.js'
export * as workload from './gen/istio/workload_pb.js'
export * as zdsproto from './gen/istio/zds_pb.js'
export { type FileRegistry, readRegistry } from './registry.ts'

/** Type URLs of the resources that Weft serves or consumes (reference: xDS v3, Istio ambient API). */
export const typeUrl = {
  address: 'type.googleapis.com/istio.workload.Address',
  workload: 'type.googleapis.com/istio.workload.Workload',
  authorization: 'type.googleapis.com/istio.security.Authorization',
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoint: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  extensionConfig: 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
} as const
