/**
 * The traffic policy of one cluster. Levels lie over each other: mesh default, DestinationRule,
 * subset, port. A block that is set replaces the same block below, and a port level replaces its four
 * blocks even with nothing.
 */
import type {
  PortTrafficPolicy,
  Service,
  ServicePort,
  TrafficPolicy,
} from '../../../model/index.ts'
import type { MergedRule, RuleSubset } from '../lookup/destination-rules.ts'
import type { Scope } from '../lookup/scope.ts'
import type { ClusterRef } from './names.ts'

export type EffectivePolicy = Omit<TrafficPolicy, 'portLevelSettings'>

/** A cluster with all that decides what it looks like. */
export interface ClusterPlan {
  readonly ref: ClusterRef
  readonly service: Service
  readonly port: ServicePort
  readonly rule: MergedRule | undefined
  readonly subset: RuleSubset | undefined
  readonly policy: EffectivePolicy
}

/** Undefined when the service, its port or the subset does not exist: then no cluster does. */
export function planCluster(scope: Scope, ref: ClusterRef): ClusterPlan | undefined {
  const service = scope.reader.service(ref.service)
  const port = service?.ports.find((candidate) => candidate.port === ref.port)
  if (service === undefined || port === undefined || port.protocol !== 'TCP') return undefined
  const rule = scope.destinationRule(service)
  const subset = rule?.subsets.find(({ name }) => name === ref.subset)
  if (ref.subset !== '' && subset === undefined) return undefined
  const mesh = scope.reader.mesh()
  const base = overlay(overlay({}, mesh.defaultTrafficPolicy, port.port), rule?.policy, port.port)
  const policy = overlay(base, subset?.trafficPolicy, port.port)
  return { ref, service, port, rule, subset, policy }
}

export function overlay(
  below: EffectivePolicy,
  above: TrafficPolicy | undefined,
  port: number,
): EffectivePolicy {
  if (above === undefined) return below
  const { portLevelSettings, ...blocks } = above
  const merged = { ...below, ...blocks }
  const level = portLevelSettings?.find((setting) => setting.port?.number === port)
  if (level === undefined) return merged
  const { loadBalancer: _, connectionPool: __, outlierDetection: ___, tls: ____, ...rest } = merged
  return { ...rest, ...blocksOf(level) }
}

function blocksOf(level: PortTrafficPolicy): EffectivePolicy {
  const { port: _, ...blocks } = level
  return blocks
}
