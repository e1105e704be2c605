/**
 * The policy that lets a waypoint through to the workloads behind it. There the client is the waypoint,
 * so that a selector policy which allows the real clients would shut it out. Only when the control
 * plane is told to do this: it is an ALLOW that nobody wrote.
 */
import {
  type Gateway,
  type Service,
  type Snapshot,
  selectingServices,
  type Workload,
} from '../../model/index.ts'
import { create, security, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import type { TranslatedResource } from '../types.ts'
import { canaryOf, gatewayOfPod, waypointOf } from './waypoint.ts'

const accountAnnotation = 'gateway.istio.io/service-account'

/** The resource name of the policy for a waypoint, by the key of its Gateway. */
export function waypointAllowName(gatewayKey: string): string {
  const slash = gatewayKey.indexOf('/')
  return `${gatewayKey.slice(0, slash)}/${policyName(gatewayKey)}`
}

function policyName(gatewayKey: string): string {
  return `istio_allow_waypoint_${gatewayKey.replace('/', '_')}`
}

/** Names of the policies for the waypoints through which a workload, or a service it is in, is reached. */
export function waypointAllowNames(snapshot: Snapshot, workload: Workload): string[] {
  if (snapshot.settings.autoAllowWaypoints !== true) return []
  if (gatewayOfPod(snapshot, workload) !== undefined) return []
  const gateways = [waypointOf(snapshot, workload, 'workload')]
  const bound = workload.bindings.flatMap(({ service }) => snapshot.services.get(service) ?? [])
  for (const service of [...selectingServices(snapshot, workload), ...bound]) {
    gateways.push(...waypointsOf(snapshot, service))
  }
  const names = gateways.flatMap((gateway) =>
    gateway === undefined ? [] : [waypointAllowName(`${gateway.namespace}/${gateway.name}`)],
  )
  return [...new Set(names)]
}

function waypointsOf(snapshot: Snapshot, service: Service): (Gateway | undefined)[] {
  if (service.ofWaypoint) return []
  return [waypointOf(snapshot, service, 'service'), canaryOf(snapshot, service)?.gateway]
}

/** @param gatewayKey `<namespace>/<name>` of a Gateway; those without HBONE are no waypoints */
export function translateWaypointAllow(
  snapshot: Snapshot,
  gatewayKey: string,
): TranslatedResource | undefined {
  if (snapshot.settings.autoAllowWaypoints !== true) return undefined
  const gateway = snapshot.objects.Gateway.get(gatewayKey)
  if (gateway?.listeners.some(({ protocol }) => protocol === 'HBONE') !== true) return undefined
  const { trustDomain } = snapshot.settings
  const account = gateway.config.annotations[accountAnnotation] ?? gateway.name
  const principal = create(security.StringMatchSchema, {
    matchType: {
      case: 'exact',
      value: `${trustDomain}/ns/${gateway.namespace}/sa/${account}`,
    },
  })
  const match = create(security.MatchSchema, { principals: [principal] })
  const clause = create(security.ClauseSchema, { matches: [match] })
  return encodeResource({
    name: waypointAllowName(gatewayKey),
    typeUrl: typeUrl.authorization,
    schema: security.AuthorizationSchema,
    message: create(security.AuthorizationSchema, {
      name: policyName(gatewayKey),
      namespace: gateway.namespace,
      scope: security.Scope.WORKLOAD_SELECTOR,
      action: security.Action.ALLOW,
      rules: [create(security.RuleSchema, { clauses: [clause] })],
    }),
  })
}
