/** What users read about a route: for each parent that this control plane serves, whether it is in effect. */
import type { ParentRefSpec, WaypointChoice } from '../../model/index.ts'
import {
  attachRoutes,
  type ParentOutcome,
  parentKey,
  type RouteObject,
} from '../envoy/routes/attach.ts'
import {
  controllerOf,
  gatewayController,
  meshController,
  remoteController,
} from '../envoy/routes/gateway-listeners.ts'
import type { Reader } from '../reader.ts'
import { ruleFaults } from './backends.ts'
import { condition, type Fault, type WantedCondition } from './condition.ts'

export interface WantedParentStatus {
  /** As the user wrote it, with group and kind filled in as the API server does. */
  readonly parentRef: ParentRefSpec
  readonly controllerName: string
  readonly conditions: readonly WantedCondition[]
}

/**
 * Undefined when none of its parents has to do with this control plane. Several parentRefs that say the same
 * are one.
 */
export function routeStatus(reader: Reader, route: RouteObject): WantedParentStatus[] | undefined {
  const parents = new Map<string, WantedParentStatus>()
  let isOurs = false
  for (const [index, parent] of (route.object.spec.parentRefs ?? []).entries()) {
    const found = parentOf(reader, route, parent, index)
    if (found === 'unknown') continue
    isOurs = true
    if (found === 'silent' || parents.has(sortKey(parent))) continue
    parents.set(sortKey(parent), found)
  }
  if (!isOurs) return undefined
  return [...parents]
    .toSorted(([left], [right]) => (left > right ? -1 : left < right ? 1 : 0))
    .map(([, status]) => status)
}

const routeGroup = 'gateway.networking.k8s.io'

/** Istio's order, so that two control planes of a mesh do not fight about it. */
function sortKey(parent: ParentRefSpec): string {
  const { group = routeGroup, kind = 'Gateway', name = '', sectionName = '', port = 0 } = parent
  return `${group}/${kind}/${name}/${sectionName}/${port}.${parent.namespace ?? ''}`
}

type Found = WantedParentStatus | 'unknown' | 'silent'

function parentOf(reader: Reader, route: RouteObject, parent: ParentRefSpec, index: number): Found {
  const { group = routeGroup, kind = 'Gateway', name = '' } = parent
  const namespace = parent.namespace ?? route.object.namespace
  const type = `${group}/${kind}`
  if (type === '/Service' || type === 'networking.istio.io/ServiceEntry') {
    return meshParent(reader, route, parent)
  }
  const key = `${namespace}/${name}`
  const gatewayKey =
    type === `${routeGroup}/ListenerSet` ? gatewayOfSet(reader, namespace, name) : key
  if (type !== `${routeGroup}/Gateway` && type !== `${routeGroup}/ListenerSet`) return 'unknown'
  const gateway = reader.gateway(gatewayKey)
  if (gateway === undefined) return 'unknown'
  const controller = controllerOf(reader, gateway)
  // Waypoints take the routes of the services behind them; a remote gateway is none of our business.
  if (controller === meshController || controller === remoteController) return 'silent'
  if (controller !== gatewayController) return 'unknown'
  const { object } = route
  const id = `${route.kind}/${object.namespace}/${object.name}|${index}`
  const outcome = attachRoutes(reader, gateway).outcomes.get(id)
  if (outcome === undefined) return 'silent'
  const faults = ruleFaults(reader, route, false)
  return statusOf(parent, {
    accepted: outcome.refusal ?? faults.accepted,
    refs: faults.refs,
    bound: outcome.bound,
    waypoint: undefined,
  })
}

function gatewayOfSet(reader: Reader, namespace: string, name: string): string {
  const parent = reader.config('ListenerSet', namespace, name)?.spec.parentRef
  return parent === undefined ? '' : parentKey(parent, namespace).replace(/^[^|]*\|/, '')
}

function meshParent(reader: Reader, route: RouteObject, parent: ParentRefSpec): Found {
  const { kind = '', name = '' } = parent
  const namespace = parent.namespace ?? route.object.namespace
  const service =
    kind === 'Service'
      ? reader.kubernetesService(namespace, name)
      : reader.serviceEntryHosts(namespace, name)[0]
  const what = kind === 'Service' ? 'service' : 'service entry'
  const refusal =
    service === undefined
      ? { reason: 'NoMatchingParent', message: `parent ${what}: "${name}" not found` }
      : undefined
  const choice = service?.waypoint ?? reader.namespace(namespace)?.waypoint
  if (choice !== undefined && isForeignWaypoint(reader, choice, namespace)) return 'silent'
  const faults = ruleFaults(reader, route, true)
  return statusOf(parent, {
    accepted: refusal ?? faults.accepted,
    refs: faults.refs,
    bound: 1,
    waypoint: waypointNote(service !== undefined, choice),
  })
}

/** A waypoint of another controller obeys the route; that controller has the say about it. */
function isForeignWaypoint(reader: Reader, choice: WaypointChoice, namespace: string): boolean {
  const gateway = reader.gateway(`${choice.namespace ?? namespace}/${choice.name}`)
  const controller = gateway === undefined ? undefined : controllerOf(reader, gateway)
  return controller !== undefined && !controller.startsWith('istio.io/')
}

function waypointNote(isThere: boolean, choice: WaypointChoice | undefined): string | undefined {
  if (!isThere) return 'parent not found'
  if (choice !== undefined) return undefined
  return 'istio.io/use-waypoint label missing from parent and parent namespace; in ambient mode, route will not be respected'
}

interface Verdict extends Pick<ParentOutcome, 'bound'> {
  readonly accepted: Fault | undefined
  readonly refs: Fault | undefined
  /** Only for information: sidecars need no waypoint. */
  readonly waypoint: string | undefined
}

function statusOf(parentRef: ParentRefSpec, verdict: Verdict): WantedParentStatus {
  const { accepted, refs, bound, waypoint } = verdict
  const message = bound > 1 ? `Route was valid, bound to ${bound} parents` : 'Route was valid'
  const resolved = { reason: 'ResolvedRefs', message: 'All references resolved' }
  const waypoints = {
    reason: 'ResolvedWaypoints',
    message: waypoint ?? 'All waypoints resolved',
  }
  const { group = routeGroup, kind = 'Gateway' } = parentRef
  return {
    parentRef: { ...parentRef, group, kind },
    controllerName: gatewayController,
    conditions: [
      condition('Accepted', { reason: 'Accepted', message }, accepted),
      condition('ResolvedRefs', resolved, refs),
      condition('ResolvedWaypoints', waypoints),
    ],
  }
}
