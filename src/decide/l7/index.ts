/** Layer 7: Envoy's resources as decisions about connections, requests and endpoints (reference: Envoy API v3). */
export {
  type Balancer,
  type BalancerState,
  type PickContext,
} from './balance/balancer.ts'
export {
  type CompiledCluster,
  compileCluster,
  type Discovery,
  type Outlier,
  type Thresholds,
} from './balance/cluster.ts'
export {
  type CompiledEndpoints,
  compileEndpoints,
  type Health,
  type Host,
  type HostAddress,
  type LocalityGroup,
} from './balance/endpoints.ts'
export { originalDestination } from './balance/original.ts'
export type { HostState } from './balance/pickers.ts'
export type { Balancing, BalancingPolicy, SlowStart } from './balance/policy.ts'
export type { PriorityLoad } from './balance/priorities.ts'
export { createBalancer } from './balance/subsets.ts'
export {
  decideHttp,
  type ForwardDecision,
  type HttpConfig,
  type HttpDecision,
  type PauseDecision,
  type ReplyDecision,
  responseHeaders,
} from './decide.ts'
export { type Compiled, type CompileError, compiledOrThrow, nackText } from './errors.ts'
export { Exchange, type Note, type StateValue } from './exchange.ts'
export { explainHttp, type HttpExplanation, type RouteMiss } from './explain.ts'
export type { ExtensionConfigs, FilterChain, WireFilter } from './filters/chain.ts'
export { policyOrigin, type RbacMiss } from './filters/rbac.ts'
export type {
  AuthorizeEffect,
  BodyBuffer,
  Effect,
  EffectResult,
  HeaderChange,
  HttpAnswer,
} from './filters/reply.ts'
export { grpcStatusOf } from './filters/reply.ts'
export type { Closed, Terminal } from './network/filters.ts'
export {
  type CompiledListener,
  type ConnectionDecision,
  compileListener,
  decideConnection,
  type ListenerChain,
  type ListenerOptions,
} from './network/listener.ts'
export type { HttpManager } from './network/manager.ts'
export type { StreamTarget, TcpProxy, Tunnel } from './network/tcp-proxy.ts'
export type { ForwardAction, UpgradeSetting } from './route/action.ts'
export type { HashCookie, HashResult } from './route/hash.ts'
export { isGrpc } from './route/match.ts'
export type { ChosenMirror, Mirror } from './route/mirror.ts'
export type { HedgePolicy, RetryPolicy } from './route/retry.ts'
export {
  compileRoutes,
  type Route,
  type RouteChoice,
  type RouteTable,
  type VirtualHost,
} from './route/table.ts'
export type {
  ConnectionFacts,
  DecideContext,
  HeaderOperation,
  HeaderReader,
  L7Request,
  MetadataStore,
  Origin,
  ResponseFacts,
  TlsFacts,
} from './types.ts'
