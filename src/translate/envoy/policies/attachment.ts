/**
 * Which policies hold for a proxy, or for one service at a waypoint: by label selector or by reference
 * to a Gateway, GatewayClass, Service or ServiceEntry. The same rules serve every kind that has them.
 */
import {
  type ConfigObject,
  type PolicyAttachment,
  type Service,
  selects,
  type TargetReference,
} from '../../../model/index.ts'
import type { ProxyView } from '../proxy.ts'

export interface PolicyTarget {
  readonly proxy: ProxyView
  /** The service that a waypoint's filter chain is for. */
  readonly service?: Service | undefined
}

/** Where to look: the root namespace, the proxy's, the service's; lowest precedence first. */
export function namespacesOf(target: PolicyTarget, rootNamespace: string): string[] {
  const { proxy, service } = target
  const own = service === undefined ? [] : [service.namespace]
  return [...new Set([rootNamespace, proxy.namespace, ...own])]
}

export function targetReferences(attachment: PolicyAttachment): readonly TargetReference[] {
  const { targetRefs = [], targetRef } = attachment
  if (targetRefs.length > 0) return targetRefs
  return targetRef === undefined ? [] : [targetRef]
}

/** Whether the spec narrows its namespace down at all. */
export function isNamespaceWide(attachment: PolicyAttachment): boolean {
  const labels = attachment.selector?.matchLabels ?? {}
  return Object.keys(labels).length === 0 && targetReferences(attachment).length === 0
}

/** Whether an object of one of `namespacesOf` holds for the target. */
export function attaches(
  object: Pick<ConfigObject<PolicyAttachment>, 'namespace' | 'spec'>,
  target: PolicyTarget,
  rootNamespace: string,
): boolean {
  const references = targetReferences(object.spec)
  const { proxy } = target
  if (references.length > 0) {
    // Whatever is aimed at something is not for sidecars, however it would match.
    if (proxy.gateway === undefined) return false
    return references.some((ref) => referenceRank(ref, object.namespace, target, rootNamespace) > 0)
  }
  // A policy without a target belongs to the node proxies of the pods, not to their waypoint.
  if (proxy.kind === 'waypoint') return false
  const inScope = object.namespace === rootNamespace || object.namespace === proxy.namespace
  return inScope && selects(object.spec.selector?.matchLabels ?? {}, proxy.labels)
}

const waypointClass = 'istio-waypoint'

/** How closely the reference aims at the target: 0 not at all, 1 class, 2 gateway, 3 service. */
export function referenceRank(
  reference: TargetReference,
  namespace: string,
  { proxy, service }: PolicyTarget,
  rootNamespace: string,
): number {
  const { group = '', kind = '', name = '', namespace: other = '' } = reference
  if (other !== '' && other !== namespace) return 0
  const isWaypoint = proxy.kind === 'waypoint'
  const type = `${group === 'core' ? '' : group}/${kind}`
  if (type === '/Service' || type === 'networking.istio.io/ServiceEntry') {
    const aimed =
      isWaypoint &&
      service?.source === kind &&
      service.name === name &&
      service.namespace === namespace
    return aimed ? 3 : 0
  }
  if (type === 'gateway.networking.k8s.io/Gateway') {
    return proxy.gateway === `${namespace}/${name}` ? 2 : 0
  }
  if (type === 'gateway.networking.k8s.io/GatewayClass') {
    return isWaypoint && namespace === rootNamespace && name === waypointClass ? 1 : 0
  }
  return 0
}
